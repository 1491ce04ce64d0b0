// Package builtin holds the tools that come with Caxton: http_client, csv_parser,
// json_query, calculator, clock and file_read. It owns what each of them may reach: which
// addresses on the network, which files, how many bytes, for how long. It refuses to decide
// which agent may use which tool (internal/tool does) and to keep anything between calls.
//
// A call arrives with arguments that satisfy the tool's schema, the agent's grant and its
// tool_config, which can narrow what the server's Config allows and never widen it. Data
// comes from the arguments, from the network, from the sandbox, or from the full result of an
// earlier call of the same turn; what goes back is a short text for the model, the same
// facts as JSON, and the full result as bytes for the next tool.
//
// internal/node makes the tools with New and puts them into a tool.Set. Agents' workers call
// them, several at once. The package leaves no goroutine behind when a call returns.
package builtin
