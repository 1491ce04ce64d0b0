// Package agentfile owns the notation of agents: it turns Markdown with YAML front matter,
// TOML, JSON and YAML into a caxton.Definition, says everything that is wrong with a file at
// once, prints a definition as Markdown, and publishes the JSON Schema of all this. It refuses
// to know which tools, templates and models there are: checks of those are given to it; and
// it neither reads files nor remembers anything.
//
// A file's text goes through Parse: the front matter, or all of it, becomes a tree document;
// other spellings are moved to their canonical place; prompts that a TOML file has below its
// last table header are taken back to the root; the document is decoded by the tags of one
// struct; and what a struct tag cannot say (names, clashes, cron expressions, templates,
// tools) is checked last. Keys that are known but have no effect yet are kept in
// Definition.Extra, with a warning each.
//
// internal/deploy calls it for what is deployed, internal/agentdir and internal/cli for files;
// from any goroutine, several at once.
package agentfile
