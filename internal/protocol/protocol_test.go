package protocol_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/protocol"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// act returns a message of name from side: ann is the initiator, ben the participant.
func act(name protocol.Name, side protocol.Side, p caxton.Performative) caxton.Message {
	m := caxton.Message{
		Protocol: string(name), Performative: p, Content: caxton.TextContent("x"),
		Sender: "ann", SenderID: "a-1", Receiver: "Ben", ReceiverID: "b-1",
	}
	if side == protocol.Participant {
		m.Sender, m.SenderID, m.Receiver, m.ReceiverID = "ben", "b-1", "ann", "a-1"
	}
	return m
}

// walk returns the exchange after steps, written "i:cfp p:propose".
func walk(t *testing.T, name protocol.Name, steps string) protocol.Exchange {
	t.Helper()
	var e protocol.Exchange
	for n, step := range strings.Fields(steps) {
		side, p, _ := strings.Cut(step, ":")
		m := act(name, sideOf(side), caxton.Performative(p))
		m.ID = caxton.MessageID(fmt.Sprintf("%s-%d", p, n))
		at := noon
		if word, ok := strings.CutSuffix(p, "!"); ok { // after the deadline
			m.Performative = caxton.Performative(word)
			at = noon.Add(2 * time.Hour)
		}
		var err error
		if n == 0 {
			m.ReplyBy = noon.Add(time.Hour)
			e, err = protocol.Begin(&m)
		} else {
			e, err = e.Next(&m, at)
		}
		if err != nil && at.Equal(noon) {
			t.Fatalf("%s: %s: %v", steps, step, err)
		}
	}
	return e
}

func sideOf(s string) protocol.Side {
	if s == "i" {
		return protocol.Initiator
	}
	return protocol.Participant
}

