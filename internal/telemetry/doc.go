// Package telemetry makes the logger and the process metrics. It owns the form of a log
// line (JSON or text, level names in upper case, times in UTC), the rotation of the log
// file, and the tee that copies lines about an agent into that agent's own log; it refuses
// to decide what is logged.
//
// internal/node makes one Log and one prometheus registry and hands them to every part. The
// parts log from any goroutine; Run, started by node, writes agents' lines to their sink.
package telemetry
