package messaging_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/router"
	"github.com/caxton/caxton/internal/tool"
	"github.com/caxton/caxton/internal/tool/messaging"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A town is a directory of agents, each with a Go function that answers for it.
type town struct {
	t       *testing.T
	agents  []caxton.Agent
	router  *router.Router
	journal *memjournal.Journal
	tools   map[string]tool.Tool

	mu    sync.Mutex
	heard []string // "agent performative" of every message that reached an agent
}

// A citizen answers a message; ok is false for one who never does.
type citizen func(m caxton.Message) (reply caxton.Message, ok bool)

func (w *town) Agent(id caxton.AgentID) (caxton.Agent, error) { return w.Resolve(string(id)) }

func (w *town) Resolve(ref string) (caxton.Agent, error) {
	for _, a := range w.agents {
		if string(a.ID) == ref || a.Slug == ref {
			return a, nil
		}
	}
	return caxton.Agent{}, caxton.Errorf(caxton.NotFound, "agent_not_found", "there is no agent %s", ref)
}

func (w *town) Providers(c caxton.Capability) []caxton.Agent {
	return slices.DeleteFunc(slices.Clone(w.agents), func(a caxton.Agent) bool { return !slices.Contains(a.Definition.Capabilities, c) })
}

func (w *town) Capabilities() []caxton.Capability { return nil }

var errNoAnswer = errors.New("no answer")

