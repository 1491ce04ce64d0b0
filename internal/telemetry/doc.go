// Package telemetry makes the logger, the process metrics and the spans of traces. It owns the
// form of a log line (JSON or text, level names in upper case, times in UTC), the rotation of
// the log file, the tee that copies lines about an agent into that agent's own log, which traces
// are recorded, the latest of them, and the way to a collector; it refuses to decide what is
// logged, or what is a span.
//
// internal/node makes one Log, one prometheus registry and one Tracer and hands them to every
// part. The parts log from any goroutine; Log.Run, started by node, writes agents' lines to
// their sink. A part where work begins (a request, a message, a turn, a deployment) begins a
// span with the Tracer; what is done within takes it from the context, by Start. A span that has
// ended is kept in a ring, and put into a bounded queue from which Tracer.Run, started by node,
// sends it as OTLP. Nobody who begins or ends a span ever waits for the collector.
package telemetry
