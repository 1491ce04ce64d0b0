// Package router takes messages in, finds who is to handle them, and hands them out. It
// owns the mailboxes, the choice among the providers of a capability, and the wait for
// replies; it refuses to run agents: they pull.
//
// Send checks a message, resolves its receiver through the Directory, has the Journal
// accept it, and puts it into the receiver's mailbox. The agent's supervisor takes it with
// Next, which leases it, and ends the lease with Settle, or with Release to try again
// later. Settle stores acknowledgement and outputs in one step, queues the outputs, and
// wakes whoever waits in Await. In one conversation an agent gets one message at a time,
// in order. Recover reads back from the journal what a crash left pending.
//
// HTTP handlers call Send and Await, supervisors call Next, Settle and Release, each from
// their own goroutines; Run writes down leases that last, and hands out retries when due.
package router
