// Package tool says what a tool is to Caxton: something an agent may call with JSON
// arguments. It owns the contract and the Set, which runs a call only when the server
// permits the tool and the agent's file lists it; it refuses to know what any tool does.
//
// internal/node makes one Set of all tools there are and the names the server permits. A
// turn of an agent asks the Set for what its definition grants (Set.For), shows the Specs to
// the model, and hands each call the model wants to Granted.Call: the permission is checked,
// the arguments are read and checked against the tool's JSON Schema, the tool runs under a
// deadline with panics caught, and its text is bounded before anybody reads it. Errors are
// written for the model: they say which property is wrong and what would be right.
//
// Tools that come and go while the server runs are a Source's: the Set asks it each time, so
// that a turn sees what is there now. A Source may show a tool and refuse it (NewRefused);
// then models are not shown it, people are, and a call says why it does not run.
//
// internal/tool/builtin implements tools, internal/mcp is a Source. internal/prompt calls them from an agent's worker
// goroutines, several at once; internal/httpd calls Set.Run for people who try a tool out.
// The package starts no goroutine.
package tool
