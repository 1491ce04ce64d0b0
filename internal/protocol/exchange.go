package protocol

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
)

// A Party is one end of an exchange, as far as the messages name it.
type Party struct {
	ID   caxton.AgentID `json:"agent_id,omitempty"` // "" for a party outside, or not resolved
	Name string         `json:"name,omitempty"`
}

// String returns the name, or the ID where there is no name.
func (p Party) String() string {
	if p.Name != "" {
		return p.Name
	}
	if p.ID != "" {
		return string(p.ID)
	}
	return "the caller"
}

// is reports whether p and q are the same: by ID where both have one, else by what they are
// called, an ID being a name too.
func (p Party) is(q Party) bool {
	switch {
	case p.ID != "" && q.ID != "":
		return p.ID == q.ID
	case p.ID != "":
		return q.Name != "" && (q.Name == p.Name || q.Name == string(p.ID))
	case q.ID != "":
		return q.is(p)
	}
	return p.Name == q.Name
}

func from(m *caxton.Message) Party { return Party{m.SenderID, m.Sender} }

func to(m *caxton.Message) Party { return Party{m.ReceiverID, m.Receiver} }

// A Ref is what an answer may give as in_reply_to to name a message.
type Ref struct {
	ID        caxton.MessageID `json:"message_id,omitempty"`
	ReplyWith string           `json:"reply_with,omitempty"`
}

func refTo(m *caxton.Message) Ref { return Ref{m.ID, m.ReplyWith} }

// named reports whether inReplyTo names r's message.
func (r Ref) named(inReplyTo string) bool {
	return inReplyTo != "" && (inReplyTo == r.ReplyWith || inReplyTo == string(r.ID))
}

// An Exchange is one run of one protocol between two parties. A contract net with n bidders is
// n exchanges of one conversation. Only Begin makes one; it is plain data, and == compares it.
type Exchange struct {
	Protocol    Name      `json:"protocol"`
	Initiator   Party     `json:"initiator"`
	Participant Party     `json:"participant"`
	State       State     `json:"state"`
	Before      State     `json:"before,omitempty"`    // in Cancelling: where it would stand without the cancel
	ReplyBy     time.Time `json:"reply_by,omitzero"`   // the deadline the opening act set, in UTC; zero for none
	Opening     Ref       `json:"opening,omitzero"`    // the act that opened it
	Asked       Ref       `json:"asked,omitzero"`      // the initiator's latest act
	Answered    Ref       `json:"answered,omitzero"`   // the participant's latest act
	Unanswered  bool      `json:"unanswered,omitzero"` // a cancel waits for its answer
	Acts        int       `json:"acts"`                // messages in it, the opening one included
	Informs     int       `json:"informs,omitzero"`    // results the participant gave
}

// Begin returns the exchange that m opens. It is an Invalid error when m's protocol is not
// checked (protocol_unknown), or when m's performative does not open it (protocol_violation).
func Begin(m *caxton.Message) (Exchange, error) {
	n, ok := Parse(m.Protocol)
	if !ok {
		return Exchange{}, caxton.Errorf(caxton.Invalid, "protocol_unknown", "%q is not a protocol whose steps are checked", m.Protocol).
			WithHint("use fipa-request, fipa-query, fipa-contract-net or fipa-subscribe")
	}
	if !slices.Contains(n.Opening(), m.Performative) {
		return Exchange{}, caxton.Errorf(caxton.Invalid, "protocol_violation",
			"%s and %s have no exchange of %s that %s could belong to", from(m), to(m), n, m.Performative).
			WithHint("it opens with %s", list(n.Opening()))
	}
	return Exchange{
		Protocol: n, Initiator: from(m), Participant: to(m), State: Opened,
		ReplyBy: m.ReplyBy.UTC(), Opening: refTo(m), Asked: refTo(m), Acts: 1,
	}, nil
}

// Done reports whether the exchange has ended.
func (e Exchange) Done() bool { return e.State.Final() }

// Legal returns what side may say now. Where a cancel crossed the end of the exchange, its
// answer is still legal though the exchange is done.
func (e Exchange) Legal(side Side) []caxton.Performative {
	var ps []caxton.Performative
	for _, m := range e.moves(side) {
		if !slices.Contains(ps, m.act) {
			ps = append(ps, m.act)
		}
	}
	return ps
}

// GiveUp returns what the participant may say now to end the exchange because it cannot go on,
// or "" when there is nothing it could say: failure, or refuse where the participant has not
// committed itself and failure is not legal, as after a cfp.
func (e Exchange) GiveUp() caxton.Performative {
	ps := e.Legal(Participant)
	for _, p := range []caxton.Performative{caxton.Failure, caxton.Refuse, caxton.NotUnderstood} {
		if slices.Contains(ps, p) {
			return p
		}
	}
	return ""
}

