package router_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/router"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A directory is a fixed set of agents.
type directory struct {
	mu     sync.Mutex
	agents []caxton.Agent
}

func (d *directory) Agent(id caxton.AgentID) (caxton.Agent, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.agents {
		if a.ID == id {
			return a, nil
		}
	}
	return caxton.Agent{}, caxton.Errorf(caxton.NotFound, "agent_not_found", "no agent %s", id)
}

func (d *directory) Resolve(ref string) (caxton.Agent, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.agents {
		if a.Slug == ref || a.Name == ref {
			return a, nil
		}
	}
	return caxton.Agent{}, caxton.Errorf(caxton.NotFound, "agent_not_found", "no agent %s", ref)
}

func (d *directory) Providers(c caxton.Capability) []caxton.Agent {
	d.mu.Lock()
	defer d.mu.Unlock()
	var as []caxton.Agent
	for _, a := range d.agents {
		if slices.Contains(a.Definition.Capabilities, c) {
			as = append(as, a)
		}
	}
	return as
}

func (d *directory) Capabilities() []caxton.Capability {
	return []caxton.Capability{capability("help")}
}

func (d *directory) remove(id caxton.AgentID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.agents = slices.DeleteFunc(d.agents, func(a caxton.Agent) bool { return a.ID == id })
}

func (d *directory) set(id caxton.AgentID, version, minVersion int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.agents {
		if d.agents[i].ID == id {
			d.agents[i].Version, d.agents[i].MinVersion = version, minVersion
		}
	}
}

func capability(s string) caxton.Capability {
	c, err := caxton.ParseCapability(s)
	if err != nil {
		panic(err)
	}
	return c
}

func helper(id, name, docs string, priority int) caxton.Agent {
	return caxton.Agent{
		ID: caxton.AgentID(id), Name: name, Slug: caxton.Slug(name), Version: 1, Versions: 1,
		Definition: caxton.Definition{Name: name, Capabilities: []caxton.Capability{capability("help")}, Documentation: docs, Priority: priority},
	}
}

func newRouter(cfg router.Config, agents ...caxton.Agent) (*router.Router, *directory, *memjournal.Journal) {
	d := &directory{agents: agents}
	j := memjournal.New(memjournal.Config{})
	return router.New(j, d, cfg), d, j
}

func to(receiver, text string) caxton.Message {
	return caxton.Message{Receiver: receiver, Content: caxton.TextContent(text)}
}

