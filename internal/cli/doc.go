// Package cli is the command line: a client of the API, and the place where the server is
// started. It owns the tree of commands, their output and their exit codes; it refuses to
// do what the server does.
//
// Main parses the arguments, runs one command, prints its error, and returns the exit code.
// Commands are of three sorts, and their help says which: remote ones ask a server over its
// unix socket or its address, plain ones need neither server nor data, and serve is the
// server. Everything runs on the caller's goroutine.
package cli
