package protocol

import (
	"slices"
	"strings"

	"github.com/caxton/caxton"
)

// A Name is the canonical name of an interaction protocol.
type Name string

// The protocols whose steps are checked.
const (
	Request     Name = "fipa-request"      // SC00026H
	Query       Name = "fipa-query"        // SC00027H
	ContractNet Name = "fipa-contract-net" // SC00029H
	Subscribe   Name = "fipa-subscribe"    // SC00035H
)

// Names returns the protocols whose steps are checked.
func Names() []Name { return []Name{Request, Query, ContractNet, Subscribe} }

// Parse reads the name of a protocol as it stands in a message: with or without "fipa-", in
// any case, with "_" or "-". It reports false for "" and for a protocol that is not checked.
func Parse(name string) (Name, bool) {
	s := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "_", "-")
	n := Name("fipa-" + strings.TrimPrefix(s, "fipa-"))
	return n, slices.Contains(Names(), n)
}

// Opening returns the performatives that open an exchange of n.
func (n Name) Opening() []caxton.Performative {
	switch n {
	case Request:
		return []caxton.Performative{caxton.Request}
	case Query:
		return []caxton.Performative{caxton.Query, caxton.QueryIf, caxton.QueryRef}
	case ContractNet:
		return []caxton.Performative{caxton.CFP}
	case Subscribe:
		return []caxton.Performative{caxton.Subscribe}
	}
	return nil
}

// A Side is one of the two roles in an exchange.
type Side string

// The sides.
const (
	Initiator   Side = "initiator"   // who opened the exchange
	Participant Side = "participant" // who was asked
)

// A State says how far an exchange has come.
type State string

// The states. The first six are open, the others final.
const (
	Opened        State = "opened"         // the initiator asked; no answer yet
	Agreed        State = "agreed"         // the participant agreed, or a subscription delivers
	Proposed      State = "proposed"       // a proposal waits for the initiator's decision
	Late          State = "late"           // a proposal came after the deadline and can only be rejected
	Accepted      State = "accepted"       // the initiator accepted the proposal; the work is on
	Cancelling    State = "cancelling"     // the initiator asked to stop; the participant has not answered
	Done          State = "done"           // the participant gave its result
	Refused       State = "refused"        // the participant would not
	Rejected      State = "rejected"       // the initiator did not take the proposal
	Failed        State = "failed"         // the participant could not, or could not stop
	Cancelled     State = "cancelled"      // the participant stopped as asked
	NotUnderstood State = "not_understood" // one side did not understand the other, which ends it
)

// States returns every state.
func States() []State {
	return []State{
		Opened, Agreed, Proposed, Late, Accepted, Cancelling,
		Done, Refused, Rejected, Failed, Cancelled, NotUnderstood,
	}
}

// Final reports whether nothing follows s, save the answer to a cancel that crossed the end.
func (s State) Final() bool {
	switch s {
	case Opened, Agreed, Proposed, Late, Accepted, Cancelling:
		return false
	case Done, Refused, Rejected, Failed, Cancelled, NotUnderstood:
	}
	return true
}

// A move is one legal step: the act, and the state it leads to.
type move struct {
	act caxton.Performative
	to  State
}

// moves is the table of the protocols: what side may say in state s of n, and where it leads.
// Cancelling is not in it; what is legal there depends on the state before (Exchange.moves).
//
// The main flow is figure 1 and section 1.1 of each specification. In section 1.2, "exceptions
// to the protocol flow", all four say the same: whoever received a message may answer
// not-understood at any point, which ends the exchange, and the initiator may cancel at any
// point. The initiator has received something in every open state but Opened.
func moves(n Name, s State, side Side) []move {
	if s.Final() || s == Cancelling {
		return nil
	}
	var ms []move
	if side == Participant {
		ms = answers(n, s)
	} else {
		ms = decisions(s)
	}
	if side == Participant || s != Opened {
		ms = append(ms, move{caxton.NotUnderstood, NotUnderstood})
	}
	return ms
}

// answers is the participant's part of moves, without not-understood.
func answers(n Name, s State) []move {
	result := Done
	if n == Subscribe {
		result = Agreed // informs keep coming: SC00035H, section 1.1
	}
	switch s {
	case Opened:
		if n == ContractNet { // SC00029H, section 1.1: a cfp is answered by propose or refuse only
			return []move{{caxton.Propose, Proposed}, {caxton.Refuse, Refused}}
		}
		// The agree is left out where no notification is necessary: section 1.1 of SC00026H,
		// SC00027H and SC00035H.
		return []move{
			{caxton.Agree, Agreed},
			{caxton.Refuse, Refused},
			{caxton.Inform, result},
			{caxton.Failure, Failed},
		}
	case Agreed, Accepted:
		return []move{{caxton.Inform, result}, {caxton.Failure, Failed}}
	case Proposed, Late: // it is the initiator's turn
	case Cancelling, Done, Refused, Rejected, Failed, Cancelled, NotUnderstood:
	}
	return nil
}

// decisions is the initiator's part of moves, without not-understood. Who may decide on a
// proposal follows from the state: only the contract net has these.
func decisions(s State) []move {
	stop := move{caxton.Cancel, Cancelling}
	switch s {
	case Proposed:
		return []move{{caxton.AcceptProposal, Accepted}, {caxton.RejectProposal, Rejected}, stop}
	case Late: // SC00029H, section 1.1: late proposals are rejected
		return []move{{caxton.RejectProposal, Rejected}, stop}
	case Opened, Agreed, Accepted:
		return []move{stop}
	case Cancelling, Done, Refused, Rejected, Failed, Cancelled, NotUnderstood:
	}
	return nil
}

// stopped is what answers a cancel: figure 2, the cancel meta-protocol, of each specification.
func stopped() []move {
	return []move{
		{caxton.Inform, Cancelled},
		{caxton.Failure, Failed},
		{caxton.NotUnderstood, NotUnderstood},
	}
}

// find returns where act leads among ms.
func find(ms []move, act caxton.Performative) (State, bool) {
	for _, m := range ms {
		if m.act == act {
			return m.to, true
		}
	}
	return "", false
}
