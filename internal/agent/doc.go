// Package agent runs the agents whose home is this node. It owns their states, their
// workers, the swap to a new version, the restart after a crash, and the drain; it refuses
// to know what an agent does with a message: that is its Handler.
//
// For each agent the Supervisor runs one goroutine that leases messages and gives them to
// workers, at most so many at once; it waits for their turns. Workers are shared by all
// agents, made when they are needed, and stay until the Supervisor ends. A worker
// builds the Turn, calls the Handler of the version the conversation is pinned to, and
// settles the lease with what comes back, or releases it to try again. Turns in flight
// finish on the version they began with; the next lease sees the new one. A handler that
// panics again and again is failed by a breaker and restarted after a growing pause; its
// messages wait.
//
// The registry calls AgentChanged and AgentRemoved, internal/node calls Run, HTTP handlers
// read Status and call Ping and Restart.
package agent
