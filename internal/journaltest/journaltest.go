// Package journaltest is the conformance suite of journals: what internal/router and
// internal/prompt rely on, whoever keeps the log. Only test files import it.
package journaltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
)

// A Journal is everything a journal must do.
type Journal interface {
	Accept(ctx context.Context, d caxton.Delivery, fresh bool) (caxton.Delivery, bool, error)
	Append(ctx context.Context, records ...caxton.Record) error
	Leased(ctx context.Context, leases ...caxton.Lease) error
	Release(ctx context.Context, l caxton.Lease, cause string, notBefore time.Time) error
	Park(ctx context.Context, l caxton.Lease, p caxton.Parked) (time.Time, error)
	Settle(ctx context.Context, s caxton.Settlement) error
	Pending(ctx context.Context) ([]caxton.Delivery, error)
	Turn(ctx context.Context, conv caxton.ConversationID, id caxton.MessageID) ([]caxton.Record, error)
	Message(ctx context.Context, id caxton.MessageID) (caxton.MessageStatus, error)
	Thread(ctx context.Context, conv caxton.ConversationID, agent caxton.AgentID) (caxton.Thread, error)
	Conversation(ctx context.Context, id caxton.ConversationID) (caxton.Conversation, error)
	Conversations(ctx context.Context, q caxton.ConversationQuery) ([]caxton.Conversation, string, error)
	Records(ctx context.Context, id caxton.ConversationID, after int64, limit int) ([]caxton.Record, error)
	History(ctx context.Context, conv caxton.ConversationID, before caxton.MessageID, limit int) ([]caxton.Message, error)
	Messages(ctx context.Context, id caxton.ConversationID) ([]caxton.Message, error)
	Open(ctx context.Context, tickets []caxton.Ticket, records ...caxton.Record) error
	Amend(ctx context.Context, kind caxton.TicketKind, id string, change func(caxton.Ticket) (caxton.Amendment, error)) (caxton.Ticket, *caxton.Delivery, error)
	Ticket(ctx context.Context, kind caxton.TicketKind, id string) (caxton.Ticket, error)
	Tickets(ctx context.Context, q caxton.TicketQuery) ([]caxton.Ticket, string, error)
	OpenTickets(ctx context.Context) (map[caxton.TicketKind]int, error)
	Reserve(ctx context.Context, rs []caxton.Reservation, records ...caxton.Record) error
	Book(ctx context.Context, msg caxton.MessageID, id string, cost []caxton.Charge, records ...caxton.Record) error
	BudgetUses(ctx context.Context, prefix string) ([]caxton.BudgetUse, error)
	Position(ctx context.Context) (int64, error)
	RecordsSince(ctx context.Context, n int64, limit int) ([]caxton.Record, error)
	PutBlob(ctx context.Context, data []byte, mediaType string) (string, error)
	Blob(ctx context.Context, hash string) ([]byte, string, error)
	ToolUses(ctx context.Context) ([]caxton.AgentTools, error)
	Import(ctx context.Context, records []caxton.Record) ([]caxton.Delivery, error)
	Archive(ctx context.Context, id caxton.ConversationID, b caxton.ArchivedBody, at time.Time) error
	Search(ctx context.Context, q caxton.MatchQuery) ([]caxton.Match, string, error)
}

func at(second int) time.Time { return time.Date(2026, 5, 1, 12, 0, second, 0, time.UTC) }

// Delivery returns a delivery of the message to agent a1, in the conversation.
func Delivery(conv, id string, second int) caxton.Delivery {
	return caxton.Delivery{
		Message: caxton.Message{
			ID: caxton.MessageID(id), ConversationID: caxton.ConversationID(conv), Performative: caxton.Request,
			Sender: "user", Receiver: "greeter", ReceiverID: "a1", Content: caxton.TextContent("hello " + id), Priority: 5, CreatedAt: at(second),
		},
		Routing: caxton.Routing{Strategy: caxton.DirectAddress}, Version: 3,
	}
}

// Lease returns a first lease of d.
func Lease(d caxton.Delivery) caxton.Lease {
	d.Attempt++
	return caxton.Lease{Delivery: d, LeasedAt: d.Message.CreatedAt.Add(time.Second)}
}

