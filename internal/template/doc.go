// Package template owns the language of an agent's prompt templates: text with places for
// values, conditions and loops. It refuses functions, includes and any access beyond the
// values it is given, so that a template from anyone is safe to run; work, output and
// nesting are bounded.
//
//	{{name}} {{user.name}} {{rows.0}}   a value; nothing when there is none
//	{{#if name}}…{{else}}…{{/if}}       the first part when the value is there and not empty, 0 or false
//	{{#each list}}…{{else}}…{{/each}}   once for each entry, the second part when there are none;
//	                                    {{this}} is the entry, {{@index}} its position from 0, and
//	                                    the keys of an entry that is a table can be named directly
//	\{{                                 two braces
//
// Text goes through Parse, which finds every fault there can be, and becomes a Template;
// Execute then fills it in and fails only at its bounds. internal/prompt does both, on the
// worker goroutines of agents; what deploys agents calls Parse alone, to check. A Template is
// immutable and safe for concurrent use.
package template
