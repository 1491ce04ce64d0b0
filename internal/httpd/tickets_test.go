package httpd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/httpd"
)

// ask calls the server, wants the status, and reads the answer.
func ask[T any](t *testing.T, s *httpd.Server, method, path, body string, status int) T {
	t.Helper()
	w := call(s, method, path, body)
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != status {
		t.Fatalf("%s %s %s = %d %s (%v), want %d", method, path, body, w.Code, w.Body, err, status)
	}
	return v
}

// sent sends a message to the agent and leases it.
func sent(t *testing.T, h *house, id, conv string) caxton.Lease {
	t.Helper()
	if _, err := h.Send(t.Context(), caxton.Message{
		ID: caxton.MessageID(id), ConversationID: caxton.ConversationID(conv), Sender: "user", Receiver: "greeter", Content: caxton.TextContent("hi"),
	}); err != nil {
		t.Fatal(err)
	}
	l, ok := h.Next(t.Context(), "a1")
	if !ok || l.Message.ID != caxton.MessageID(id) {
		t.Fatalf("Next = %v, %t; want %s", l.Message.ID, ok, id)
	}
	return l
}

// given gives a message up.
func givenUp(t *testing.T, h *house, id, code string) {
	t.Helper()
	l := sent(t, h, id, "c-"+id)
	if err := h.Settle(t.Context(), caxton.Settlement{Lease: l, Outcome: caxton.OutcomeFailed, Error: "no luck", Code: code}); err != nil {
		t.Fatal(err)
	}
}

func ref(call, tool string) *caxton.ToolCallRef {
	return &caxton.ToolCallRef{CallID: call, Tool: tool, Arguments: json.RawMessage(`{"a":1}`), ArgsHash: "h-" + call, Key: "k-" + call}
}

// asked parks a message that waits for an approval.
func asked(t *testing.T, h *house, l caxton.Lease, id string, p caxton.ApprovalPolicy) {
	t.Helper()
	m := &l.Message
	now := time.Now()
	tk := caxton.Ticket{
		Kind: caxton.Approval, ID: id, State: caxton.ApprovalPending, ConversationID: m.ConversationID, MessageID: m.ID, AgentID: "a1", Agent: "greeter",
		OpenedAt: now, ExpiresAt: now.Add(time.Hour), Call: ref("call-"+id, "http_client"), Policy: p,
	}
	if err := h.journal.Open(t.Context(), []caxton.Ticket{tk}, record(t, m, caxton.RecordApprovalAsked, caxton.ApprovalAskedBody{Ticket: tk})); err != nil {
		t.Fatal(err)
	}
	if err := h.Park(t.Context(), l, caxton.Parked{Until: now.Add(time.Hour), Reason: "1 of 1 approvals are open", Ticket: true}); err != nil {
		t.Fatal(err)
	}
}

func record(t *testing.T, m *caxton.Message, kind caxton.RecordKind, body any) caxton.Record {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return caxton.Record{ConversationID: m.ConversationID, At: time.Now(), Kind: kind, MessageID: m.ID, AgentID: "a1", Body: b}
}

// lost settles a message with a tool call of unknown outcome.
func lost(t *testing.T, h *house, id string) {
	t.Helper()
	l := sent(t, h, id, "c-"+id)
	c := ref("call-"+id, "http_client")
	b := caxton.ToolIntendedBody{CallID: c.CallID, Tool: c.Tool, Arguments: c.Arguments, ArgsHash: c.ArgsHash, Key: c.Key}
	if err := h.journal.Append(t.Context(), record(t, &l.Message, caxton.RecordToolIntended, b)); err != nil {
		t.Fatal(err)
	}
	if err := h.Settle(t.Context(), caxton.Settlement{Lease: l, Outcome: caxton.OutcomeUnknown, Error: "who knows", Code: "effect_unknown", Tickets: []caxton.Ticket{{
		Kind: caxton.Effect, ID: c.Key, State: caxton.EffectUnknown, ConversationID: l.Message.ConversationID, MessageID: l.Message.ID, AgentID: "a1",
		Agent: "greeter", OpenedAt: time.Now(), Call: c,
	}}}); err != nil {
		t.Fatal(err)
	}
}

