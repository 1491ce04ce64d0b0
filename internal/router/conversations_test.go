package router_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/router"
)

func in(conv caxton.ConversationID, receiver, text string) caxton.Message {
	m := to(receiver, text)
	m.ConversationID = conv
	return m
}

// logKinds prints a log as kinds of records, one letter for the conversation they are in.
func logKinds(t *testing.T, r *router.Router, id caxton.ConversationID) string {
	t.Helper()
	rs, err := r.Log(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	kinds := make([]string, len(rs))
	for i, rec := range rs {
		kinds[i] = string(rec.Kind)
	}
	return strings.Join(kinds, " ")
}

func TestForkAtAnOpenMessage(t *testing.T) {
	r, _, j := newRouter(router.Config{}, helper("a1", "Greeter", "", 0))
	rc := send(t, r, to("greeter", "one"))
	settle(t, r, next(t, r, "a1"), "first")
	send(t, r, in(rc.ConversationID, "greeter", "two"))
	l := next(t, r, "a1")
	if err := j.Append(t.Context(),
		caxton.Record{ConversationID: rc.ConversationID, MessageID: l.Message.ID, AgentID: "a1", Kind: caxton.RecordModelCalled, Body: []byte(`{"step":0}`)},
		caxton.Record{ConversationID: rc.ConversationID, MessageID: l.Message.ID, AgentID: "a1", Kind: caxton.RecordToolIntended, Body: []byte(`{"call_id":"c1","tool":"pay","key":"k"}`)},
		caxton.Record{ConversationID: rc.ConversationID, MessageID: l.Message.ID, AgentID: "a1", Kind: caxton.RecordToolReturned, Body: []byte(`{"call_id":"c1","tool":"pay","text":"paid"}`)},
	); err != nil {
		t.Fatal(err)
	}
	settle(t, r, l, "second")

	c, err := r.Fork(t.Context(), rc.ConversationID, caxton.Fork{At: 6, Version: 7, By: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := logKinds(t, r, c.ID), "forked message message settled message model_called tool_intended tool_returned"; got != want {
		t.Fatalf("log of the fork\n%s, want\n%s", got, want)
	}
	if c.Parent != rc.ConversationID || c.State != caxton.ConversationActive || c.Messages != 3 {
		t.Errorf("fork = %+v", c)
	}
	l2 := next(t, r, "a1")
	if l2.Message.ID == l.Message.ID || l2.Message.ConversationID != c.ID || l2.Version != 7 || !l2.Resumed || l2.Message.Text() != "two" {
		t.Errorf("lease in the fork = %+v, want the second message at version 7, resumed", l2)
	}
	past, err := r.Past(t.Context(), l2)
	if err != nil || len(past) < 3 {
		t.Fatalf("Past = %d records, %v, want what was recorded", len(past), err)
	}
	settle(t, r, l2, "otherwise")
	m, err := r.Await(t.Context(), l2.Message.ID)
	if err != nil || m.Text() != "otherwise" || m.ConversationID != c.ID {
		t.Errorf("answer in the fork = %+v, %v", m, err)
	}
	if st, err := r.Status(t.Context(), l.Message.ID); err != nil || st.Replies[0].Text() != "second" {
		t.Errorf("the original has changed: %+v, %v", st, err)
	}
	// A message that follows keeps the version.
	rc3 := send(t, r, in(c.ID, "greeter", "three"))
	if l3 := next(t, r, "a1"); l3.Version != 7 || l3.Message.ID != rc3.MessageID {
		t.Errorf("version %d for what follows, want 7", l3.Version)
	}
}

func TestForkPoints(t *testing.T) {
	r, _, j := newRouter(router.Config{}, helper("a1", "Greeter", "", 0))
	rc := send(t, r, to("greeter", "one"))
	l := next(t, r, "a1")
	if err := j.Append(t.Context(), caxton.Record{
		ConversationID: rc.ConversationID, MessageID: l.Message.ID, AgentID: "a1", Kind: caxton.RecordToolIntended, Body: []byte(`{"call_id":"c1","tool":"pay","key":"k"}`),
	}); err != nil {
		t.Fatal(err)
	}
	fork := func(at int64) error {
		_, err := r.Fork(t.Context(), rc.ConversationID, caxton.Fork{At: at})
		return err
	}
	wantKind(t, "fork while a call is made", fork(2), caxton.Conflict)
	settle(t, r, l, "first")
	for at, want := range map[int64]caxton.Kind{1: "", 2: caxton.Conflict, 3: caxton.Invalid, 4: "", 0: "", 5: caxton.Invalid, -1: caxton.Invalid} {
		wantKind(t, fmt.Sprintf("fork at %d", at), fork(at), want)
	}
	_, err := r.Fork(t.Context(), "nowhere", caxton.Fork{})
	wantKind(t, "fork of an unknown conversation", err, caxton.NotFound)
	if err := r.Archive(t.Context(), rc.ConversationID, "ann", ""); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "fork of an archived conversation", fork(0), "")
}

func TestForkOfAFork(t *testing.T) {
	r, _, _ := newRouter(router.Config{}, helper("a1", "Greeter", "", 0))
	rc := send(t, r, to("greeter", "one"))
	settle(t, r, next(t, r, "a1"), "first")
	c, err := r.Fork(t.Context(), rc.ConversationID, caxton.Fork{})
	if err != nil {
		t.Fatal(err)
	}
	c, err = r.Fork(t.Context(), c.ID, caxton.Fork{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := logKinds(t, r, c.ID), "forked forked message message settled"; got != want {
		t.Errorf("log %s, want %s", got, want)
	}
}

func TestImportSettlesWhatIsOpen(t *testing.T) {
	r, _, _ := newRouter(router.Config{}, helper("a1", "Greeter", "", 0))
	rc := send(t, r, to("greeter", "one"))
	rs, err := r.Log(t.Context(), rc.ConversationID)
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, "import of what is there", r.Import(t.Context(), rs), caxton.Conflict)
	other, _, _ := newRouter(router.Config{}, helper("a1", "Greeter", "", 0))
	if err := other.Import(t.Context(), rs); err != nil {
		t.Fatal(err)
	}
	if got := logKinds(t, other, rc.ConversationID); got != "message settled" {
		t.Errorf("log %s, want the message settled", got)
	}
	if st, err := other.Status(t.Context(), rc.MessageID); err != nil || st.Outcome != caxton.OutcomeCancelled || st.Code != "imported" {
		t.Errorf("status %+v, %v", st, err)
	}
	if _, ok := other.Next(t.Context(), "a1"); ok {
		t.Error("an imported message is handed out")
	}
}

// A stage is a router whose clock the test moves.
type stage struct {
	t   *testing.T
	r   *router.Router
	now time.Time
}

func newStage(t *testing.T, l router.Limits, a caxton.Agent) *stage {
	t.Helper()
	s := &stage{t: t, now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return s.now }
	s.r = router.New(memjournal.New(memjournal.Config{Now: clock}), &directory{agents: []caxton.Agent{a}}, router.Config{Limits: l, Now: clock})
	return s
}

// say sends a message into the conversation and has it answered.
func (s *stage) say(conv caxton.ConversationID, sender string) error {
	s.t.Helper()
	m := in(conv, "greeter", "hello")
	m.Sender = sender
	if _, err := s.r.Send(s.t.Context(), m); err != nil {
		return err
	}
	settle(s.t, s.r, next(s.t, s.r, "a1"), "hi")
	return nil
}

func (s *stage) state(conv caxton.ConversationID) caxton.ConversationState {
	s.t.Helper()
	c, err := s.r.Conversation(s.t.Context(), conv)
	if err != nil {
		s.t.Fatal(err)
	}
	return c.State
}

func TestLimitOfTurns(t *testing.T) {
	greeter := helper("a1", "Greeter", "", 0)
	for name, s := range map[string]*stage{
		"the server's": newStage(t, router.Limits{MaxTurns: 2}, greeter),
		"the agent's": newStage(t, router.Limits{MaxTurns: 50}, func() caxton.Agent {
			a := greeter
			a.Definition.Conversation.MaxTurns = 2
			return a
		}()),
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			for range 2 {
				if err := s.say("c1", "ann"); err != nil {
					t.Fatal(err)
				}
			}
			wantKind(t, "a third turn", s.say("c1", "ann"), caxton.Exhausted)
			if err := s.say("c2", "ann"); err != nil {
				t.Errorf("another conversation: %v", err)
			}
		})
	}
}

func TestLimitOfParticipants(t *testing.T) {
	s := newStage(t, router.Limits{MaxParticipants: 3}, helper("a1", "Greeter", "", 0))
	for _, who := range []string{"ann", "bob", "ann"} {
		if err := s.say("c1", who); err != nil {
			t.Fatal(err)
		}
	}
	wantKind(t, "a fourth participant", s.say("c1", "cyn"), caxton.Exhausted)
	if err := s.say("c1", "bob"); err != nil {
		t.Errorf("one who takes part: %v", err)
	}
}

func TestLimitOfTime(t *testing.T) {
	greeter := helper("a1", "Greeter", "", 0)
	patient := greeter
	patient.Definition.Conversation.Timeout = time.Hour
	tests := []struct {
		name  string
		l     router.Limits
		agent caxton.Agent
		pause time.Duration // between messages
		fits  int           // messages that come in
	}{
		{"idle for too long", router.Limits{IdleTimeout: time.Hour}, greeter, time.Hour, 1},
		{"idle for not so long", router.Limits{IdleTimeout: time.Hour}, greeter, 59 * time.Minute, 5},
		{"the agent's idle time", router.Limits{IdleTimeout: 24 * time.Hour}, patient, time.Hour, 1},
		{"old", router.Limits{MaxLifetime: 3 * time.Hour}, greeter, time.Hour, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name+", at the next message", func(t *testing.T) {
			s := newStage(t, tt.l, tt.agent)
			for i := range 5 {
				err := s.say("c1", "ann")
				if i < tt.fits && err != nil {
					t.Fatalf("message %d: %v", i, err)
				}
				if i >= tt.fits {
					wantKind(t, "late message", err, caxton.Conflict)
					if got := s.state("c1"); got != caxton.ConversationArchived {
						t.Errorf("state %s, want it archived", got)
					}
				}
				s.now = s.now.Add(tt.pause)
			}
		})
		t.Run(tt.name+", by the sweep", func(t *testing.T) {
			s := newStage(t, tt.l, tt.agent)
			if err := s.say("c1", "ann"); err != nil {
				t.Fatal(err)
			}
			s.now = s.now.Add(tt.pause * time.Duration(tt.fits))
			n, err := s.r.Sweep(t.Context())
			want := 0
			if tt.pause*time.Duration(tt.fits) >= time.Hour {
				want = 1
			}
			if err != nil || n != want {
				t.Errorf("Sweep = %d, %v, want %d", n, err, want)
			}
		})
	}
}

func TestWorkIsNotIdle(t *testing.T) {
	s := newStage(t, router.Limits{IdleTimeout: time.Hour}, helper("a1", "Greeter", "", 0))
	send(t, s.r, in("c1", "greeter", "long work"))
	s.now = s.now.Add(2 * time.Hour)
	if n, err := s.r.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("Sweep = %d, %v, want nothing archived", n, err)
	}
	if _, err := s.r.Send(t.Context(), in("c1", "greeter", "how is it going?")); err != nil {
		t.Errorf("Send to a conversation at work: %v", err)
	}
}

func TestForkIsAsYoungAsItself(t *testing.T) {
	s := newStage(t, router.Limits{IdleTimeout: time.Hour, MaxLifetime: 5 * time.Hour}, helper("a1", "Greeter", "", 0))
	if err := s.say("c1", "ann"); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(10 * time.Hour)
	if n, err := s.r.Sweep(t.Context()); n != 1 || err != nil {
		t.Fatalf("Sweep = %d, %v", n, err)
	}
	c, err := s.r.Fork(t.Context(), "c1", caxton.Fork{})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.r.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("Sweep = %d, %v, want the fork left alone", n, err)
	}
	if err := s.say(c.ID, "ann"); err != nil {
		t.Errorf("message to the fork: %v", err)
	}
}