// Done returns a settlement of l with one reply to the outside.
func Done(l caxton.Lease, text string) caxton.Settlement {
	reply := l.Message.Reply(caxton.Inform, caxton.TextContent(text))
	reply.ID = caxton.DeriveMessageID(l.Message.ID, 0)
	reply.Sender, reply.CreatedAt = "greeter", l.LeasedAt.Add(time.Second)
	return caxton.Settlement{
		Lease: l, Outcome: caxton.OutcomeDone, At: reply.CreatedAt,
		Outputs: []caxton.Delivery{{Message: reply}},
	}
}

// TestJournal runs the suite; open returns an empty journal each time it is called.
func TestJournal(t *testing.T, open func(t *testing.T) Journal) {
	tests := []struct {
		name string
		run  func(t *testing.T, j Journal)
	}{
		{"life of a message", testLife},
		{"accepts an ID once", testDuplicate},
		{"settles once", testSettleOnce},
		{"an output does not replace a message", testOutputTaken},
		{"keeps attempts over a release", testRelease},
		{"lease is recorded only while pending", testLeased},
		{"a lease written late changes nothing", testLateLease},
		{"pending in the order of the log", testPendingOrder},
		{"append is all or nothing", testAppend},
		{"outputs for agents become pending", testAgentOutput},
		{"history ends before the message", testHistory},
		{"pages conversations", testPages},
		{"blobs by content", testBlobs},
		{"counts tool calls", testToolUses},
		{"many at once", testConcurrent},
		{"unknown things are not found", testUnknown},
		{"a message that waits for approval", testApproval},
		{"a decision quicker than the parking", testQuickDecision},
		{"a message is reopened when all its effects are clear", testReopen},
		{"a dead letter keeps its decisions", testDeadLetter},
		{"a refused change changes nothing", testRefusedChange},
		{"pages tickets", testTicketPages},
		{"budgets cannot be overspent", testBudget},
		{"a settled message holds nothing back", testLostReservation},
		{"budgets under parallel callers", testBudgetParallel},
		{"threads of conversations", testThread},
		{"a log brought in", testImport},
		{"a log brought in below others", testImportTree},
		{"an archived conversation", testArchive},
		{"selects conversations", testConversationFilters},
		{"finds messages by their words", testSearch},
		{"the log of the server", testSince},
		{"the log of the server after a long quiet", testSinceQuiet},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func accept(t *testing.T, j Journal, d caxton.Delivery) {
	t.Helper()
	if _, dup, err := j.Accept(t.Context(), d, false); err != nil || dup {
		t.Fatalf("Accept(%s) = duplicate %v, %v", d.Message.ID, dup, err)
	}
}

func wantKind(t *testing.T, what string, err error, want caxton.Kind) {
	t.Helper()
	if got := caxton.KindOf(err); got != want {
		t.Errorf("%s: kind %q (%v), want %q", what, got, err, want)
	}
}

func testLife(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	d := Delivery("c1", "m1", 0)
	accept(t, j, d)
	ds, err := j.Pending(ctx)
	must(t, err)
	if len(ds) != 1 || ds[0].Message.ID != "m1" || ds[0].Version != 3 || ds[0].Attempt != 0 {
		t.Fatalf("Pending = %+v, want m1 at version 3", ds)
	}
	st, err := j.Message(ctx, "m1")
	must(t, err)
	if st.Settled || st.Message.Text() != "hello m1" {
		t.Fatalf("Message before = %+v", st)
	}
	must(t, j.Append(ctx, caxton.Record{ConversationID: "c1", At: at(1), Kind: caxton.RecordModelCalled, MessageID: "m1", AgentID: "a1", Body: json.RawMessage(`{"step":0}`)}))
	must(t, j.Settle(ctx, Done(Lease(d), "hi")))
	if ds, err = j.Pending(ctx); err != nil || len(ds) != 0 {
		t.Fatalf("Pending after = %+v, %v", ds, err)
	}
	st, err = j.Message(ctx, "m1")
	must(t, err)
	if !st.Settled || st.Outcome != caxton.OutcomeDone || len(st.Replies) != 1 || st.Replies[0].Text() != "hi" {
		t.Fatalf("Message after = %+v", st)
	}
	rs, err := j.Records(ctx, "c1", 0, 0)
	must(t, err)
	var kinds strings.Builder
	for i, r := range rs {
		if r.Seq != int64(i)+1 || r.At.IsZero() || !json.Valid(r.Body) {
			t.Errorf("record %d = %+v", i, r)
		}
		kinds.WriteString(string(r.Kind) + " ")
	}
	if want := "message model_called message settled "; kinds.String() != want {
		t.Errorf("kinds = %q, want %q", kinds.String(), want)
	}
	turn, err := j.Turn(ctx, "c1", "m1")
	must(t, err)
	if len(turn) != 2 || turn[0].Kind != caxton.RecordModelCalled || turn[1].Kind != caxton.RecordSettled {
		t.Errorf("Turn = %+v", turn)
	}
	c, err := j.Conversation(ctx, "c1")
	must(t, err)
	if c.Messages != 2 || c.State != caxton.ConversationIdle || len(c.Participants) != 2 || !c.LastActivity.Equal(at(2)) {
		t.Errorf("Conversation = %+v", c)
	}
	if th, err := j.Thread(ctx, "c1", "a1"); err != nil || th.Version != 3 {
		t.Errorf("Thread = %+v, %v, want version 3", th, err)
	}
}

func testDuplicate(t *testing.T, j Journal) {
	t.Helper()
	d := Delivery("c1", "m1", 0)
	accept(t, j, d)
	again := Delivery("c2", "m1", 5)
	got, dup, err := j.Accept(t.Context(), again, false)
	must(t, err)
	if !dup || got.Message.ConversationID != "c1" {
		t.Fatalf("second Accept = %+v, %v, want the first delivery", got, dup)
	}
	if _, err := j.Conversation(t.Context(), "c2"); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("the duplicate left a conversation behind: %v", err)
	}
}

func testSettleOnce(t *testing.T, j Journal) {
	t.Helper()
	d := Delivery("c1", "m1", 0)
	accept(t, j, d)
	must(t, j.Settle(t.Context(), Done(Lease(d), "hi")))
	wantKind(t, "second Settle", j.Settle(t.Context(), Done(Lease(d), "ho")), caxton.Conflict)
	wantKind(t, "Release after Settle", j.Release(t.Context(), Lease(d), "late", at(9)), caxton.Conflict)
	rs, err := j.Records(t.Context(), "c1", 0, 0)
	must(t, err)
	if len(rs) != 3 {
		t.Errorf("%d records, want 3: a refused settlement must leave none", len(rs))
	}
}

func testOutputTaken(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	d := Delivery("c1", "m1", 0)
	accept(t, j, d)
	s := Done(Lease(d), "hi")
	accept(t, j, Delivery("c2", string(s.Outputs[0].Message.ID), 1))
	err := j.Settle(ctx, s)
	if e, ok := errors.AsType[*caxton.Error](err); !ok || e.Code != "message_known" {
		t.Errorf("Settle with an output whose ID is taken: %v, want message_known", err)
	}
	st, err := j.Message(ctx, s.Outputs[0].Message.ID)
	must(t, err)
	if st.Message.ConversationID != "c2" {
		t.Errorf("Message = %+v, want the one that was there", st.Message)
	}
	if got, want := kindsOf(t, j, "c1"), "message "; got != want {
		t.Errorf("records %s, want %s", got, want)
	}
	if ds, err := j.Pending(ctx); err != nil || len(ds) != 2 {
		t.Errorf("Pending = %+v, %v, want both messages", ds, err)
	}
	s.Outputs = append(s.Outputs, s.Outputs[0])
	s.Outputs[0].Message.ID, s.Outputs[1].Message.ID = "o1", "o1"
	wantKind(t, "Settle with two outputs of one ID", j.Settle(ctx, s), caxton.Conflict)
	s.Outputs[1].Message.ID = "o2"
	must(t, j.Settle(ctx, s))
	if st, err = j.Message(ctx, "m1"); err != nil || len(st.Replies) != 2 {
		t.Errorf("Message = %+v, %v, want it settled with two outputs", st, err)
	}
}

func testRelease(t *testing.T, j Journal) {
	t.Helper()
	d := Delivery("c1", "m1", 0)
	accept(t, j, d)
	must(t, j.Release(t.Context(), Lease(d), "down", at(30)))
	ds, err := j.Pending(t.Context())
	must(t, err)
	if len(ds) != 1 || ds[0].Attempt != 1 || !ds[0].NotBefore.Equal(at(30)) {
		t.Fatalf("Pending = %+v, want attempt 1, not before %v", ds, at(30))
	}
}

func testLeased(t *testing.T, j Journal) {
	t.Helper()
	d := Delivery("c1", "m1", 0)
	accept(t, j, d)
	must(t, j.Leased(t.Context(), Lease(d)))
	ds, err := j.Pending(t.Context())
	must(t, err)
	if len(ds) != 1 || ds[0].Attempt != 1 {
		t.Fatalf("Pending = %+v, want attempt 1", ds)
	}
	must(t, j.Settle(t.Context(), Done(Lease(d), "hi")))
	must(t, j.Leased(t.Context(), Lease(d)))
	rs, err := j.Records(t.Context(), "c1", 0, 0)
	must(t, err)
	if last := rs[len(rs)-1]; last.Kind != caxton.RecordSettled {
		t.Errorf("last record is %s, want settled", last.Kind)
	}
}

// The lease of a message that was parked meanwhile is not written over that.
func testLateLease(t *testing.T, j Journal) {
	t.Helper()
	d := Delivery("c1", "m1", 0)
	accept(t, j, d)
	_, err := j.Park(t.Context(), Lease(d), caxton.Parked{Until: at(30)})
	must(t, err)
	must(t, j.Leased(t.Context(), Lease(d)))
	ds, err := j.Pending(t.Context())
	must(t, err)
	if len(ds) != 1 || ds[0].Attempt != 1 || ds[0].Parked != 1 || !ds[0].NotBefore.Equal(at(30)) {
		t.Errorf("Pending = %+v, want attempt 1, parked once, not before %v", ds, at(30))
	}
	if got, want := kindsOf(t, j, "c1"), "message parked "; got != want {
		t.Errorf("records %s, want %s", got, want)
	}
}

// Clocks are set back: what was accepted first is first.
func testPendingOrder(t *testing.T, j Journal) {
	t.Helper()
	for i, id := range []string{"m2", "m3", "m1"} {
		accept(t, j, Delivery("c1", id, 50-i))
	}
	ds, err := j.Pending(t.Context())
	must(t, err)
	var ids []caxton.MessageID
	for i := range ds {
		ids = append(ids, ds[i].Message.ID)
	}
	if got := fmt.Sprint(ids); got != "[m2 m3 m1]" {
		t.Errorf("Pending = %s, want [m2 m3 m1]", got)
	}
}

func testAppend(t *testing.T, j Journal) {
	t.Helper()
	accept(t, j, Delivery("c1", "m1", 0))
	good := caxton.Record{ConversationID: "c1", Kind: caxton.RecordModelCalled, MessageID: "m1", Body: json.RawMessage(`{}`)}
	bad := good
	bad.ConversationID = "nowhere"
	wantKind(t, "Append to nowhere", j.Append(t.Context(), good, bad), caxton.NotFound)
	rs, err := j.Records(t.Context(), "c1", 0, 0)
	must(t, err)
	if len(rs) != 1 {
		t.Errorf("%d records, want 1", len(rs))
	}
}

func testAgentOutput(t *testing.T, j Journal) {
	t.Helper()
	d := Delivery("c1", "m1", 0)
	accept(t, j, d)
	s := Done(Lease(d), "please go on")
	s.Outputs[0].Message.ReceiverID = "a2"
	must(t, j.Settle(t.Context(), s))
	ds, err := j.Pending(t.Context())
	must(t, err)
	if len(ds) != 1 || ds[0].Message.ReceiverID != "a2" {
		t.Fatalf("Pending = %+v, want the output for a2", ds)
	}
	c, err := j.Conversation(t.Context(), "c1")
	must(t, err)
	if c.State != caxton.ConversationActive {
		t.Errorf("state %s, want active", c.State)
	}
}

func testHistory(t *testing.T, j Journal) {
	t.Helper()
	for i := range 5 {
		accept(t, j, Delivery("c1", fmt.Sprintf("m%d", i), i))
	}
	ms, err := j.History(t.Context(), "c1", "m3", 2)
	must(t, err)
	if len(ms) != 2 || ms[0].ID != "m1" || ms[1].ID != "m2" {
		t.Errorf("History = %+v, want m1 m2", ms)
	}
	if ms, err = j.History(t.Context(), "c1", "unknown", 10); err != nil || len(ms) != 5 {
		t.Errorf("History before an unknown message = %d messages, %v, want all 5", len(ms), err)
	}
}

func testPages(t *testing.T, j Journal) {
	t.Helper()
	for i := range 5 {
		d := Delivery(fmt.Sprintf("c%d", i), fmt.Sprintf("m%d", i), i)
		accept(t, j, d)
		if i%2 == 0 {
			must(t, j.Settle(t.Context(), Done(Lease(d), "hi")))
		}
	}
	seen := map[caxton.ConversationID]bool{}
	q := caxton.ConversationQuery{Limit: 2}
	for page := 0; ; page++ {
		cs, next, err := j.Conversations(t.Context(), q)
		must(t, err)
		for _, c := range cs {
			if seen[c.ID] {
				t.Errorf("conversation %s twice", c.ID)
			}
			seen[c.ID] = true
		}
		if next == "" || page > 5 {
			break
		}
		q.Before = next
	}
	if len(seen) != 5 {
		t.Errorf("paged through %d conversations, want 5", len(seen))
	}
	active, _, err := j.Conversations(t.Context(), caxton.ConversationQuery{State: caxton.ConversationActive})
	must(t, err)
	if len(active) != 2 {
		t.Errorf("%d active, want 2", len(active))
	}
	none, _, err := j.Conversations(t.Context(), caxton.ConversationQuery{Agent: "a9"})
	must(t, err)
	if len(none) != 0 {
		t.Errorf("%d of another agent, want 0", len(none))
	}
	_, _, err = j.Conversations(t.Context(), caxton.ConversationQuery{Before: "%%"})
	wantKind(t, "a bad cursor", err, caxton.Invalid)
}

func testBlobs(t *testing.T, j Journal) {
	t.Helper()
	data := []byte("a,b\n1,2\n")
	h1, err := j.PutBlob(t.Context(), data, "text/csv")
	must(t, err)
	h2, err := j.PutBlob(t.Context(), data, "text/csv")
	must(t, err)
	got, mt, err := j.Blob(t.Context(), h1)
	if err != nil || h1 != h2 || !bytes.Equal(got, data) || mt != "text/csv" {
		t.Errorf("Blob = %q %q %v (%s, %s)", got, mt, err, h1, h2)
	}
}

func testToolUses(t *testing.T, j Journal) {
	t.Helper()
	accept(t, j, Delivery("c1", "m1", 0))
	for range 3 {
		must(t, j.Append(t.Context(), caxton.Record{
			ConversationID: "c1", Kind: caxton.RecordToolIntended, MessageID: "m1", AgentID: "a1", Body: json.RawMessage(`{"tool":"clock"}`),
		}))
	}
	uses, err := j.ToolUses(t.Context())
	must(t, err)
	if len(uses) != 1 || uses[0].AgentID != "a1" || uses[0].Uses["clock"] != 3 {
		t.Errorf("ToolUses = %+v", uses)
	}
}

func testConcurrent(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	var wg sync.WaitGroup
	errs := make(chan error, 16)
	for w := range 16 {
		wg.Go(func() {
			for i := range 20 {
				d := Delivery(fmt.Sprintf("c%d", w%4), fmt.Sprintf("m%d-%d", w, i), i)
				if _, _, err := j.Accept(ctx, d, true); err != nil {
					errs <- err
					return
				}
				if err := j.Settle(ctx, Done(Lease(d), "hi")); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	for c := range 4 {
		rs, err := j.Records(ctx, caxton.ConversationID(fmt.Sprintf("c%d", c)), 0, 0)
		must(t, err)
		if len(rs) != 4*20*3 {
			t.Errorf("conversation %d has %d records, want %d", c, len(rs), 4*20*3)
		}
		for i, r := range rs {
			if r.Seq != int64(i)+1 {
				t.Fatalf("conversation %d: record %d has seq %d", c, i, r.Seq)
			}
		}
	}
}

func testUnknown(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	_, err := j.Message(ctx, "m")
	wantKind(t, "Message", err, caxton.NotFound)
	_, err = j.Conversation(ctx, "c")
	wantKind(t, "Conversation", err, caxton.NotFound)
	_, err = j.Records(ctx, "c", 0, 0)
	wantKind(t, "Records", err, caxton.NotFound)
	_, _, err = j.Blob(ctx, "00")
	wantKind(t, "Blob", err, caxton.NotFound)
	if th, err := j.Thread(ctx, "c", "a"); th != (caxton.Thread{}) || err != nil {
		t.Errorf("Thread = %+v, %v", th, err)
	}
}