func ids(ts []api.Ticket) []string {
	out := []string{}
	for _, t := range ts {
		out = append(out, t.ID+" "+t.State)
	}
	return out
}

func TestApprovals(t *testing.T) {
	s, h, _ := newServer(t, httpd.Config{})
	asked(t, h, sent(t, h, "m1", "c1"), "t1", caxton.ApprovalPolicy{Need: 2, Approvers: []string{"ann", "bob", "eve"}, Expires: time.Hour})
	asked(t, h, sent(t, h, "m2", "c2"), "t2", caxton.ApprovalPolicy{})

	m := ask[api.MessageStatus](t, s, "GET", "/api/v1/messages/m1", "", 200)
	if m.Status != "pending" || m.State != "parked" || m.Attempts != 1 || m.Waits == "" || m.NotBefore == nil || !slices.Equal(m.Tickets, []string{"t1"}) {
		t.Errorf("parked message: %+v", m)
	}
	c := ask[api.Conversation](t, s, "GET", "/api/v1/conversations/c1", "", 200)
	if c.Status != "active" || len(c.Tickets) != 1 || c.Tickets[0].ID != "t1" {
		t.Errorf("conversation: %+v", c)
	}
	if st := ask[api.Status](t, s, "GET", "/api/v1/status", "", 200); st.Tickets["approval"] != 2 || st.Tickets["effect"] != 0 || st.Tickets["dead_letter"] != 0 || len(st.Tickets) != 3 {
		t.Errorf("status: %v", st.Tickets)
	}
	one := ask[api.Ticket](t, s, "GET", "/api/v1/approvals/t1", "", 200)
	want := &api.ApprovalPolicy{Need: 2, Approvers: []string{"ann", "bob", "eve"}, Expires: "1h"}
	if diff := cmp.Diff(want, one.Policy); diff != "" || one.Call == nil || one.Call.Tool != "http_client" || !one.Open || one.ExpiresAt == nil || one.ClosedAt != nil {
		t.Errorf("approval: %+v %s", one, diff)
	}

	one = ask[api.Ticket](t, s, "POST", "/api/v1/approvals/t1/approve", `{"by": "ann", "reason": "fine"}`, 200)
	if one.State != "pending" || len(one.Decisions) != 1 || one.Decisions[0].By != "ann" || one.Decisions[0].Reason != "fine" {
		t.Errorf("after one of two: %+v", one)
	}
	if m := ask[api.MessageStatus](t, s, "GET", "/api/v1/messages/m1", "", 200); m.State != "parked" {
		t.Errorf("after one of two the message is %s", m.State)
	}
	for _, tt := range []struct {
		path, body string
		status     int
		code       string
	}{
		{"t1/approve", `{"by": "ann"}`, 409, "decided_already"},
		{"t1/approve", `{"by": "mallory"}`, 403, "not_an_approver"},
		{"t1/approve", "", 403, "not_an_approver"},
		{"t9/approve", `{"by": "ann"}`, 404, "approval_not_found"},
		{"t1/deny", `{"by": 5}`, 422, "request_invalid"},
		{"t1/deny", `{"who": "ann"}`, 422, "request_invalid"},
		{"t1/deny", `[]`, 422, "request_invalid"},
		{"t1/deny", `{`, 400, "request_malformed"},
		{"t1/deny", `{"by": "` + strings.Repeat("a", 101) + `"}`, 422, "request_invalid"},
	} {
		w := call(s, "POST", "/api/v1/approvals/"+tt.path, tt.body)
		var b api.ErrorBody
		if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || w.Code != tt.status || b.Error.Code != tt.code {
			t.Errorf("%s %s = %d %s, want %d %s", tt.path, tt.body, w.Code, w.Body, tt.status, tt.code)
		}
	}
	if one = ask[api.Ticket](t, s, "POST", "/api/v1/approvals/t1/approve", `{"by": "bob"}`, 200); one.State != "approved" || one.Open || one.ClosedAt == nil {
		t.Errorf("after two of two: %+v", one)
	}
	if m := ask[api.MessageStatus](t, s, "GET", "/api/v1/messages/m1", "", 200); m.State != "waiting" || m.Tickets != nil || m.NotBefore != nil {
		t.Errorf("after the approval: %+v", m)
	}
	if one = ask[api.Ticket](t, s, "POST", "/api/v1/approvals/t2/deny", "", 200); one.State != "denied" || one.Decisions[0].By != "operator" {
		t.Errorf("denied: %+v", one)
	}
	ask[api.ErrorBody](t, s, "POST", "/api/v1/approvals/t2/approve", "", 409)

	for path, want := range map[string][]string{
		"":                                 {},
		"?state=pending":                   {},
		"?state=all":                       {"t2 denied", "t1 approved"},
		"?state=denied":                    {"t2 denied"},
		"?state=all&conversation=c1":       {"t1 approved"},
		"?state=all&agent=greeter&limit=1": {"t2 denied"},
		"?state=all&agent=nobody":          {},
	} {
		l := ask[api.Approvals](t, s, "GET", "/api/v1/approvals"+path, "", 200)
		if diff := cmp.Diff(want, ids(l.Items)); diff != "" || !cmp.Equal(l.Items, l.Approvals) {
			t.Errorf("list%s differs (-want +got):\n%s", path, diff)
		}
	}
	for _, path := range []string{"?state=dead", "?limit=0", "?limit=201", "?cursor=nonsense"} {
		ask[api.ErrorBody](t, s, "GET", "/api/v1/approvals"+path, "", 422)
	}
	ask[api.ErrorBody](t, s, "GET", "/api/v1/approvals/k", "", 404)
}

