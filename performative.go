package caxton

import (
	"slices"
	"strings"
)

// A Performative says what a message does: it is the act of FIPA ACL, written in lower
// case with hyphens ("accept-proposal"). Source: FIPA SC00037J, Communicative Act Library.
type Performative string

// The performatives Caxton knows.
const (
	Request        Performative = "request"
	Inform         Performative = "inform"
	QueryIf        Performative = "query-if"
	QueryRef       Performative = "query-ref"
	Query          Performative = "query" // the light form of query-ref
	CFP            Performative = "cfp"
	Propose        Performative = "propose"
	AcceptProposal Performative = "accept-proposal"
	RejectProposal Performative = "reject-proposal"
	Agree          Performative = "agree"
	Refuse         Performative = "refuse"
	Failure        Performative = "failure"
	NotUnderstood  Performative = "not-understood"
	Cancel         Performative = "cancel"
	Confirm        Performative = "confirm"
	Disconfirm     Performative = "disconfirm"
	Subscribe      Performative = "subscribe"
)

// Performatives returns every known performative, in the order of the documentation.
func Performatives() []Performative {
	return []Performative{
		Request, Inform, Query, QueryIf, QueryRef, CFP, Propose, AcceptProposal,
		RejectProposal, Agree, Refuse, Failure, NotUnderstood, Cancel, Confirm, Disconfirm, Subscribe,
	}
}

// ParsePerformative reads a performative; case does not matter, and "_" is "-". The empty
// string is Request. Anything else is an Invalid error.
func ParsePerformative(s string) (Performative, error) {
	if s == "" {
		return Request, nil
	}
	p := Performative(strings.ReplaceAll(strings.ToLower(s), "_", "-"))
	if slices.Contains(Performatives(), p) {
		return p, nil
	}
	return "", Errorf(Invalid, "performative_unknown", "%q is not a performative", s).
		WithHint("use one of request, inform, query-if, query-ref, cfp, propose, accept-proposal, reject-proposal, agree, refuse, failure, not-understood, cancel, confirm, disconfirm, subscribe")
}

// Replies reports whether p closes or continues an exchange rather than opening one: an
// agent is not asked to answer it.
func (p Performative) Replies() bool {
	switch p {
	case Inform, Agree, Refuse, Failure, NotUnderstood, Confirm, Disconfirm, Cancel:
		return true
	case Request, Query, QueryIf, QueryRef, CFP, Propose, AcceptProposal, RejectProposal, Subscribe:
	}
	return false
}
