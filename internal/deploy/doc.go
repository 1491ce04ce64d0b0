// Package deploy brings definitions into force. It owns the checks before a deployment, the
// wait until the new version runs, and the way back when it does not; it refuses to keep
// state of its own: that is the registry's.
//
// A DeployRequest is parsed and checked (faults of the file, templates, tools that are
// unknown or not permitted), the Runner tries whether it can run, it becomes a new version in
// the registry, and the Runner is asked whether it started. If not, the agent is put back to
// what it was, and the caller gets the reason. HTTP handlers and internal/agentdir call it
// from their goroutines; changes wait for each other, as long as their callers' contexts.
//
// A rollout brings a version in step by step. Run, started by internal/node, looks at those
// that are open: it brings them forward by the clock, and rolls them back when a gate says so.
// All it needs to know is in the registry, but for the counts, which the Runner has, and which
// are kept now and then for the next start. Ending a
// rollout waits for no other change.
package deploy