func TestEffects(t *testing.T) {
	s, h, _ := newServer(t, httpd.Config{})
	for _, id := range []string{"m1", "m2", "m3"} {
		lost(t, h, id)
	}
	if l := ask[api.Effects](t, s, "GET", "/api/v1/effects?unknown=true", "", 200); len(l.Items) != 3 || l.Items[0].State != "unknown" || !l.Items[0].Open {
		t.Fatalf("effects: %+v", l.Items)
	}
	m := ask[api.MessageStatus](t, s, "GET", "/api/v1/messages/m1", "", 200)
	if m.Status != "unknown" || m.State != "settled" || m.Code != "effect_unknown" || m.Attempts != 1 {
		t.Errorf("message: %+v", m)
	}
	for _, tt := range []struct {
		path, body string
		status     int
		code       string
	}{
		{"k-call-m1", "", 400, "request_malformed"},
		{"k-call-m1", `{}`, 422, "request_invalid"},
		{"k-call-m1", `{"decision": "drop"}`, 422, "request_invalid"},
		{"k-call-m1", `{"decision": "retry", "result": "x"}`, 422, "result_without_done"},
		{"k-call-m1", `{"decision": "done", "result": }`, 400, "request_malformed"},
		{"k-call-m9", `{"decision": "done"}`, 404, "effect_not_found"},
	} {
		w := call(s, "POST", "/api/v1/effects/"+tt.path+"/resolve", tt.body)
		var b api.ErrorBody
		if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || w.Code != tt.status || b.Error.Code != tt.code {
			t.Errorf("%s %s = %d %s, want %d %s", tt.path, tt.body, w.Code, w.Body, tt.status, tt.code)
		}
	}
	e := ask[api.Ticket](t, s, "POST", "/api/v1/effects/k-call-m1/resolve", `{"decision": "done", "by": "ann", "reason": "seen", "result": {"order": 7}}`, 200)
	if e.State != "done" || string(e.Decisions[0].Result) != `{"order":7}` && string(e.Decisions[0].Result) != `{"order": 7}` {
		t.Errorf("done: %+v", e)
	}
	if e = ask[api.Ticket](t, s, "POST", "/api/v1/effects/k-call-m2/resolve", `{"decision": "retry", "result": null}`, 200); e.State != "retry" {
		t.Errorf("retry: %+v", e)
	}
	if e = ask[api.Ticket](t, s, "POST", "/api/v1/effects/k-call-m3/resolve", `{"decision": "fail"}`, 200); e.State != "failed" {
		t.Errorf("fail: %+v", e)
	}
	if m := ask[api.MessageStatus](t, s, "GET", "/api/v1/messages/m1", "", 200); m.Status != "pending" || m.State != "waiting" {
		t.Errorf("after the resolution: %+v", m)
	}
	if e := ask[api.Ticket](t, s, "GET", "/api/v1/effects/k-call-m3", "", 200); e.State != "failed" || e.Open {
		t.Errorf("effect: %+v", e)
	}
	for path, want := range map[string]int{"": 3, "?unknown=true": 0, "?unknown=false": 3, "?state=retry": 1, "?state=unknown": 0, "?unknown=true&state=unknown": 0} {
		if l := ask[api.Effects](t, s, "GET", "/api/v1/effects"+path, "", 200); len(l.Items) != want || len(l.Effects) != want {
			t.Errorf("list%s: %d effects, want %d", path, len(l.Items), want)
		}
	}
	for _, path := range []string{"?unknown=true&state=done", "?unknown=maybe", "?state=pending"} {
		ask[api.ErrorBody](t, s, "GET", "/api/v1/effects"+path, "", 422)
	}
}

