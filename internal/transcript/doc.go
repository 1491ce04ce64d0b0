// Package transcript presents the log of a conversation to readers: as a file that another
// server can bring in, as a timeline, as an account of why an answer came out as it did, and
// as the difference between two conversations. It owns the file format
// "caxton.conversations"; it refuses to read or write journals: it is given records and
// returns text, structures or records.
//
// internal/httpd calls it from its requests, internal/cli when it writes and reads files.
package transcript
