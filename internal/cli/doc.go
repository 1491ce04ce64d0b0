// Package cli is the command line: a client of the API, and the place where the server is
// started. It owns the tree of commands, their output and their exit codes; it refuses to
// do what the server does.
//
// Main parses the arguments, finds the server that is meant (Env.connect has the rule), runs
// one command, prints its error, and returns the exit code. Commands are of two sorts, and
// their help says which: remote ones, which a command is unless it is marked, ask a server
// over its unix socket or its address; plain ones need none, and serve is one of them.
// Everything runs on the caller's goroutine; what reads from a terminal or a pipe has one of
// its own, because such a read cannot be called back.
//
// A new command is a constructor in a file of its topic and one line in newRoot, or in the
// group it is part of. Another spelling is a line in aliases.go. A script in
// testdata/script runs it, and where it prints a result compares its JSON with a golden file:
//
//	json approvals list
//	cmp stdout golden/approvals-list.json
//
// with "-- golden/approvals-list.json --" at the end of the script; go test -update fills it.
package cli