func TestDeadLetters(t *testing.T) {
	now := time.Now()
	s, h, _ := newServer(t, httpd.Config{Now: func() time.Time { return now }})
	for i := range 5 {
		givenUp(t, h, fmt.Sprintf("m%d", i), []string{"odd", "even"}[(i+1)%2])
	}
	if l := ask[api.DeadLetters](t, s, "GET", "/api/v1/messages/dead", "", 200); len(l.Items) != 5 || l.Items[0].ID != "m4" || l.Items[0].Reason != "no luck" || l.Items[0].Attempts != 1 || len(l.Dead) != 5 {
		t.Fatalf("dead letters: %+v", l.Items)
	}
	for path, want := range map[string][]string{
		"?code=odd":                       {"m3 dead", "m1 dead"},
		"?agent=greeter&code=even":        {"m4 dead", "m2 dead", "m0 dead"},
		"?agent=other":                    {},
		"?older_than=1h":                  {},
		"?older_than=0s&code=odd&limit=1": {"m3 dead"},
		"?state=replayed":                 {},
	} {
		if strings.Contains(path, "0s") {
			now = now.Add(time.Minute)
		}
		l := ask[api.DeadLetters](t, s, "GET", "/api/v1/messages/dead"+path, "", 200)
		if diff := cmp.Diff(want, ids(l.Items)); diff != "" {
			t.Errorf("list%s differs (-want +got):\n%s", path, diff)
		}
	}
	t.Run("page by page", func(t *testing.T) {
		for _, filter := range []string{"", "&code=odd", "&code=even"} {
			var got []string
			cursor := ""
			for range 9 {
				l := ask[api.DeadLetters](t, s, "GET", "/api/v1/messages/dead?limit=2"+filter+cursor, "", 200)
				got = append(got, ids(l.Items)...)
				if cursor = "&cursor=" + l.Next; l.Next == "" {
					break
				}
			}
			all := ask[api.DeadLetters](t, s, "GET", "/api/v1/messages/dead?limit=200"+filter, "", 200)
			if diff := cmp.Diff(ids(all.Items), got); diff != "" {
				t.Errorf("pages%s differ from all (-all +pages):\n%s", filter, diff)
			}
		}
	})
	d := ask[api.DeadLetter](t, s, "GET", "/api/v1/messages/dead/m1", "", 200)
	if d.Ticket.ID != "m1" || d.Message.Status != "failed" || len(d.Records) == 0 || d.Records[len(d.Records)-1].Kind != "settled" && d.Records[0].Kind != "settled" {
		t.Errorf("dead letter: %+v", d)
	}

	r := ask[api.Ticket](t, s, "POST", "/api/v1/messages/dead/m1/replay", `{"by": "ann"}`, 200)
	if r.State != "replayed" || r.Decisions[0].By != "ann" {
		t.Errorf("replayed: %+v", r)
	}
	if m := ask[api.MessageStatus](t, s, "GET", "/api/v1/messages/m1", "", 200); m.Status != "pending" || m.State != "waiting" {
		t.Errorf("replayed message: %+v", m)
	}
	if r = ask[api.Ticket](t, s, "POST", "/api/v1/messages/dead/m3/drop", "", 200); r.State != "dropped" {
		t.Errorf("dropped: %+v", r)
	}
	for _, tt := range []struct {
		path, body string
		status     int
		code       string
	}{
		{"m3/replay", "", 409, "ticket_closed"},
		{"m9/drop", "", 404, "dead_letter_not_found"},
		{"replay", "", 400, "request_malformed"},
		{"replay", `{}`, 422, "filter_missing"},
		{"drop", `{"by": "ann"}`, 422, "filter_missing"},
		{"drop", `{"older_than": "long"}`, 422, "duration_invalid"},
		{"drop", `{"code": 5}`, 422, "request_invalid"},
		{"drop", `{"all": true, "limit": -1}`, 422, "request_invalid"},
		{"drop", `{"colour": "red"}`, 422, "request_invalid"},
	} {
		w := call(s, "POST", "/api/v1/messages/dead/"+tt.path, tt.body)
		var b api.ErrorBody
		if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || w.Code != tt.status || b.Error.Code != tt.code {
			t.Errorf("%s %s = %d %s, want %d %s", tt.path, tt.body, w.Code, w.Body, tt.status, tt.code)
		}
	}
	for _, path := range []string{"?older_than=soon", "?state=pending", "?limit=x"} {
		ask[api.ErrorBody](t, s, "GET", "/api/v1/messages/dead"+path, "", 422)
	}

	// three are left: m0, m2, m4
	n := ask[api.DeadLetterCount](t, s, "POST", "/api/v1/messages/dead/drop", `{"code": "even", "limit": 1, "by": "ann", "reason": "old"}`, 200)
	if diff := cmp.Diff(api.DeadLetterCount{Matched: 1, Done: 1, More: true, Faults: []api.DeadLetterFailure{}}, n); diff != "" {
		t.Errorf("first drop differs (-want +got):\n%s", diff)
	}
	if l := ask[api.DeadLetters](t, s, "GET", "/api/v1/messages/dead?state=dropped", "", 200); !slices.Contains(ids(l.Items), "m0 dropped") {
		t.Errorf("the oldest was not the first: %v", ids(l.Items))
	}
	n = ask[api.DeadLetterCount](t, s, "POST", "/api/v1/messages/dead/replay", `{"agent": "greeter", "older_than": "1s"}`, 200)
	if n.Matched != 2 || n.Done != 2 || n.Failed != 0 || n.More {
		t.Errorf("replay: %+v", n)
	}
	if n = ask[api.DeadLetterCount](t, s, "POST", "/api/v1/messages/dead/drop", `{"all": true}`, 200); n.Matched != 0 {
		t.Errorf("nothing is left, yet %+v", n)
	}
}

