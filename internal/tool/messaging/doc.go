// Package messaging has the tools by which agents talk to each other: send_message says
// something to one agent or to who has a capability, and contract_net asks all that have a
// capability for proposals, takes the best and has it done (FIPA SC00029H). It owns the
// conversations that come out of a turn; it refuses to route and to keep anything: that is
// the Mail's part, which *router.Router is.
//
// A call makes the same message IDs each time it runs, from its idempotency key. So it may
// run again after a crash, or after its turn was parked: what was sent is not sent again,
// and what was answered is there. A call that waits for long parks its turn, so that waiting
// agents take no worker from those that they wait for.
//
// internal/prompt calls the tools from the goroutines of a turn, any number at once.
package messaging
