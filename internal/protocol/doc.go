// Package protocol owns the rules of the FIPA interaction protocols: who may say what, and
// when. It knows four, each with the cancel meta-protocol that its section 1.2 gives it:
//
//	fipa-request       SC00026H   request → [agree] → inform | failure, or refuse
//	fipa-query         SC00027H   query, query-if or query-ref → [agree] → inform | failure, or refuse
//	fipa-contract-net  SC00029H   cfp → propose → accept-proposal → inform | failure,
//	                              or refuse, or reject-proposal
//	fipa-subscribe     SC00035H   subscribe → [agree] → inform … until cancel or failure, or refuse
//
// It refuses to know what an act says, to read a clock and to send anything: a message and
// the time it came go in, a state or an error comes out. A message without a protocol, or
// with one that is not listed, is nobody's business here.
//
// The opening message of an exchange goes through Begin and becomes an Exchange; every later
// one goes through Exchange.Next, which returns the exchange after it, or an Invalid error
// that lists what is legal. Dialogue does both for all exchanges of one conversation and
// finds the exchange that a message belongs to. internal/router asks it before it accepts a
// message. All values are plain data: they may be copied, compared, stored as JSON, and used
// from any goroutine as long as one Dialogue is applied to by one at a time.
package protocol
