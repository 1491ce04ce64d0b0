// Package exchange writes memory down and reads it back. It owns two forms of one format,
// "caxton-memory" version 1, a JSON document and JSON lines, and reads the JSON lines of the
// reference memory server of the Model Context Protocol. It refuses to know a store: it
// gives out entities and relations one by one, with the line they stand on.
//
// A document says what it is first, then has entities with everything known about them, then
// relations, which name their ends, and how much there was last, so that one cut short is
// noticed. internal/memory/engine calls it, for one export or import from one goroutine.
package exchange