// TestReplayForRemovedAgent counts what cannot be replayed and says why.
func TestReplayForRemovedAgent(t *testing.T) {
	s, h, _ := newServer(t, httpd.Config{})
	h.agents = []caxton.Agent{greeter(), {ID: "f1", Slug: "one"}}
	givenUp(t, h, "m1", "x")
	if _, err := h.Send(t.Context(), caxton.Message{ID: "m2", Receiver: "one", Sender: "user", Content: caxton.TextContent("hi")}); err != nil {
		t.Fatal(err)
	}
	h.agents = []caxton.Agent{greeter()}
	if err := h.Drop(t.Context(), "f1"); err != nil {
		t.Fatal(err)
	}
	n := ask[api.DeadLetterCount](t, s, "POST", "/api/v1/messages/dead/replay", `{"all": true}`, 200)
	if n.Matched != 2 || n.Done != 1 || n.Failed != 1 || len(n.Faults) != 1 || n.Faults[0].ID != "m2" || n.Faults[0].Code != "agent_removed" {
		t.Errorf("replay: %+v", n)
	}
	if l := ask[api.DeadLetters](t, s, "GET", "/api/v1/messages/dead?agent=f1", "", 200); len(l.Items) != 1 || l.Items[0].ID != "m2" {
		t.Errorf("by the ID of a removed agent: %v", ids(l.Items))
	}
	if n = ask[api.DeadLetterCount](t, s, "POST", "/api/v1/messages/dead/drop", `{"agent": "f1"}`, 200); n.Done != 1 {
		t.Errorf("drop: %+v", n)
	}
}

