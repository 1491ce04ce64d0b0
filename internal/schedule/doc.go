// Package schedule starts conversations of agents by the clock. It owns when a run is due:
// cron expressions in time zones, what happens when clocks change, runs that were missed,
// runs that would overlap. It refuses to handle messages: a run is one message, sent to the
// agent like any other, in a conversation of its own.
//
// The registry tells the Scheduler of agents (AgentChanged, AgentRemoved); Run waits with one
// timer for the next time that is due, sends the message, and notes in the Store that the
// time is dealt with. The ID of the message follows from the agent and the time that was due,
// so a crash between sending and noting does not run twice: the second message is the first
// one. What was due while nobody was there is found after the restart by what the Store says.
//
// internal/node calls Run, the registry's goroutines call AgentChanged and AgentRemoved, HTTP
// handlers read Status.
package schedule
