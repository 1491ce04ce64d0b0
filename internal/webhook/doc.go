// Package webhook tells addresses elsewhere of records, by requests that are signed as
// Standard Webhooks has it. It owns which record is told to whom, and the attempts; it
// refuses to promise an order, and to tell anybody only once: a receiver tells repetitions by
// the header webhook-id.
//
// The collector follows the log of the server, with internal/event and from the journal
// whenever something was missed, and queues a delivery for each record that a webhook wants.
// Queueing and moving the webhook's place in the log are one step in the store, so that a
// crash skips nothing. Each webhook has a sender, which tries what is due, a few at once, and
// again after a growing pause; a slow receiver holds up nobody else. Steps of rollouts are in no
// log: Rollout takes them, and their deliveries keep what they tell. Requests go to public
// addresses only (internal/egress), unless the configuration allows others.
//
// Run owns all goroutines. The other methods are called by internal/httpd, from any
// goroutine.
package webhook
