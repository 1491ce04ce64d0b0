// Package caxton is the vocabulary of the Caxton agent server: the nouns every other
// package speaks. It parses, checks and prints them, and does nothing else: no I/O, no
// clock, no randomness, and no import beyond the standard library.
//
// A Message says something to an agent, chosen by name or by Capability. Everything that
// happens to it is a Record in the log of its Conversation. An Agent is deployed in
// immutable versions, each with a Definition. A failure that means something to the caller
// is an *Error, whose Kind decides the HTTP status and the exit code.
//
// Everything may import this package; it imports nothing of ours.
package caxton