// rules says of each way an exchange can stand what each side may say and where it leads. It
// is written down from the specifications, one line a state, and not derived from the code.
var rules = []struct {
	name        protocol.Name
	steps       string // how to get there
	state       protocol.State
	initiator   string
	participant string
}{
	{
		"fipa-request", "i:request", "opened", "cancel>cancelling",
		"agree>agreed refuse>refused inform>done failure>failed not-understood>not_understood",
	},
	{
		"fipa-request", "i:request p:agree", "agreed", "cancel>cancelling not-understood>not_understood",
		"inform>done failure>failed not-understood>not_understood",
	},
	{
		"fipa-request", "i:request i:cancel", "cancelling", "",
		"inform>cancelled failure>failed not-understood>not_understood agree>cancelling refuse>refused",
	},
	{
		"fipa-request", "i:request i:cancel p:agree", "cancelling", "",
		"inform>cancelled failure>failed not-understood>not_understood",
	},
	{
		"fipa-request", "i:request p:agree i:cancel", "cancelling", "",
		"inform>cancelled failure>failed not-understood>not_understood",
	},
	{
		"fipa-request", "i:request i:cancel p:refuse", "refused", "",
		"inform>refused failure>refused not-understood>refused",
	},
	{"fipa-request", "i:request i:cancel p:refuse p:inform", "refused", "", ""},
	{"fipa-request", "i:request p:inform", "done", "", ""},
	{"fipa-request", "i:request p:agree p:inform", "done", "", ""},
	{"fipa-request", "i:request p:refuse", "refused", "", ""},
	{"fipa-request", "i:request p:agree p:failure", "failed", "", ""},
	{"fipa-request", "i:request p:not-understood", "not_understood", "", ""},
	{"fipa-request", "i:request p:agree i:not-understood", "not_understood", "", ""},
	{"fipa-request", "i:request i:cancel p:inform", "cancelled", "", ""},
	{"fipa-request", "i:request i:cancel p:failure", "failed", "", ""},

	{
		"fipa-query", "i:query", "opened", "cancel>cancelling",
		"agree>agreed refuse>refused inform>done failure>failed not-understood>not_understood",
	},
	{
		"fipa-query", "i:query-if", "opened", "cancel>cancelling",
		"agree>agreed refuse>refused inform>done failure>failed not-understood>not_understood",
	},
	{
		"fipa-query", "i:query-ref p:agree", "agreed", "cancel>cancelling not-understood>not_understood",
		"inform>done failure>failed not-understood>not_understood",
	},
	{
		"fipa-query", "i:query-ref i:cancel", "cancelling", "",
		"inform>cancelled failure>failed not-understood>not_understood agree>cancelling refuse>refused",
	},
	{
		"fipa-query", "i:query-ref p:agree i:cancel", "cancelling", "",
		"inform>cancelled failure>failed not-understood>not_understood",
	},
	{"fipa-query", "i:query p:inform", "done", "", ""},
	{"fipa-query", "i:query p:refuse", "refused", "", ""},
	{"fipa-query", "i:query p:failure", "failed", "", ""},
	{"fipa-query", "i:query p:not-understood", "not_understood", "", ""},
	{"fipa-query", "i:query i:cancel p:inform", "cancelled", "", ""},

	{
		"fipa-contract-net", "i:cfp", "opened", "cancel>cancelling",
		"propose>proposed refuse>refused not-understood>not_understood",
	},
	{
		"fipa-contract-net", "i:cfp p:propose", "proposed",
		"accept-proposal>accepted reject-proposal>rejected cancel>cancelling not-understood>not_understood",
		"not-understood>not_understood",
	},
	{
		"fipa-contract-net", "i:cfp p:propose!", "late",
		"reject-proposal>rejected cancel>cancelling not-understood>not_understood", "not-understood>not_understood",
	},
	{
		"fipa-contract-net", "i:cfp p:propose i:accept-proposal", "accepted", "cancel>cancelling not-understood>not_understood",
		"inform>done failure>failed not-understood>not_understood",
	},
	{
		"fipa-contract-net", "i:cfp i:cancel", "cancelling", "",
		"inform>cancelled failure>failed not-understood>not_understood propose>cancelling refuse>refused",
	},
	{
		"fipa-contract-net", "i:cfp i:cancel p:propose", "cancelling", "",
		"inform>cancelled failure>failed not-understood>not_understood",
	},
	{
		"fipa-contract-net", "i:cfp p:propose i:cancel", "cancelling", "",
		"inform>cancelled failure>failed not-understood>not_understood",
	},
	{
		"fipa-contract-net", "i:cfp p:propose! i:cancel", "cancelling", "",
		"inform>cancelled failure>failed not-understood>not_understood",
	},
	{
		"fipa-contract-net", "i:cfp p:propose i:accept-proposal i:cancel", "cancelling", "",
		"inform>cancelled failure>failed not-understood>not_understood",
	},
	{"fipa-contract-net", "i:cfp p:refuse", "refused", "", ""},
	{"fipa-contract-net", "i:cfp p:propose i:reject-proposal", "rejected", "", ""},
	{"fipa-contract-net", "i:cfp p:propose! i:reject-proposal", "rejected", "", ""},
	{"fipa-contract-net", "i:cfp p:propose i:accept-proposal p:inform", "done", "", ""},
	{"fipa-contract-net", "i:cfp p:propose i:accept-proposal p:failure", "failed", "", ""},
	{"fipa-contract-net", "i:cfp p:propose i:not-understood", "not_understood", "", ""},
	{"fipa-contract-net", "i:cfp p:propose i:cancel p:inform", "cancelled", "", ""},

	{
		"fipa-subscribe", "i:subscribe", "opened", "cancel>cancelling",
		"agree>agreed refuse>refused inform>agreed failure>failed not-understood>not_understood",
	},
	{
		"fipa-subscribe", "i:subscribe p:agree", "agreed", "cancel>cancelling not-understood>not_understood",
		"inform>agreed failure>failed not-understood>not_understood",
	},
	{
		"fipa-subscribe", "i:subscribe p:inform p:inform", "agreed", "cancel>cancelling not-understood>not_understood",
		"inform>agreed failure>failed not-understood>not_understood",
	},
	{
		"fipa-subscribe", "i:subscribe i:cancel", "cancelling", "",
		"inform>cancelled failure>failed not-understood>not_understood agree>cancelling refuse>refused",
	},
	{
		"fipa-subscribe", "i:subscribe p:agree p:inform i:cancel", "cancelling", "",
		"inform>cancelled failure>failed not-understood>not_understood",
	},
	{"fipa-subscribe", "i:subscribe p:refuse", "refused", "", ""},
	{"fipa-subscribe", "i:subscribe p:inform p:failure", "failed", "", ""},
	{"fipa-subscribe", "i:subscribe p:not-understood", "not_understood", "", ""},
	{"fipa-subscribe", "i:subscribe p:inform i:cancel p:inform", "cancelled", "", ""},
	{"fipa-subscribe", "i:subscribe p:inform i:cancel p:failure", "failed", "", ""},
}

