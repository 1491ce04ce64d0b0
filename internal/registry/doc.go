// Package registry knows what is deployed: the agents, their versions, and who offers which
// capability. It owns the rules of names and of versions; it refuses to run anything and to
// read files.
//
// It is a deterministic state machine fed by a log: Deploy, Activate, SetSuspended, Remove,
// and the steps of a rollout propose a command, which carries its time and its IDs; Apply checks it against the
// state, stores the result, and swaps an immutable snapshot. Reads are lookups in that
// snapshot and never wait. After each change the Observer is told.
//
// internal/deploy proposes, HTTP handlers and the router read, from any goroutine; the log
// calls Apply from one.
package registry
