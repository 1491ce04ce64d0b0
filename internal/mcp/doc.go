// Package mcp makes the tools of MCP servers into tools of ours. It owns the connections, the
// child processes, and the pins: what was seen of each tool and whether an operator let it
// in. It refuses to believe a server: a tool that is new waits in quarantine, a tool that is
// not what was approved is blocked, hints count only where the configuration trusts the
// server, and everything a server sends is bounded.
//
// Run starts a goroutine for each configured server. It starts the child process (stdio) or
// opens the session (streamable HTTP), agrees on a protocol version, lists the tools and holds
// each against its pin; then it waits for the end of the session, for changes of the list
// and for calls that went wrong. A session that ends is started again after a pause that
// doubles. What the tools are at the moment is answered by Tools, Tool and Expects: Servers
// is a tool.Source.
//
// A call of a tool comes from an agent's worker through tool.Set, which has checked the
// arguments. It waits for the session, looks at the pin once more, calls with a deadline and
// turns the content into a tool.Result. internal/httpd lists and decides (Approve, Deny) from
// its request goroutines; internal/sqlite keeps the pins.
package mcp