func TestCancelMessage(t *testing.T) {
	s, h, _ := newServer(t, httpd.Config{})
	if _, err := h.Send(t.Context(), caxton.Message{ID: "m1", Receiver: "greeter", Sender: "user", Content: caxton.TextContent("hi")}); err != nil {
		t.Fatal(err)
	}
	if m := ask[api.MessageStatus](t, s, "GET", "/api/v1/messages/m1", "", 200); m.State != "waiting" || m.Attempts != 0 {
		t.Errorf("waiting message: %+v", m)
	}
	m := ask[api.MessageStatus](t, s, "POST", "/api/v1/messages/m1/cancel", `{"by": "ann"}`, 200)
	if m.Status != "cancelled" || m.State != "settled" || !strings.Contains(m.Error, "ann") {
		t.Errorf("cancelled: %+v", m)
	}
	ask[api.ErrorBody](t, s, "POST", "/api/v1/messages/m1/cancel", "", 409)
	ask[api.ErrorBody](t, s, "POST", "/api/v1/messages/m9/cancel", "", 404)
	ask[api.ErrorBody](t, s, "POST", "/api/v1/messages/m1/cancel", `{"reason": "x"}`, 422)
	l := sent(t, h, "m2", "c2")
	if m := ask[api.MessageStatus](t, s, "POST", "/api/v1/messages/m2/cancel", "", 200); m.Status != "pending" || !l.Cancelled() {
		t.Errorf("cancelled at work: %+v, %t", m, l.Cancelled())
	}
}

