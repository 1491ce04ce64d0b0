// Package registry knows what is deployed: the agents, their versions, and who offers which
// capability. It owns the rules of names and of versions; it refuses to run anything and to
// read files.
//
// It is a deterministic state machine fed by a log: Deploy, Activate, SetSuspended, Remove,
// and the steps of a rollout propose a command, which carries its time and its IDs; Apply checks it against the
// state, stores the result, and puts the changed agent where it is found. Reads are lookups
// and never wait. After each change the Observer is told.
//
// internal/deploy proposes, HTTP handlers and the router read, from any goroutine; the log
// calls Apply from one.
package registry