// TestSteps tries every performative of each side in each state of each protocol.
func TestSteps(t *testing.T) {
	for _, r := range rules {
		t.Run(string(r.name)+" "+r.steps, func(t *testing.T) {
			e := walk(t, r.name, r.steps)
			if e.State != r.state {
				t.Fatalf("state after %q = %s, want %s", r.steps, e.State, r.state)
			}
			final := r.initiator == "" && r.state != protocol.Cancelling
			if e.Done() != final || e.State.Final() != final {
				t.Errorf("Done() = %t, want %t", e.Done(), final)
			}
			for _, side := range []protocol.Side{protocol.Initiator, protocol.Participant} {
				want := map[caxton.Performative]protocol.State{}
				for rule := range strings.FieldsSeq(map[protocol.Side]string{
					protocol.Initiator: r.initiator, protocol.Participant: r.participant,
				}[side]) {
					p, to, _ := strings.Cut(rule, ">")
					want[caxton.Performative(p)] = protocol.State(to)
				}
				legal := e.Legal(side)
				if len(legal) != len(want) {
					t.Errorf("Legal(%s) = %v, want %d", side, legal, len(want))
				}
				for _, p := range caxton.Performatives() {
					m := act(r.name, side, p)
					m.ID = "m-next"
					after, err := e.Next(&m, noon)
					to, ok := want[p]
					if slices.Contains(legal, p) != ok {
						t.Errorf("Legal(%s) = %v; %s: want %t", side, legal, p, ok)
					}
					if ok {
						if err != nil || after.State != to {
							t.Errorf("%s: Next(%s) = %s, %v, want %s", side, p, after.State, err, to)
						}
						continue
					}
					ce, is := errors.AsType[*caxton.Error](err)
					if !is || ce.Kind != caxton.Invalid || ce.Code != "protocol_violation" || ce.Hint == "" {
						t.Errorf("%s: Next(%s) = %v, want an Invalid protocol_violation with a hint", side, p, err)
					}
					if after != e {
						t.Errorf("%s: Next(%s) changed the exchange: %s", side, p, cmp.Diff(e, after))
					}
				}
			}
		})
	}
}

// TestRulesComplete holds the table above to every state that a protocol can reach.
func TestRulesComplete(t *testing.T) {
	covered := map[string]bool{}
	for _, r := range rules {
		covered[string(r.name)+" "+string(r.state)] = true
	}
	for _, n := range protocol.Names() {
		for _, s := range protocol.States() {
			reachable := true
			switch s {
			case protocol.Proposed, protocol.Late, protocol.Accepted, protocol.Rejected:
				reachable = n == protocol.ContractNet
			case protocol.Agreed:
				reachable = n != protocol.ContractNet
			case protocol.Done:
				reachable = n != protocol.Subscribe
			case protocol.Opened, protocol.Cancelling, protocol.Refused, protocol.Failed, protocol.Cancelled, protocol.NotUnderstood:
			}
			if key := string(n) + " " + string(s); covered[key] != reachable {
				t.Errorf("rules cover %s: %t, want %t", key, covered[key], reachable)
			}
		}
	}
}

