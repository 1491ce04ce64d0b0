package protocol

import (
	"slices"
	"time"

	"github.com/caxton/caxton"
)

// keepEnded is how many ended exchanges a Dialogue keeps, to say of a late message that its
// exchange is over and how it ended. Older ones are forgotten, so that a long conversation
// does not make each step slower.
const keepEnded = 64

// A Dialogue is the exchanges of one conversation: a fold over its messages in order. Messages
// without a checked protocol do not take part. The zero Dialogue is an empty conversation.
// It is plain data; a copy shares its exchanges, so only one of the two may be applied to.
type Dialogue struct {
	Exchanges []Exchange `json:"exchanges"` // in the order they began
}

// Fold returns the dialogue after messages, each of which came when it was created.
func Fold(messages []caxton.Message) Dialogue {
	var d Dialogue
	for i := range messages {
		d.Apply(&messages[i], messages[i].CreatedAt)
	}
	return d
}

// Check returns the error Exchange.Next or Begin would give for m at the given time, or nil
// when m is legal or does not take part.
func (d Dialogue) Check(m *caxton.Message, at time.Time) error {
	_, _, err := d.step(m, at)
	return err
}

// Apply takes m, which came at the given time, into the dialogue. What is not legal changes
// nothing, save a late proposal, after which only its rejection is legal.
func (d *Dialogue) Apply(m *caxton.Message, at time.Time) {
	i, e, err := d.step(m, at)
	switch {
	case e == Exchange{}:
	case i < len(d.Exchanges):
		d.Exchanges[i] = e
	case err == nil:
		d.Exchanges = append(d.Exchanges, e)
		d.forget()
	}
}

// Find returns the exchange that m belongs to, as it is before m. For an act that is not legal
// that is the one whose rules it breaks, so that the caller can ask what would be legal there.
// It returns false for an act that opens an exchange, and where there is none for m.
func (d Dialogue) Find(m *caxton.Message, at time.Time) (Exchange, bool) {
	i, _, _ := d.step(m, at)
	if i >= len(d.Exchanges) {
		return Exchange{}, false
	}
	return d.Exchanges[i], true
}

// step returns what m makes of the dialogue: the exchange it belongs to as it is afterwards and
// its position, which is len(d.Exchanges) for a new one. The zero exchange means that m does
// not take part.
//
// An opening act always opens: two parties may have any number of exchanges at a time. For any
// other act the exchanges of these parties that its in_reply_to names are meant; where it names
// none, all of them, and then the oldest in which the act is legal takes it, for answers come
// in the order of the questions. Exchanges that have ended come after those that go on.
//
// A not-understood that names none answers something that is no part of an exchange, such as
// an act that was not legal, and takes no part either: it would end what goes on.
func (d Dialogue) step(m *caxton.Message, at time.Time) (int, Exchange, error) {
	n, ok := Parse(m.Protocol)
	if !ok {
		return len(d.Exchanges), Exchange{}, nil
	}
	if slices.Contains(n.Opening(), m.Performative) {
		e, err := Begin(m)
		return len(d.Exchanges), e, err
	}
	candidates := d.between(n, from(m), to(m))
	named := slices.DeleteFunc(slices.Clone(candidates), func(i int) bool {
		e := &d.Exchanges[i]
		return !e.Opening.named(m.InReplyTo) && !e.Asked.named(m.InReplyTo) && !e.Answered.named(m.InReplyTo)
	})
	switch {
	case len(named) > 0:
		candidates = named
	case m.Performative == caxton.NotUnderstood && m.InReplyTo != "":
		return len(d.Exchanges), Exchange{}, nil
	}
	slices.SortStableFunc(candidates, func(i, j int) int { return ended(d.Exchanges[i]) - ended(d.Exchanges[j]) })
	for _, i := range candidates {
		e, err := d.Exchanges[i].Next(m, at)
		if err == nil || e != d.Exchanges[i] {
			return i, e, err
		}
	}
	if len(candidates) == 0 {
		e, err := Begin(m)
		return len(d.Exchanges), e, err
	}
	// The latest exchange that goes on, or else the latest, tells best why m is not legal.
	told := candidates[len(candidates)-1]
	for _, i := range candidates {
		if !d.Exchanges[i].Done() {
			told = i
		}
	}
	_, err := d.Exchanges[told].Next(m, at)
	return told, d.Exchanges[told], err
}

// ended returns 1 for an exchange that has ended, else 0.
func ended(e Exchange) int {
	if e.Done() {
		return 1
	}
	return 0
}

// between returns the positions of the exchanges of n between a and b, whoever began.
func (d Dialogue) between(n Name, a, b Party) []int {
	var is []int
	for i := range d.Exchanges {
		e := &d.Exchanges[i]
		if e.Protocol == n && (e.Initiator.is(a) && e.Participant.is(b) || e.Initiator.is(b) && e.Participant.is(a)) {
			is = append(is, i)
		}
	}
	return is
}

// forget drops the oldest ended exchanges beyond keepEnded.
func (d *Dialogue) forget() {
	over := -keepEnded
	for i := range d.Exchanges {
		over += ended(d.Exchanges[i])
	}
	if over <= 0 {
		return
	}
	d.Exchanges = slices.DeleteFunc(d.Exchanges, func(e Exchange) bool {
		drop := e.Done() && over > 0
		over -= ended(e)
		return drop
	})
}