// open starts the town. Each citizen works off its mailbox until the test ends.
func open(t *testing.T, citizens map[string]citizen) *town {
	t.Helper()
	w := &town{t: t, journal: memjournal.New(memjournal.Config{}), tools: map[string]tool.Tool{}}
	building, err := caxton.ParseCapability("building")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"boss"}
	for name := range citizens {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		a := caxton.Agent{ID: caxton.AgentID("id-" + name), Name: name, Slug: name, Version: 1}
		if name != "boss" {
			a.Definition.Capabilities = []caxton.Capability{building}
		}
		w.agents = append(w.agents, a)
	}
	w.router = router.New(w.journal, w, router.Config{})
	ts, err := messaging.New(w.router, messaging.Config{Hold: 50 * time.Millisecond, Look: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range ts {
		w.tools[x.Spec().Name] = x
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.router.Run(ctx) })
	for name, c := range citizens {
		wg.Go(func() { w.live(ctx, caxton.AgentID("id-"+name), c) })
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return w
}

// live works off an agent's mailbox.
func (w *town) live(ctx context.Context, id caxton.AgentID, c citizen) {
	signal := w.router.Signal(id)
	for {
		l, ok := w.router.Next(ctx, id)
		if !ok {
			select {
			case <-signal:
				continue
			case <-ctx.Done():
				return
			}
		}
		w.mu.Lock()
		w.heard = append(w.heard, fmt.Sprintf("%s %s", l.Message.ReceiverID, l.Message.Performative))
		w.mu.Unlock()
		s := caxton.Settlement{Lease: l, Outcome: caxton.OutcomeDone}
		if l.Message.Performative != caxton.RejectProposal {
			reply, ok := c(l.Message)
			if !ok { // it never answers: its turn ends with the deadline, as a supervisor would end it
				<-time.After(time.Until(l.Message.ReplyBy))
				s.Outcome, s.Error, s.Code = caxton.OutcomeFailed, errNoAnswer.Error(), "reply_by_passed"
				reply = l.Message.Reply(caxton.Failure, caxton.TextContent("late"))
			}
			s.Outputs = []caxton.Delivery{{Message: reply}}
		}
		if err := w.router.Settle(ctx, s); err != nil {
			w.t.Errorf("settle: %v", err)
		}
	}
}

// says answers every message in the same way, but an accepted proposal with the work.
func says(p caxton.Performative, content string) citizen {
	return func(m caxton.Message) (caxton.Message, bool) {
		if m.Performative == caxton.AcceptProposal {
			return m.Reply(caxton.Inform, caxton.TextContent("built")), true
		}
		return m.Reply(p, json.RawMessage(content)), true
	}
}

// call runs a tool as a turn does: again whenever it parks. It returns how often that was.
func (w *town) call(name, args string) (tool.Result, int, error) {
	w.t.Helper()
	c := tool.Call{
		ID: "call", Args: json.RawMessage(args), AgentID: "id-boss", Agent: "boss", Key: "key",
		Message: caxton.Message{ID: "m0", ConversationID: "outer"},
	}
	for parked := 0; ; parked++ {
		res, err := w.tools[name].Call(w.t.Context(), c)
		p, ok := errors.AsType[*caxton.Parked](err)
		if !ok {
			return res, parked, err
		}
		if parked > 100 {
			w.t.Fatalf("parked for ever: %s", p.Reason)
		}
	}
}

func (w *town) count(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, h := range w.heard {
		if strings.HasSuffix(h, " "+what) {
			n++
		}
	}
	return n
}

// until waits until so many messages of a performative have reached agents.
func (w *town) until(what string, n int) {
	w.t.Helper()
	deadline := time.After(5 * time.Second)
	for w.count(what) < n {
		select {
		case <-deadline:
			w.t.Fatalf("%d agents heard %s, want %d", w.count(what), what, n)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestSendMessage(t *testing.T) {
	w := open(t, map[string]citizen{"ann": says(caxton.Inform, `"hello boss"`), "bob": says(caxton.Refuse, `{"why":"busy"}`)})
	res, _, err := w.call("send_message", `{"to":"ann","content":{"x":1}}`)
	if err != nil || !strings.HasPrefix(res.Text, "ann: hello boss\n[conversation ") {
		t.Fatalf("%q, %v", res.Text, err)
	}
	var out struct {
		ConversationID caxton.ConversationID `json:"conversation_id"`
	}
	if err := json.Unmarshal(res.Data, &out); err != nil {
		t.Fatal(err)
	}
	ms, err := w.journal.Messages(t.Context(), out.ConversationID)
	if err != nil || len(ms) != 2 || ms[0].Parent != "outer" || ms[0].Root != "outer" || ms[0].Depth != 1 || ms[0].SenderID != "id-boss" || string(ms[0].Content) != `{"x":1}` {
		t.Errorf("messages %+v, %v", ms, err)
	}
	again, _, err := w.call("send_message", `{"to":"ann","content":{"x":1}}`)
	if err != nil || again.Text != res.Text || w.count("request") != 1 {
		t.Errorf("the same call again: %q, %v, heard %d times", again.Text, err, w.count("request"))
	}
	w.call2(t, `{"capability":"building","everyone":true,"content":"all"}`, "ann: hello boss\nbob (refuse): {\"why\":\"busy\"}\n")
	w.call2(t, `{"to":"ann","content":"x","wait":false}`, "ann: sent as message")
	for args, want := range map[string]caxton.Kind{
		`{"content":"x"}`:                                        caxton.Invalid,
		`{"to":"nobody","content":"x"}`:                          caxton.NotFound,
		`{"to":"ann","content":"x","performative":"shout"}`:      caxton.Invalid,
		`{"to":"ann","content":"x","timeout":"soon"}`:            caxton.Invalid,
		`{"to":"ann","content":"x","everyone":true}`:             caxton.Invalid,
		`{"to":"ann","capability":"building","content":"x"}`:     caxton.Invalid,
		`{"capability":"Not A Capability","content":"x"}`:        caxton.Invalid,
		`{"capability":"sailing","everyone":true,"content":"x"}`: caxton.NotFound,
	} {
		if _, err := w.tools["send_message"].Call(t.Context(), tool.Call{Args: json.RawMessage(args), Agent: "boss", AgentID: "id-boss", Key: args}); caxton.KindOf(err) != want {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}

// call2 runs send_message under a key of its own.
func (w *town) call2(t *testing.T, args, want string) {
	t.Helper()
	res, err := w.tools["send_message"].Call(t.Context(), tool.Call{Args: json.RawMessage(args), Agent: "boss", AgentID: "id-boss", Key: args, Message: caxton.Message{ConversationID: "outer"}})
	if err != nil || !strings.HasPrefix(res.Text, want) {
		t.Errorf("%s: %q, %v, want %q", args, res.Text, err, want)
	}
}

// A slow answer parks the turn, and does not send the question again.
func TestSendMessageParks(t *testing.T) {
	release := make(chan struct{})
	w := open(t, map[string]citizen{"ann": func(m caxton.Message) (caxton.Message, bool) {
		<-release
		return m.Reply(caxton.Inform, caxton.TextContent("at last")), true
	}})
	_, err := w.tools["send_message"].Call(t.Context(), tool.Call{Args: json.RawMessage(`{"to":"ann","content":"x"}`), Agent: "boss", AgentID: "id-boss", Key: "key", Message: caxton.Message{ConversationID: "outer"}})
	p, ok := errors.AsType[*caxton.Parked](err)
	if !ok || len(p.Settles) != 1 || p.Ticket || !strings.Contains(p.Reason, "ann") {
		t.Fatalf("%v, want the turn parked", err)
	}
	close(release)
	res, _, err := w.call("send_message", `{"to":"ann","content":"x"}`)
	if err != nil || !strings.HasPrefix(res.Text, "ann: at last") || w.count("request") != 1 {
		t.Errorf("%q, %v, heard %d times", res.Text, err, w.count("request"))
	}
}

// Twenty bidders, of whom one lies about what it does, one is late, and one is dead.
func TestContractNet(t *testing.T) {
	citizens := map[string]citizen{}
	for i := range 17 {
		citizens[fmt.Sprintf("bidder-%02d", i)] = says(caxton.Propose, fmt.Sprintf(`{"price":%d}`, 100-i))
	}
	citizens["liar"] = says(caxton.Inform, `"I have done it already"`) // without having been asked to
	citizens["dead"] = func(caxton.Message) (caxton.Message, bool) { return caxton.Message{}, false }
	citizens["late"] = func(m caxton.Message) (caxton.Message, bool) {
		<-time.After(time.Until(m.ReplyBy) + 50*time.Millisecond)
		return m.Reply(caxton.Propose, json.RawMessage(`{"price":1}`)), true
	}
	w := open(t, citizens)
	args := `{"capability":"building","task":"a house","deadline":"700ms","field":"price"}`
	res, parked, err := w.call("contract_net", args)
	if err != nil || !strings.HasPrefix(res.Text, "bidder-16 won (inform): built\n") {
		t.Fatalf("%q, %v", res.Text, err)
	}
	for _, want := range []string{`- liar: `, `- dead: `, `- late: `} {
		i := strings.Index(res.Text, want)
		if line, _, _ := strings.Cut(res.Text[max(i, 0):], "\n"); i < 0 || !strings.HasSuffix(line, "]") {
			t.Errorf("%q in %s", want, res.Text)
		}
	}
	if strings.Contains(res.Text, "already") {
		t.Errorf("the liar's word was taken: %s", res.Text)
	}
	if parked == 0 {
		t.Error("the call held its worker all the time")
	}
	w.until("reject-proposal", 16)
	if again, _, err := w.call("contract_net", args); err != nil || !strings.HasPrefix(again.Text, "bidder-16 won (inform): built\n") {
		t.Errorf("the same call again: %q, %v", again.Text, err)
	}
	if got := [3]int{w.count("cfp"), w.count("accept-proposal"), w.count("reject-proposal")}; got != [3]int{20, 1, 16} {
		t.Errorf("cfp, accept, reject reached %v agents, want 20, 1 and 16", got)
	}
}

func TestContractNetWithoutWinner(t *testing.T) {
	w := open(t, map[string]citizen{
		"refuser": says(caxton.Refuse, `"no"`), "dear": says(caxton.Propose, `{"price":1000}`), "vague": says(caxton.Propose, `"cheap!"`),
	})
	res, _, err := w.call("contract_net", `{"capability":"building","task":"a house","deadline":"1s","field":"price","limit":50}`)
	if err != nil || !strings.HasPrefix(res.Text, "Nobody made a proposal") || w.count("accept-proposal") != 0 {
		t.Errorf("%q, %v", res.Text, err)
	}
	w.until("reject-proposal", 2)
}
