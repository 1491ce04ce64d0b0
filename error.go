package caxton

import (
	"errors"
	"fmt"
	"strings"
)

// A Kind says what sort of failure an Error is. It decides the HTTP status and the
// exit code; nothing else does. The zero Kind is not a failure: KindOf(nil) is "".
type Kind string

// The kinds of failure, with the HTTP status and the exit code each one means.
const (
	Malformed       Kind = "malformed"       // cannot be read: 400, exit 2
	Invalid         Kind = "invalid"         // readable, breaks a rule: 422, exit 2
	Unauthenticated Kind = "unauthenticated" // the caller is not known: 401, exit 4
	Forbidden       Kind = "forbidden"       // the caller may not: 403, exit 4
	NotFound        Kind = "not_found"       // no such thing: 404, exit 3
	Conflict        Kind = "conflict"        // clash, wrong state, lock held: 409, exit 5
	TooLarge        Kind = "too_large"       // over a size limit: 413, exit 2
	Exhausted       Kind = "exhausted"       // limit, quota, queue full: 429, exit 6
	Canceled        Kind = "canceled"        // the caller left: 499, exit 130
	Internal        Kind = "internal"        // our fault; the default: 500, exit 1
	Unavailable     Kind = "unavailable"     // draining, provider down: 503, exit 6
	Timeout         Kind = "timeout"         // a deadline passed: 504, exit 7
)

// An Error is a failure that means something to the caller. It is the only error type
// that crosses package borders with a meaning; the place that knows picks the Kind, and
// others add context with fmt.Errorf and %w without classifying again.
type Error struct {
	Kind    Kind    // decides HTTP status and exit code
	Code    string  // for programs, never changes: "capability_not_found"
	Message string  // for people, safe to send
	Hint    string  // what to do about it, or ""
	Issues  []Issue // every fault of one document, when that is what failed
	Err     error   // the cause: logged, never sent
}

// Error returns the message, the issues one per line, and the cause: the form for logs.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for _, i := range e.Issues {
		b.WriteString("\n\t")
		b.WriteString(i.String())
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the Kind of the first Error in err's chain, Internal for any other
// error, and "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// Errorf returns an Error of the given kind and code whose message is formatted. Set
// Hint on the result where there is something the reader can do.
func Errorf(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Reason returns the message of the *Error in err, for people who did not cause it; otherwise
// when there is none, or it is Internal and so not for them.
func Reason(err error, otherwise string) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Kind != Internal {
		return e.Message
	}
	return otherwise
}

// WithHint returns a copy of e that carries hint.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// WithCause returns a copy of e whose cause is err.
func (e *Error) WithCause(err error) *Error {
	c := *e
	c.Err = err
	return &c
}

// An Issue is one fault at one place of a document: an agent file, a configuration, a
// request body. Line and Column count from 1; 0 means not known.
type Issue struct {
	Path    string // the file, or "" for a request body
	Line    int
	Column  int
	Key     string // dotted key path, such as "tools[2]", or ""
	Message string // what is wrong
	Hint    string // what to do, or ""
	Warning bool   // true when the document is still usable
}

// String prints path:line:column: message (hint), leaving out what is not known.
func (i Issue) String() string {
	var b strings.Builder
	if i.Path != "" {
		b.WriteString(i.Path)
		b.WriteByte(':')
	}
	if i.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", i.Line, i.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if i.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(i.Message)
	if i.Hint != "" {
		fmt.Fprintf(&b, " (%s)", i.Hint)
	}
	return b.String()
}
