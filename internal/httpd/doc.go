// Package httpd serves the REST interface, health, and metrics. It owns paths, statuses,
// the waiting of callers, and the listeners; it refuses to decide anything: handlers ask
// the parts behind their interfaces and print what they say.
//
// A request passes the outer handler (request ID, recovery from panics, one log line,
// metrics, the alias /api for /api/v1, refusal of other sites' pages), gets its time, has
// its body read within its size, and is served once when it carries an Idempotency-Key;
// then huma checks it against the schema made from the types of package api and calls a
// handler. Errors become the one error body there is. Routes whose answers have no end are
// registered as streams.
// Each request runs on net/http's goroutine; Run owns the listeners.
package httpd
