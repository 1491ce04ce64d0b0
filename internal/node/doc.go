// Package node puts a server together. It builds every part from the configuration, runs
// them in stages, and stops them in reverse; it owns the order and the connections between
// parts, and refuses to do anything else: there is no logic here that a part could have.
//
// Stages, first to last: lock of the data directory, database, cluster (of one), registry,
// router, agents, agents directory, HTTP. Each stage runs in goroutines that end with their
// context; Run cancels the contexts from the last stage to the first, waits for each, and
// so stops accepting, finishes what is leased, and closes the database last. internal/cli
// calls Run from the command serve.
//
// A Bench puts the same parts together for one test case at a time, over a journal in memory
// and without a data directory or a listener: it is the Stage of internal/scenario, for the
// command agents test.
package node