func TestBegin(t *testing.T) {
	for _, n := range protocol.Names() {
		for _, p := range caxton.Performatives() {
			m := act(n, protocol.Initiator, p)
			m.ID, m.ReplyWith, m.ReplyBy = "m-1", "q1", noon.In(time.FixedZone("", 3600))
			e, err := protocol.Begin(&m)
			if !slices.Contains(n.Opening(), p) {
				if kind := caxton.KindOf(err); kind != caxton.Invalid {
					t.Errorf("Begin(%s, %s) = %v, want Invalid", n, p, err)
				}
				continue
			}
			want := protocol.Exchange{
				Protocol:    n,
				Initiator:   protocol.Party{ID: "a-1", Name: "ann"},
				Participant: protocol.Party{ID: "b-1", Name: "Ben"},
				State:       protocol.Opened, ReplyBy: noon, Acts: 1,
				Opening: protocol.Ref{ID: "m-1", ReplyWith: "q1"}, Asked: protocol.Ref{ID: "m-1", ReplyWith: "q1"},
			}
			if err != nil || e != want {
				t.Errorf("Begin(%s, %s): %v\n%s", n, p, err, cmp.Diff(want, e))
			}
		}
	}
	m := act("fipa-propose", protocol.Initiator, caxton.Propose)
	_, err := protocol.Begin(&m)
	if ce, ok := errors.AsType[*caxton.Error](err); !ok || ce.Code != "protocol_unknown" {
		t.Errorf("Begin(fipa-propose) = %v, want protocol_unknown", err)
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		in   string
		want protocol.Name
		ok   bool
	}{
		{"fipa-request", "fipa-request", true},
		{"request", "fipa-request", true},
		{"FIPA_Request", "fipa-request", true},
		{"Fipa-Contract_Net", "fipa-contract-net", true},
		{"contract_net", "fipa-contract-net", true},
		{"QUERY", "fipa-query", true},
		{"subscribe", "fipa-subscribe", true},
		{" fipa-subscribe ", "fipa-subscribe", true},
		{"", "", false},
		{"fipa-", "", false},
		{"fipa-fipa-request", "", false},
		{"fipa-propose", "", false},
		{"caxton-v1", "", false},
	}
	for _, tt := range tests {
		got, ok := protocol.Parse(tt.in)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("Parse(%q) = %q, %t, want %q, %t", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func TestLateProposal(t *testing.T) {
	e := walk(t, "fipa-contract-net", "i:cfp")
	m := act("fipa-contract-net", protocol.Participant, caxton.Propose)
	tests := []struct {
		name string
		at   time.Time
		want protocol.State
	}{
		{"at the deadline", e.ReplyBy, protocol.Proposed},
		{"after it", e.ReplyBy.Add(1), protocol.Late},
		{"at no time", time.Time{}, protocol.Proposed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			after, err := e.Next(&m, tt.at)
			if after.State != tt.want {
				t.Errorf("state = %s, want %s", after.State, tt.want)
			}
			ce, _ := errors.AsType[*caxton.Error](err)
			if late := ce != nil && ce.Kind == caxton.Invalid && ce.Code == "protocol_late"; late != (tt.want == protocol.Late) {
				t.Errorf("error = %v", err)
			}
		})
	}
	t.Run("no deadline", func(t *testing.T) {
		open := e
		open.ReplyBy = time.Time{}
		if after, err := open.Next(&m, noon.AddDate(9, 0, 0)); err != nil || after.State != protocol.Proposed {
			t.Errorf("Next = %s, %v, want proposed", after.State, err)
		}
	})
	t.Run("other answers are not late", func(t *testing.T) {
		m := act("fipa-contract-net", protocol.Participant, caxton.Refuse)
		if after, err := e.Next(&m, e.ReplyBy.Add(time.Hour)); err != nil || after.State != protocol.Refused {
			t.Errorf("Next = %s, %v, want refused", after.State, err)
		}
	})
}

// TestCrossing: what the participant said before it saw the cancel counts as it would have
// without it, and the cancel can still be answered.
func TestCrossing(t *testing.T) {
	answer := func(name protocol.Name, p caxton.Performative, to string) *caxton.Message {
		m := act(name, protocol.Participant, p)
		m.InReplyTo = to
		return &m
	}
	t.Run("the result of a request", func(t *testing.T) {
		e := walk(t, "fipa-request", "i:request i:cancel")
		e, err := e.Next(answer("fipa-request", caxton.Inform, "request-0"), noon)
		if err != nil || e.State != protocol.Done {
			t.Fatalf("the result: %s, %v, want done", e.State, err)
		}
		e, err = e.Next(answer("fipa-request", caxton.Inform, "cancel-1"), noon)
		if err != nil || e.State != protocol.Done {
			t.Fatalf("the answer to the cancel: %s, %v, want done", e.State, err)
		}
		if _, err = e.Next(answer("fipa-request", caxton.Inform, "cancel-1"), noon); err == nil {
			t.Error("the cancel was answered twice")
		}
	})
	t.Run("an inform of a subscription", func(t *testing.T) {
		e := walk(t, "fipa-subscribe", "i:subscribe p:agree i:cancel")
		for range 3 {
			var err error
			if e, err = e.Next(answer("fipa-subscribe", caxton.Inform, "subscribe-0"), noon); err != nil || e.State != protocol.Cancelling {
				t.Fatalf("an inform on its way: %s, %v, want cancelling", e.State, err)
			}
		}
		e, err := e.Next(answer("fipa-subscribe", caxton.Inform, "cancel-2"), noon)
		if err != nil || e.State != protocol.Cancelled || e.Informs != 4 || e.Acts != 7 {
			t.Errorf("the answer: %+v, %v, want cancelled", e, err)
		}
	})
	t.Run("a proposal", func(t *testing.T) {
		e := walk(t, "fipa-contract-net", "i:cfp i:cancel")
		e, err := e.Next(answer("fipa-contract-net", caxton.Propose, "cfp-0"), noon)
		if err != nil || e.State != protocol.Cancelling || e.Before != protocol.Proposed {
			t.Errorf("a proposal on its way: %+v, %v", e, err)
		}
	})
	t.Run("a late proposal", func(t *testing.T) {
		e := walk(t, "fipa-contract-net", "i:cfp i:cancel")
		e, err := e.Next(answer("fipa-contract-net", caxton.Propose, "cfp-0"), noon.AddDate(1, 0, 0))
		if err == nil || e.State != protocol.Cancelling || e.Before != protocol.Late {
			t.Errorf("a late proposal on its way: %+v, %v", e, err)
		}
	})
}

func TestGiveUp(t *testing.T) {
	tests := []struct {
		name  protocol.Name
		steps string
		want  caxton.Performative
	}{
		{"fipa-request", "i:request", caxton.Failure},
		{"fipa-request", "i:request p:agree", caxton.Failure},
		{"fipa-contract-net", "i:cfp", caxton.Refuse},
		{"fipa-contract-net", "i:cfp p:propose", caxton.NotUnderstood},
		{"fipa-contract-net", "i:cfp p:propose i:accept-proposal", caxton.Failure},
		{"fipa-subscribe", "i:subscribe", caxton.Failure},
		{"fipa-query", "i:query p:inform", ""},
	}
	for _, tt := range tests {
		if got := walk(t, tt.name, tt.steps).GiveUp(); got != tt.want {
			t.Errorf("%s: GiveUp() = %q, want %q", tt.steps, got, tt.want)
		}
	}
}

// TestParties: who takes part is known by ID where both sides have one, else by name.
func TestParties(t *testing.T) {
	party := func(id, name string) protocol.Party {
		return protocol.Party{ID: caxton.AgentID(id), Name: name}
	}
	tests := []struct {
		name        string
		participant protocol.Party // as the opening act addressed it
		sender      protocol.Party // as the answer names itself
		ok          bool
	}{
		{"same ID, other spelling", party("b-1", "Ben the Agent"), party("b-1", "ben"), true},
		{"other ID, same name", party("b-1", "ben"), party("b-2", "ben"), false},
		{"outside, same name", party("", "ben"), party("", "ben"), true},
		{"outside, other name", party("", "ben"), party("", "bob"), false},
		{"addressed by ID", party("", "b-1"), party("b-1", "ben"), true},
		{"ID not filled in yet", party("b-1", "ben"), party("", "ben"), true},
		{"an agent is not the nameless caller", party("b-1", "ben"), party("", ""), false},
		{"nameless on both sides", party("", ""), party("", ""), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := act("fipa-request", protocol.Initiator, caxton.Request)
			m.Receiver, m.ReceiverID = tt.participant.Name, tt.participant.ID
			e, err := protocol.Begin(&m)
			if err != nil {
				t.Fatal(err)
			}
			a := act("fipa-request", protocol.Participant, caxton.Inform)
			a.Sender, a.SenderID = tt.sender.Name, tt.sender.ID
			if _, err = e.Next(&a, noon); (err == nil) != tt.ok {
				t.Errorf("Next = %v, want legal %t", err, tt.ok)
			}
		})
	}
	t.Run("with itself", func(t *testing.T) {
		self := func(p caxton.Performative) *caxton.Message {
			return &caxton.Message{Protocol: "request", Performative: p, SenderID: "a-1", ReceiverID: "a-1"}
		}
		e, err := protocol.Begin(self(caxton.Request))
		for _, p := range []caxton.Performative{caxton.Agree, caxton.Cancel, caxton.Inform} {
			if err == nil {
				e, err = e.Next(self(p), noon)
			}
		}
		if err != nil || e.State != protocol.Cancelled {
			t.Errorf("state = %s, %v, want cancelled", e.State, err)
		}
	})
}

// TestErrorSays: the error tells who may say what now.
func TestErrorSays(t *testing.T) {
	tests := []struct {
		name          protocol.Name
		steps         string
		side          protocol.Side
		act           caxton.Performative
		message, hint string
	}{
		{
			"fipa-contract-net", "i:cfp p:propose", protocol.Participant, caxton.Inform,
			"ben may not say inform to ann in this fipa-contract-net, which is proposed",
			"now Ben may say not-understood; ann may say accept-proposal, reject-proposal, cancel or not-understood",
		},
		{
			"fipa-request", "i:request p:inform", protocol.Initiator, caxton.Cancel,
			"ann may not say cancel to Ben in this fipa-request, which is done",
			"nothing more can be said in it; open a new one with request",
		},
	}
	for _, tt := range tests {
		m := act(tt.name, tt.side, tt.act)
		_, err := walk(t, tt.name, tt.steps).Next(&m, noon)
		ce, ok := errors.AsType[*caxton.Error](err)
		if !ok || ce.Message != tt.message || ce.Hint != tt.hint {
			t.Errorf("error = %q, hint %q", ce.Message, ce.Hint)
		}
	}
}

// TestJSON: an exchange is plain data and survives being stored.
func TestJSON(t *testing.T) {
	for _, r := range rules {
		e := walk(t, r.name, r.steps)
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var got protocol.Exchange
		if err := json.Unmarshal(b, &got); err != nil || got != e {
			t.Errorf("%s: %v\n%s", r.steps, err, cmp.Diff(e, got))
		}
	}
}