// TestProgress follows a message through its attempts.
func TestProgress(t *testing.T) {
	s, h, _ := newServer(t, httpd.Config{})
	l := sent(t, h, "m1", "c1")
	if err := h.journal.Leased(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if m := ask[api.MessageStatus](t, s, "GET", "/api/v1/messages/m1", "", 200); m.State != "running" || m.Attempts != 1 {
		t.Errorf("at work: %+v", m)
	}
	if err := h.Release(t.Context(), l, "busy", time.Hour); err != nil {
		t.Fatal(err)
	}
	m := ask[api.MessageStatus](t, s, "GET", "/api/v1/messages/m1", "", 200)
	if m.State != "waiting" || m.Attempts != 1 || !strings.Contains(m.Waits, "busy") || m.NotBefore == nil {
		t.Errorf("given back: %+v", m)
	}
}

// A late router does something between the look at a message and the look at its log.
type late struct {
	httpd.Router
	between func()
}

func (l *late) Turn(ctx context.Context, conv caxton.ConversationID, id caxton.MessageID) ([]caxton.Record, error) {
	l.between()
	return l.Router.Turn(ctx, conv, id)
}

// TestProgressAtTheLastMoment looks at a message while it is settled.
func TestProgressAtTheLastMoment(t *testing.T) {
	l := &late{}
	s, h, _ := newServerWith(t, httpd.Config{}, func(d *httpd.Deps) { l.Router, d.Router = d.Router, l })
	lease := sent(t, h, "m1", "c1")
	l.between = func() {
		if err := h.Settle(t.Context(), caxton.Settlement{Lease: lease, Outcome: caxton.OutcomeDone}); err != nil {
			t.Error(err)
		}
	}
	if m := ask[api.MessageStatus](t, s, "GET", "/api/v1/messages/m1", "", 200); m.State != "settled" || m.Status != "done" {
		t.Errorf("%s and %s, want settled and done", m.State, m.Status)
	}
}

// TestConversationEffects folds every fate of a tool call from a log.
func TestConversationEffects(t *testing.T) {
	s, h, _ := newServer(t, httpd.Config{})
	l := sent(t, h, "m1", "c1")
	m := &l.Message
	intent := func(call string) caxton.Record {
		c := ref(call, "http_client")
		return record(t, m, caxton.RecordToolIntended, caxton.ToolIntendedBody{CallID: c.CallID, Tool: c.Tool, Arguments: c.Arguments, ArgsHash: c.ArgsHash, Key: c.Key})
	}
	back := func(call string, bad bool) caxton.Record {
		return record(t, m, caxton.RecordToolReturned, caxton.ToolReturnedBody{CallID: call, Tool: "http_client", Text: "text of " + call, IsError: bad, Millis: 5})
	}
	approval := func(call string) caxton.Record {
		return record(t, m, caxton.RecordApprovalAsked, caxton.ApprovalAskedBody{Ticket: caxton.Ticket{ID: "t-" + call, State: caxton.ApprovalPending, Call: ref(call, "http_client")}})
	}
	decision := func(kind caxton.TicketKind, call string, state caxton.TicketState) caxton.Record {
		return record(t, m, caxton.RecordDecided, caxton.DecidedBody{Kind: kind, ID: "t-" + call, Call: ref(call, "http_client"), State: state, Decision: caxton.Decision{By: "ann", State: state}})
	}
	message := record(t, m, caxton.RecordApprovalAsked, caxton.ApprovalAskedBody{Ticket: caxton.Ticket{ID: "t-m", Call: ref("message", "capability:greeting")}})
	rs := []caxton.Record{
		message,
		intent("good"), back("good", false),
		intent("bad"), back("bad", true),
		approval("asked"),
		approval("no"), decision(caxton.Approval, "no", caxton.ApprovalDenied), back("no", true),
		approval("late"), decision(caxton.Approval, "late", caxton.ApprovalExpired),
		approval("yes"), decision(caxton.Approval, "yes", caxton.ApprovalGranted), intent("yes"), back("yes", false),
		intent("twice"), intent("twice"),
		intent("known"),
	}
	if err := h.journal.Append(t.Context(), rs...); err != nil {
		t.Fatal(err)
	}
	outcomes := func(limit string) []string {
		l := ask[api.ConversationEffects](t, s, "GET", "/api/v1/conversations/c1/effects"+limit, "", 200)
		got := []string{}
		for _, e := range l.Items {
			got = append(got, fmt.Sprintf("%s %s %d", e.CallID, e.Outcome, e.Times))
			if e.Agent != "greeter" || e.Key != "k-"+e.CallID || e.MessageID != "m1" || len(e.Arguments) == 0 {
				t.Errorf("effect %+v", e)
			}
		}
		if l.Total != 8 || len(l.Effects) != len(l.Items) {
			t.Errorf("total %d of %v", l.Total, got)
		}
		return got
	}
	want := []string{"good done 1", "bad failed 1", "asked waiting 0", "no denied 0", "late denied 0", "yes done 1", "twice running 2", "known running 1"}
	if diff := cmp.Diff(want, outcomes("")); diff != "" {
		t.Errorf("at work (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[6:], outcomes("?limit=2")); diff != "" {
		t.Errorf("the last two (-want +got):\n%s", diff)
	}
	if err := h.Settle(t.Context(), caxton.Settlement{Lease: l, Outcome: caxton.OutcomeUnknown}); err != nil {
		t.Fatal(err)
	}
	if err := h.journal.Append(t.Context(), decision(caxton.Effect, "known", caxton.EffectDone)); err != nil {
		t.Fatal(err)
	}
	want[6], want[7] = "twice unknown 2", "known done 1"
	if diff := cmp.Diff(want, outcomes("")); diff != "" {
		t.Errorf("settled (-want +got):\n%s", diff)
	}
	if w := call(s, "GET", "/api/v1/conversations/c1/effects", ""); !strings.Contains(w.Body.String(), `"resolution":{"ticket":"t-known","state":"done","by":"ann"}`) {
		t.Errorf("resolution: %s", w.Body)
	}
	ask[api.ErrorBody](t, s, "GET", "/api/v1/conversations/none/effects", "", http.StatusNotFound)
	ask[api.ErrorBody](t, s, "GET", "/api/v1/conversations/c1/effects?limit=0", "", 422)
}

func TestBudgets(t *testing.T) {
	s, h, _ := newServer(t, httpd.Config{})
	charge := func(name string, u caxton.Unit, limit, n int64) caxton.Charge {
		return caxton.Charge{Account: caxton.Account{Name: name, Unit: u, Cap: limit}, Amount: n}
	}
	if err := h.journal.Reserve(t.Context(), []caxton.Reservation{{ID: "r1", MessageID: "m1", Charges: []caxton.Charge{
		charge("agent/a1/total", caxton.Tokens, 100, 30), charge("agent/a1/total", caxton.ToolCalls, 5, 1), charge("server/day/2026-11-21", caxton.Tokens, 50, 30), charge("tree/c1", caxton.Tokens, 0, 30),
	}}}); err != nil {
		t.Fatal(err)
	}
	l := ask[api.Budgets](t, s, "GET", "/api/v1/budgets", "", 200)
	if len(l.Items) != 4 || len(l.Budgets) != 4 {
		t.Fatalf("budgets: %+v", l.Items)
	}
	if b := l.Items[0]; b.Account != "agent/a1/total" || b.Agent != "greeter" || b.Cap != 100 || b.Reserved != 30 || b.Left != 70 {
		t.Errorf("budget: %+v", b)
	}
	if l := ask[api.Budgets](t, s, "GET", "/api/v1/budgets?prefix=server/", "", 200); len(l.Items) != 1 || l.Items[0].Left != 20 {
		t.Errorf("of the server: %+v", l.Items)
	}
	var got []string
	cursor := ""
	for range 9 {
		p := ask[api.Budgets](t, s, "GET", "/api/v1/budgets?limit=1"+cursor, "", 200)
		for _, b := range p.Items {
			got = append(got, b.Account+" "+b.Unit)
		}
		if cursor = "&cursor=" + p.Next; p.Next == "" {
			break
		}
	}
	if want := []string{"agent/a1/total tokens", "agent/a1/total tool_calls", "server/day/2026-11-21 tokens", "tree/c1 tokens"}; !slices.Equal(got, want) {
		t.Errorf("page by page: %v, want %v", got, want)
	}
	for _, path := range []string{"?cursor=~", "?cursor=bm9uZQ", "?limit=0"} {
		ask[api.ErrorBody](t, s, "GET", "/api/v1/budgets"+path, "", 422)
	}
}

// TestBroadcastReceipt lists all receivers of a broadcast.
func TestBroadcastReceipt(t *testing.T) {
	s, h, _ := newServer(t, httpd.Config{})
	two := greeter()
	two.ID, two.Slug = "a2", "second"
	h.agents = []caxton.Agent{greeter(), two}
	r := ask[api.Receipt](t, s, "POST", "/api/v1/messages", `{"capability": "greeting", "content": "hi", "routing_strategy": "broadcast"}`, 202)
	if len(r.Others) != 1 || r.Others[0].RoutedTo == r.RoutedTo || r.Others[0].RoutedTo == "" || r.Others[0].MessageID == r.MessageID || r.Others[0].MessageID == "" {
		t.Errorf("receipt: %+v", r)
	}
}