// moves returns the legal steps of side, those that answer a cancel first. A cancel and an act
// of the participant may cross, so what was legal before the cancel stays legal after it.
func (e Exchange) moves(side Side) []move {
	switch {
	case e.State == Cancelling && side == Participant:
		return append(stopped(), moves(e.Protocol, e.Before, side)...)
	case e.Done() && e.Unanswered && side == Participant:
		ms := stopped()
		for i := range ms {
			ms[i].to = e.State
		}
		return ms
	}
	return moves(e.Protocol, e.State, side)
}

// Next returns the exchange after m, which came at the given time. A step that is not legal is
// an Invalid error with the code protocol_violation, and the exchange stays as it is. A
// proposal after the deadline of the cfp is an Invalid error with the code protocol_late, and
// the exchange returned with it is in the state Late: the initiator may only reject it
// (SC00029H, section 1.1). The zero time is never late.
func (e Exchange) Next(m *caxton.Message, at time.Time) (Exchange, error) {
	side, ok := e.side(m)
	if !ok {
		return e, e.illegal(m, side)
	}
	was := e.State
	target, crossing := e.target(m, side)
	late := m.Performative == caxton.Propose && !e.ReplyBy.IsZero() && at.After(e.ReplyBy)
	if late {
		target = Late
	}
	e.Acts++
	if side == Initiator {
		e.Asked = refTo(m)
	} else {
		e.Answered = refTo(m)
		if m.Performative == caxton.Inform {
			e.Informs++
		}
	}
	switch {
	case target == Cancelling:
		e.Before, e.State, e.Unanswered = was, Cancelling, true
	case was == Cancelling && crossing && !target.Final():
		e.Before = target
	case was == Cancelling && crossing:
		e.Before, e.State = "", target
	default:
		e.Before, e.State, e.Unanswered = "", target, false
	}
	if late {
		return e, caxton.Errorf(caxton.Invalid, "protocol_late", "the proposal of %s came after %s, the deadline of the call for proposals",
			from(m), e.ReplyBy.Format(time.RFC3339)).
			WithHint("it counts as rejected; propose before the reply_by of the cfp")
	}
	return e, nil
}

// side returns whose act m is, and whether it is legal for that side. An agent that talks to
// itself is both; the side that may say it is meant.
func (e Exchange) side(m *caxton.Message) (side Side, legal bool) {
	s, r := from(m), to(m)
	for _, c := range []struct {
		side     Side
		from, to Party
	}{{Participant, e.Participant, e.Initiator}, {Initiator, e.Initiator, e.Participant}} {
		if !c.from.is(s) || !c.to.is(r) {
			continue
		}
		side = c.side
		if _, ok := find(e.moves(side), m.Performative); ok {
			return side, true
		}
	}
	return side, false
}

// target returns where m, a legal act of side, leads, and whether it crossed a cancel rather
// than answering it.
func (e Exchange) target(m *caxton.Message, side Side) (target State, crossing bool) {
	ms := e.moves(side)
	target, _ = find(ms, m.Performative)
	if e.State != Cancelling {
		return target, false
	}
	before, ok := find(moves(e.Protocol, e.Before, side), m.Performative)
	_, answer := find(stopped(), m.Performative)
	if ok && (!answer || m.InReplyTo != "" && !e.Asked.named(m.InReplyTo)) {
		return before, true
	}
	return target, false
}

// illegal says that m may not be said, and what may.
func (e Exchange) illegal(m *caxton.Message, side Side) error {
	err := caxton.Errorf(caxton.Invalid, "protocol_violation", "%s may not say %s to %s in this %s, which is %s",
		from(m), m.Performative, to(m), e.Protocol, strings.ReplaceAll(string(e.State), "_", " "))
	if side == "" {
		return err.WithHint("it is between %s and %s", e.Initiator, e.Participant)
	}
	var say []string
	for _, s := range []Side{Participant, Initiator} {
		who := e.Participant
		if s == Initiator {
			who = e.Initiator
		}
		if ps := e.Legal(s); len(ps) > 0 {
			say = append(say, fmt.Sprintf("%s may say %s", who, list(ps)))
		}
	}
	if len(say) == 0 {
		return err.WithHint("nothing more can be said in it; open a new one with %s", list(e.Protocol.Opening()))
	}
	return err.WithHint("now %s", strings.Join(say, "; "))
}

// list prints ps as "a, b or c".
func list(ps []caxton.Performative) string {
	var b strings.Builder
	for i, p := range ps {
		switch {
		case i == 0:
		case i == len(ps)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(string(p))
	}
	return b.String()
}
