package event_test

import (
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/event"
)

func record(seq int64) event.Event {
	return event.Event{Record: &caxton.Record{ConversationID: "c1", Seq: seq}}
}

// take returns the sequence numbers of what waits.
func take(s *event.Subscription) (seqs []int64, lost bool) {
	events, lost := s.Take()
	for _, e := range events {
		seqs = append(seqs, e.Record.Seq)
	}
	return seqs, lost
}

func rings(s *event.Subscription) bool {
	select {
	case <-s.Ready():
		return true
	default:
		return false
	}
}

func TestFeed(t *testing.T) {
	var f event.Feed
	f.Publish("c1", record(1)) // nobody listens
	one, other, all := f.Subscribe("c1"), f.Subscribe("c2"), f.Subscribe("")
	f.Publish("c1", record(2), record(3))
	for name, tt := range map[string]struct {
		s    *event.Subscription
		want int
	}{"its conversation": {one, 2}, "another": {other, 0}, "all": {all, 2}} {
		if seqs, lost := take(tt.s); len(seqs) != tt.want || lost || rings(tt.s) != (tt.want > 0) {
			t.Errorf("%s: %v, lost %v, want %d", name, seqs, lost, tt.want)
		}
	}
	one.Close()
	one.Close()
	if f.Listeners() != 2 {
		t.Errorf("%d listeners after two closes of one, want 2", f.Listeners())
	}
	f.Publish("c1", record(4))
	if seqs, _ := take(one); len(seqs) != 0 {
		t.Errorf("closed, and yet %v", seqs)
	}
	other.Close()
	all.Close()
	if f.Active() {
		t.Error("active without listeners")
	}
}

func TestFeedOverflow(t *testing.T) {
	var f event.Feed
	s := f.Subscribe("c1")
	defer s.Close()
	for i := range 300 {
		f.Publish("c1", record(int64(i)))
	}
	seqs, lost := take(s)
	if !lost || !rings(s) {
		t.Errorf("300 events: lost %v, want true", lost)
	}
	for i, seq := range seqs { // what is left, if anything, has no gap
		if seq != seqs[0]+int64(i) {
			t.Errorf("kept %v, want no gap", seqs)
		}
	}
	if _, lost = take(s); lost {
		t.Error("lost is told twice")
	}
}

func TestFeedLost(t *testing.T) {
	var f event.Feed
	s, all := f.Subscribe("c1"), f.Subscribe("")
	defer s.Close()
	defer all.Close()
	f.Lost()
	for _, s := range []*event.Subscription{s, all} {
		if _, lost := s.Take(); !lost || !rings(s) {
			t.Errorf("lost %v, want true, and a ring", lost)
		}
	}
}
