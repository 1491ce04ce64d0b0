// Package event spreads what happens to whoever listens: records as they are committed, the
// text of models as it is written, and the steps of rollouts. It owns the fan-out and its
// bounds; it refuses to keep anything: who missed something reads the journal.
//
// A journal publishes the records of each commit, one commit after the other; internal/prompt
// publishes deltas, and internal/node the steps of rollouts that Rollouts tells it of. Publish
// never waits: a listener that does not keep up loses events, and is told so. internal/httpd
// listens, one Subscription for each stream.
package event

import (
	"sync"
	"sync/atomic"

	"github.com/caxton/caxton"
)

// An Event is a committed record, a piece of a model's answer that is being written, or a step
// of a rollout, which is in no conversation and in no log. All are shared by all listeners: not
// to be changed.
type Event struct {
	Record  *caxton.Record
	Delta   *Delta
	Rollout *caxton.RolloutEvent
}

// A Delta is a piece of text on its way. It is in no log: the answer, once complete, is.
type Delta struct {
	ConversationID caxton.ConversationID
	MessageID      caxton.MessageID // the message being answered
	AgentID        caxton.AgentID
	Step           int    // model call within the turn
	Index          int    // position within the step's answer, from 0
	Text           string // what is to be appended
	Restart        bool   // all earlier text of the step is void: another model answers
}

// buffer is how many events a listener may lag behind.
const buffer = 256

// A Feed spreads events. The zero Feed is ready. It is safe for concurrent use.
type Feed struct {
	listeners atomic.Int64

	mu   sync.RWMutex // guards the two below
	all  map[*Subscription]struct{}
	conv map[caxton.ConversationID]map[*Subscription]struct{}
}

// Active reports whether anybody listens.
func (f *Feed) Active() bool { return f.listeners.Load() > 0 }

// Listeners returns how many listen.
func (f *Feed) Listeners() int { return int(f.listeners.Load()) }

// Publish hands events of one conversation to who listens to it, or to all.
func (f *Feed) Publish(conv caxton.ConversationID, events ...Event) {
	if !f.Active() {
		return
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	for s := range f.all {
		s.push(events)
	}
	for s := range f.conv[conv] {
		s.push(events)
	}
}

// PublishRecords hands committed records to who listens.
func (f *Feed) PublishRecords(records []caxton.Record) {
	for i := range records {
		f.Publish(records[i].ConversationID, Event{Record: &records[i]})
	}
}

// Lost tells everybody that events are missing: a journal did not gather the records of a
// commit, because nobody listened when it began.
func (f *Feed) Lost() {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for s := range f.all {
		s.lose()
	}
	for _, m := range f.conv {
		for s := range m {
			s.lose()
		}
	}
}

// Subscribe listens to one conversation, or with "" to all. The caller must Close the
// Subscription.
func (f *Feed) Subscribe(conv caxton.ConversationID) *Subscription {
	s := &Subscription{feed: f, conv: conv, ready: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if conv == "" {
		if f.all == nil {
			f.all = map[*Subscription]struct{}{}
		}
		f.all[s] = struct{}{}
	} else {
		if f.conv == nil {
			f.conv = map[caxton.ConversationID]map[*Subscription]struct{}{}
		}
		if f.conv[conv] == nil {
			f.conv[conv] = map[*Subscription]struct{}{}
		}
		f.conv[conv][s] = struct{}{}
	}
	f.listeners.Add(1)
	return s
}

// A Subscription is one listener. One goroutine reads it.
type Subscription struct {
	feed  *Feed
	conv  caxton.ConversationID
	ready chan struct{} // capacity 1: something can be taken

	mu     sync.Mutex // guards the three below
	events []Event
	lost   bool
	closed bool
}

// Ready returns the channel that tells that Take has something. Each ring is heard once.
func (s *Subscription) Ready() <-chan struct{} { return s.ready }

// Take returns the events since the last call, oldest first. lost says that some are
// missing: the journal has them.
func (s *Subscription) Take() (events []Event, lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events, lost = s.events, s.lost
	s.events, s.lost = nil, false
	return events, lost
}

// Close ends the subscription. Closing twice does no harm.
func (s *Subscription) Close() {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return
	}
	f := s.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listeners.Add(-1)
	delete(f.all, s)
	if m := f.conv[s.conv]; m != nil {
		delete(m, s)
		if len(m) == 0 {
			delete(f.conv, s.conv)
		}
	}
}

func (s *Subscription) push(events []Event) {
	s.mu.Lock()
	if room := buffer - len(s.events); room < len(events) {
		s.events, s.lost = nil, true // it reads the journal anyway: what is kept would only repeat that
	} else {
		s.events = append(s.events, events...)
	}
	s.mu.Unlock()
	s.ring()
}

func (s *Subscription) lose() {
	s.mu.Lock()
	s.events, s.lost = nil, true
	s.mu.Unlock()
	s.ring()
}

func (s *Subscription) ring() {
	select {
	case s.ready <- struct{}{}:
	default: // it rings already
	}
}
