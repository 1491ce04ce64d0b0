// Package tree reads YAML, TOML and JSON into documents that remember where everything
// stands, and fills Go values from them. It owns the positions: every key and every value
// knows its line and its column, both counted from 1, columns in characters. It owns the
// checks that need no knowledge of the subject (form, types, ranges, unknown and repeated
// keys) and the JSON Schema that says the same; it refuses to know what any key means, to
// read files or environment variables, and to accept input over MaxInput bytes or nested
// deeper than MaxDepth.
//
// Text goes through Parse and becomes a Node, or a list of caxton.Issue that says line,
// column and remedy. The caller may move old spellings to their canonical place with
// Node.Move, which keeps the positions. Decode then fills a struct by its tags and reports
// every fault at once; the caller adds the faults only it can see, with the positions that
// Node.Lookup gives.
//
// internal/config and internal/agentfile call it, from whichever goroutine loads a file. The
// package holds no state: distinct documents may be used at the same time, one document may
// not be changed while it is read.
package tree