func send(t *testing.T, r *router.Router, m caxton.Message) caxton.Receipt {
	t.Helper()
	rc, err := r.Send(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return rc
}

func next(t *testing.T, r *router.Router, id caxton.AgentID) caxton.Lease {
	t.Helper()
	l, ok := r.Next(t.Context(), id)
	if !ok {
		t.Fatalf("Next(%s) has nothing", id)
	}
	return l
}

func settle(t *testing.T, r *router.Router, l caxton.Lease, text string) {
	t.Helper()
	err := r.Settle(t.Context(), caxton.Settlement{
		Lease: l, Outcome: caxton.OutcomeDone,
		Outputs: []caxton.Delivery{{Message: l.Message.Reply(caxton.Inform, caxton.TextContent(text))}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, what string, err error, want caxton.Kind) {
	t.Helper()
	if got := caxton.KindOf(err); got != want {
		t.Errorf("%s: kind %q (%v), want %q", what, got, err, want)
	}
}

func TestSendAndAwait(t *testing.T) {
	r, _, _ := newRouter(router.Config{}, helper("a1", "Greeter", "", 0))
	rc := send(t, r, to("greeter", "hello"))
	if rc.AgentID != "a1" || rc.Agent != "greeter" || rc.Duplicate || rc.ConversationID == "" {
		t.Fatalf("receipt = %+v", rc)
	}
	type answer struct {
		m   caxton.Message
		err error
	}
	got := make(chan answer)
	go func() {
		m, err := r.Await(t.Context(), rc.MessageID)
		got <- answer{m, err}
	}()
	settle(t, r, next(t, r, "a1"), "hi")
	a := <-got
	if a.err != nil || a.m.Text() != "hi" || a.m.Sender != "greeter" || a.m.InReplyTo != string(rc.MessageID) {
		t.Fatalf("Await = %+v, %v", a.m, a.err)
	}
	if m, err := r.Await(t.Context(), rc.MessageID); err != nil || m.Text() != "hi" {
		t.Errorf("Await afterwards = %+v, %v", m, err)
	}
}

func TestSendOncePerID(t *testing.T) {
	r, _, _ := newRouter(router.Config{}, helper("a1", "Greeter", "", 0))
	m := to("greeter", "hello")
	m.ID = "mine"
	first, again := send(t, r, m), send(t, r, m)
	if !again.Duplicate || again.ConversationID != first.ConversationID {
		t.Errorf("second receipt = %+v, want a duplicate of %+v", again, first)
	}
	settle(t, r, next(t, r, "a1"), "hi")
	if _, ok := r.Next(t.Context(), "a1"); ok {
		t.Error("the duplicate was delivered")
	}
	if rc := send(t, r, m); !rc.Duplicate {
		t.Error("after settling, the ID is accepted again")
	}
}

func TestSendRefuses(t *testing.T) {
	long := to("greeter", strings.Repeat("x", 2000))
	late := to("greeter", "x")
	late.ReplyBy = time.Unix(1, 0)
	both := to("greeter", "x")
	both.Capability = capability("help")
	badID := to("greeter", "x")
	badID.ID = "no spaces here"
	unknown := caxton.Message{Capability: capability("cooking"), Content: caxton.TextContent("x")}
	tests := []struct {
		name string
		m    caxton.Message
		want caxton.Kind
	}{
		{"nobody", to("", "x"), caxton.Invalid},
		{"receiver and capability", both, caxton.Invalid},
		{"no content", caxton.Message{Receiver: "greeter"}, caxton.Invalid},
		{"content that is no JSON", caxton.Message{Receiver: "greeter", Content: []byte("{")}, caxton.Invalid},
		{"unknown receiver", to("nobody", "x"), caxton.NotFound},
		{"unknown capability", unknown, caxton.NotFound},
		{"too large", long, caxton.TooLarge},
		{"deadline passed", late, caxton.Invalid},
		{"an ID with spaces", badID, caxton.Invalid},
	}
	r, _, j := newRouter(router.Config{MaxMessage: 1000}, helper("a1", "Greeter", "", 0))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := r.Send(t.Context(), tt.m)
			wantKind(t, "Send", err, tt.want)
		})
	}
	if cs, _, _ := j.Conversations(t.Context(), caxton.ConversationQuery{}); len(cs) != 0 {
		t.Errorf("refused messages left %d conversations", len(cs))
	}
	r.Close()
	_, err := r.Send(t.Context(), to("greeter", "x"))
	wantKind(t, "Send while stopping", err, caxton.Unavailable)
}

func TestQueueFull(t *testing.T) {
	r, _, _ := newRouter(router.Config{QueueSize: 2}, helper("a1", "Greeter", "", 0))
	send(t, r, to("greeter", "1"))
	send(t, r, to("greeter", "2"))
	_, err := r.Send(t.Context(), to("greeter", "3"))
	wantKind(t, "third Send", err, caxton.Exhausted)
	next(t, r, "a1")
	send(t, r, to("greeter", "3"))
}

func TestConversationInOrder(t *testing.T) {
	r, _, _ := newRouter(router.Config{}, helper("a1", "Greeter", "", 0))
	m := to("greeter", "1")
	m.ConversationID = "c"
	send(t, r, m)
	m.Content, m.Priority = caxton.TextContent("2"), caxton.MaxPriority
	send(t, r, m)
	send(t, r, to("greeter", "other"))
	first := next(t, r, "a1")
	second := next(t, r, "a1")
	if first.Message.Text() != "1" || second.Message.Text() != "other" {
		t.Fatalf("leased %s, %s, want 1, other: a conversation has one message at work", first.Message.Text(), second.Message.Text())
	}
	if _, ok := r.Next(t.Context(), "a1"); ok {
		t.Fatal("2 was leased while 1 is at work")
	}
	settle(t, r, first, "ok")
	if l := next(t, r, "a1"); l.Message.Text() != "2" {
		t.Errorf("leased %s, want 2", l.Message.Text())
	}
}

func TestPriorityFirst(t *testing.T) {
	r, _, _ := newRouter(router.Config{}, helper("a1", "Greeter", "", 0))
	for _, p := range []int{1, 9, 0, 9} {
		m := to("greeter", fmt.Sprint(p))
		m.Priority = p
		send(t, r, m)
	}
	got := ""
	for range 4 {
		l := next(t, r, "a1")
		got += l.Message.Text() + " "
	}
	if want := "9 9 0 1 "; got != want {
		t.Errorf("order %q, want %q", got, want)
	}
}

func TestReleaseComesBackFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, j := newRouter(router.Config{}, helper("a1", "Greeter", "", 0))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		for _, text := range []string{"1", "2"} {
			m := to("greeter", text)
			m.ConversationID = "c"
			send(t, r, m)
		}
		l := next(t, r, "a1")
		if err := r.Release(ctx, l, "down", time.Second); err != nil {
			t.Fatal(err)
		}
		if _, ok := r.Next(ctx, "a1"); ok {
			t.Fatal("something was leased before its time")
		}
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		again := next(t, r, "a1")
		if again.Message.Text() != "1" || again.Attempt != 2 {
			t.Errorf("leased %s, attempt %d, want 1 for the second time", again.Message.Text(), again.Attempt)
		}
		time.Sleep(time.Second)
		ds, err := j.Pending(ctx)
		if err != nil || len(ds) != 2 || ds[0].Attempt != 2 {
			t.Errorf("Pending = %+v, %v, want the second attempt recorded", ds, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestRecover(t *testing.T) {
	r, d, j := newRouter(router.Config{}, helper("a1", "Greeter", "", 0), helper("a2", "Gone", "", 0))
	one, two := send(t, r, to("greeter", "1")), send(t, r, to("gone", "2"))
	if l := next(t, r, "a1"); l.Resumed { // leased, and then the process dies
		t.Error("a new message counts as resumed")
	}
	d.remove("a2")
	r = router.New(j, d, router.Config{})
	if n, err := r.Recover(t.Context()); n != 2 || err != nil {
		t.Fatalf("Recover = %d, %v, want 2", n, err)
	}
	l := next(t, r, "a1")
	if l.Message.ID != one.MessageID {
		t.Errorf("recovered %s, want %s", l.Message.ID, one.MessageID)
	}
	if !l.Resumed || l.Attempt != 1 {
		t.Errorf("attempt %d, resumed %t: what a process left that died before its lease was recorded must be looked at", l.Attempt, l.Resumed)
	}
	if ds, _ := j.Pending(t.Context()); len(ds) != 1 || ds[0].Attempt != 1 {
		t.Errorf("Pending = %+v: the lease of a recovered message must be recorded at once", ds)
	}
	reply, err := r.Await(t.Context(), two.MessageID)
	if err != nil || reply.Performative != caxton.Failure {
		t.Errorf("the message to the removed agent got %+v, %v, want a failure", reply, err)
	}
}

func TestDrop(t *testing.T) {
	r, d, _ := newRouter(router.Config{}, helper("a1", "Greeter", "", 0))
	var ids []caxton.MessageID
	for i := range 4 {
		m := to("greeter", fmt.Sprint(i))
		m.ConversationID = caxton.ConversationID(fmt.Sprint("c", i%2))
		ids = append(ids, send(t, r, m).MessageID)
	}
	d.remove("a1")
	if err := r.Drop(t.Context(), "a1"); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if st, err := r.Status(t.Context(), id); err != nil || st.Outcome != caxton.OutcomeFailed {
			t.Errorf("Status(%s) = %+v, %v, want failed", id, st, err)
		}
	}
}

func TestStrategies(t *testing.T) {
	cook := helper("a1", "Cook", "recipes, soup and bread", 10)
	sailor := helper("a2", "Sailor", "ships, wind and harbours", 900)
	ask := func(s caxton.Strategy, text string) caxton.Message {
		return caxton.Message{Capability: capability("help"), Content: caxton.TextContent(text), Strategy: s}
	}
	t.Run("best match goes by the words", func(t *testing.T) {
		r, _, _ := newRouter(router.Config{}, cook, sailor)
		for text, want := range map[string]string{"how is the wind in the harbours": "sailor", "a recipe for soup": "cook"} {
			rc := send(t, r, ask(caxton.BestMatch, text))
			if rc.Agent != want {
				t.Errorf("%q went to %s, want %s (%+v)", text, rc.Agent, want, rc.Routing)
			}
			if len(rc.Routing.Candidates) != 2 || rc.Routing.Candidates[0].Score < rc.Routing.Candidates[1].Score {
				t.Errorf("candidates %+v, want both, best first", rc.Routing.Candidates)
			}
		}
	})
	t.Run("best match stays in the conversation", func(t *testing.T) {
		r, _, _ := newRouter(router.Config{}, cook, sailor)
		rc := send(t, r, ask(caxton.BestMatch, "soup"))
		m := ask(caxton.BestMatch, "and the wind in the harbours?")
		m.ConversationID = rc.ConversationID
		if got := send(t, r, m).Agent; got != "cook" {
			t.Errorf("went to %s, want cook", got)
		}
	})
	t.Run("round robin takes turns", func(t *testing.T) {
		r, _, _ := newRouter(router.Config{Strategy: caxton.RoundRobin}, cook, sailor)
		got := ""
		for range 4 {
			got += send(t, r, ask("", "soup")).Agent + " "
		}
		if want := "cook sailor cook sailor "; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("least loaded takes the shorter queue", func(t *testing.T) {
		r, _, _ := newRouter(router.Config{}, cook, sailor)
		send(t, r, to("cook", "1"))
		if got := send(t, r, ask(caxton.LeastLoaded, "soup")).Agent; got != "sailor" {
			t.Errorf("went to %s, want sailor", got)
		}
	})
	t.Run("priority prefers the higher", func(t *testing.T) {
		r, _, _ := newRouter(router.Config{}, cook, sailor)
		if got := send(t, r, ask(caxton.ByPriority, "soup")).Agent; got != "sailor" {
			t.Errorf("went to %s, want sailor", got)
		}
	})
	t.Run("only agents that take messages", func(t *testing.T) {
		r, _, _ := newRouter(router.Config{Available: func(id caxton.AgentID) bool { return id == "a2" }}, cook, sailor)
		if got := send(t, r, ask(caxton.BestMatch, "soup")).Agent; got != "sailor" {
			t.Errorf("went to %s, want sailor", got)
		}
	})
	t.Run("when nobody takes messages it waits with the best", func(t *testing.T) {
		r, _, _ := newRouter(router.Config{Available: func(caxton.AgentID) bool { return false }}, cook, sailor)
		if got := send(t, r, ask(caxton.BestMatch, "soup")).Agent; got != "cook" {
			t.Errorf("went to %s, want cook", got)
		}
	})
	t.Run("the choice is in the journal", func(t *testing.T) {
		r, _, _ := newRouter(router.Config{}, cook, sailor)
		rc := send(t, r, ask(caxton.BestMatch, "soup"))
		rs, err := r.Records(t.Context(), rc.ConversationID, 0, 0)
		if err != nil || len(rs) != 1 || !strings.Contains(string(rs[0].Body), `"strategy":"best_match","candidates":[{"agent_id":"a1"`) {
			t.Errorf("records %+v, %v", rs, err)
		}
	})
}

func TestConversationKeepsItsVersion(t *testing.T) {
	r, d, _ := newRouter(router.Config{}, helper("a1", "Greeter", "", 0))
	m := to("greeter", "x")
	m.ConversationID = "c"
	version := func() int {
		send(t, r, m)
		l := next(t, r, "a1")
		settle(t, r, l, "ok")
		return l.Version
	}
	if v := version(); v != 1 {
		t.Fatalf("version %d, want 1", v)
	}
	d.set("a1", 2, 0)
	if v := version(); v != 1 {
		t.Errorf("version %d after a deployment, want 1: the conversation stays", v)
	}
	d.set("a1", 3, 3)
	if v := version(); v != 3 {
		t.Errorf("version %d after conversations were told to move, want 3", v)
	}
}

func TestAwaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, _ := newRouter(router.Config{}, helper("a1", "Greeter", "", 0))
		rc := send(t, r, to("greeter", "x"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.Await(ctx, rc.MessageID)
		wantKind(t, "Await past its deadline", err, caxton.Timeout)
		gone, leave := context.WithCancel(t.Context())
		leave()
		_, err = r.Await(gone, rc.MessageID)
		wantKind(t, "Await of a caller who left", err, caxton.Canceled)
		if err := r.Settle(t.Context(), caxton.Settlement{Lease: next(t, r, "a1"), Outcome: caxton.OutcomeDone}); err != nil {
			t.Fatal(err)
		}
		_, err = r.Await(t.Context(), rc.MessageID)
		wantKind(t, "Await of a message without reply", err, caxton.NotFound)
	})
}
