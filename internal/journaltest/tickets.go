package journaltest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/caxton/caxton"
)

// ticket returns an open ticket about message m1 of conversation c1.
func ticket(kind caxton.TicketKind, id string, second int) caxton.Ticket {
	return caxton.Ticket{
		Kind: kind, ID: id, State: kind.OpenState(), ConversationID: "c1", MessageID: "m1", AgentID: "a1", Agent: "greeter", OpenedAt: at(second),
		Call: &caxton.ToolCallRef{CallID: "call", Tool: "pay", Arguments: json.RawMessage(`{"n":1}`), ArgsHash: "h", Key: id},
	}
}

func asked(id string) caxton.Record {
	return caxton.Record{ConversationID: "c1", At: at(2), Kind: caxton.RecordApprovalAsked, MessageID: "m1", AgentID: "a1", Body: json.RawMessage(`{"id":"` + id + `"}`)}
}

// decide returns a change that closes a ticket and wakes its message.
func decide(s caxton.TicketState, wake caxton.Wake) func(caxton.Ticket) (caxton.Amendment, error) {
	return func(t caxton.Ticket) (caxton.Amendment, error) {
		t, err := t.Decide(caxton.Decision{By: "ann", State: s, At: at(9)})
		r := caxton.Record{ConversationID: "c1", At: at(9), Kind: caxton.RecordDecided, MessageID: "m1", AgentID: "a1", Body: json.RawMessage(`{}`)}
		return caxton.Amendment{Ticket: t, Records: []caxton.Record{r}, Wake: wake}, err
	}
}

func kindsOf(t *testing.T, j Journal, conv caxton.ConversationID) (s string) {
	t.Helper()
	rs, err := j.Records(t.Context(), conv, 0, 0)
	must(t, err)
	for i, r := range rs {
		if int64(i+1) != r.Seq {
			t.Errorf("record %d has number %d", i+1, r.Seq)
		}
		s += string(r.Kind) + " "
	}
	return s
}

func testApproval(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	d := Delivery("c1", "m1", 0)
	accept(t, j, d)
	must(t, j.Open(ctx, []caxton.Ticket{ticket(caxton.Approval, "one", 2), ticket(caxton.Approval, "two", 2)}, asked("one"), asked("two")))
	must(t, j.Open(ctx, []caxton.Ticket{{Kind: caxton.Approval, ID: "one", State: caxton.ApprovalDenied, MessageID: "m1"}})) // stays as it is
	until := at(100)
	got, err := j.Park(ctx, Lease(d), caxton.Parked{Until: until, Reason: "waits", Ticket: true})
	if err != nil || !got.Equal(until) {
		t.Fatalf("Park = %v, %v, want %v", got, err, until)
	}
	ds, err := j.Pending(ctx)
	must(t, err)
	if len(ds) != 1 || !ds[0].NotBefore.Equal(until) || ds[0].Attempt != 1 || ds[0].Parked != 1 {
		t.Fatalf("Pending = %+v", ds)
	}
	_, woken, err := j.Amend(ctx, caxton.Approval, "one", decide(caxton.ApprovalGranted, caxton.WakeNow))
	if err != nil || woken != nil {
		t.Fatalf("woken %v, %v, while another approval waits", woken, err)
	}
	tk, woken, err := j.Amend(ctx, caxton.Approval, "two", decide(caxton.ApprovalDenied, caxton.WakeNow))
	if err != nil || woken == nil || woken.Message.ID != "m1" || tk.State != caxton.ApprovalDenied {
		t.Fatalf("Amend = %+v, woken %v, %v", tk, woken, err)
	}
	if ds, err = j.Pending(ctx); err != nil || len(ds) != 1 || !ds[0].NotBefore.IsZero() {
		t.Fatalf("Pending = %+v, %v, want it ready", ds, err)
	}
	if one, err := j.Ticket(ctx, caxton.Approval, "one"); err != nil || one.State != caxton.ApprovalGranted || len(one.Decisions) != 1 {
		t.Errorf("Ticket = %+v, %v", one, err)
	}
	if want := "message approval_asked approval_asked parked decided decided "; kindsOf(t, j, "c1") != want {
		t.Errorf("records %s, want %s", kindsOf(t, j, "c1"), want)
	}
	must(t, j.Open(ctx, []caxton.Ticket{ticket(caxton.Approval, "two", 50)})) // asked for again
	if again, err := j.Ticket(ctx, caxton.Approval, "two"); err != nil || !again.State.Open() || len(again.Decisions) != 0 {
		t.Errorf("asked for again: %+v, %v", again, err)
	}
	wantKind(t, "parking a settled message", func() error {
		must(t, j.Settle(ctx, Done(Lease(d), "hi")))
		_, err := j.Park(ctx, Lease(d), caxton.Parked{Until: until})
		return err
	}(), caxton.Conflict)
}

func testQuickDecision(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	d := Delivery("c1", "m1", 0)
	accept(t, j, d)
	must(t, j.Open(ctx, []caxton.Ticket{ticket(caxton.Approval, "one", 2)}, asked("one")))
	_, woken, err := j.Amend(ctx, caxton.Approval, "one", decide(caxton.ApprovalGranted, caxton.WakeNow))
	if err != nil || woken == nil {
		t.Fatalf("woken %v, %v", woken, err)
	}
	until, err := j.Park(ctx, Lease(d), caxton.Parked{Until: at(100), Ticket: true})
	ds, perr := j.Pending(ctx)
	if err != nil || perr != nil || !until.IsZero() || len(ds) != 1 || !ds[0].NotBefore.IsZero() {
		t.Errorf("Park = %v, %v, pending %+v: the decision is there already", until, err, ds)
	}
}

func testReopen(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	d := Delivery("c1", "m1", 0)
	accept(t, j, d)
	s := Done(Lease(d), "unknown")
	s.Outcome, s.Tickets = caxton.OutcomeUnknown, []caxton.Ticket{ticket(caxton.Effect, "k1", 3), ticket(caxton.Effect, "k2", 3)}
	must(t, j.Settle(ctx, s))
	if n, err := j.OpenTickets(ctx); err != nil || n[caxton.Effect] != 2 || n[caxton.Approval] != 0 {
		t.Errorf("OpenTickets = %v, %v", n, err)
	}
	if st, err := j.Message(ctx, "m1"); err != nil || !st.Settled || st.Outcome != caxton.OutcomeUnknown {
		t.Errorf("Message = %+v, %v", st, err)
	}
	_, woken, err := j.Amend(ctx, caxton.Effect, "k1", decide(caxton.EffectDone, caxton.WakeReopen))
	if err != nil || woken != nil {
		t.Fatalf("woken %v, %v, while another effect is unknown", woken, err)
	}
	_, woken, err = j.Amend(ctx, caxton.Effect, "k2", decide(caxton.EffectRetry, caxton.WakeReopen))
	if err != nil || woken == nil || woken.Outputs != 1 || woken.Attempt-woken.Parked != 0 {
		t.Fatalf("woken %+v, %v, want it with one output behind it", woken, err)
	}
	if st, err := j.Message(ctx, "m1"); err != nil || st.Settled {
		t.Errorf("Message = %+v, %v, want it open again", st, err)
	}
	ds, err := j.Pending(ctx)
	if err != nil || len(ds) != 1 || ds[0].Outputs != 1 {
		t.Fatalf("Pending = %+v, %v", ds, err)
	}
	again := Done(caxton.Lease{Delivery: *woken, LeasedAt: at(20)}, "now it is done")
	again.Outputs[0].Message.ID = caxton.DeriveMessageID("m1", woken.Outputs)
	must(t, j.Settle(ctx, again))
	st, err := j.Message(ctx, "m1")
	if err != nil || st.Outcome != caxton.OutcomeDone || len(st.Replies) != 1 || st.Replies[0].Text() != "now it is done" {
		t.Errorf("Message = %+v, %v", st, err)
	}
}

func testDeadLetter(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	d := Delivery("c1", "m1", 0)
	accept(t, j, d)
	s := Done(Lease(d), "failed")
	s.Outcome, s.Tickets = caxton.OutcomeFailed, []caxton.Ticket{ticket(caxton.DeadLetter, "m1", 3)}
	must(t, j.Settle(ctx, s))
	_, woken, err := j.Amend(ctx, caxton.DeadLetter, "m1", decide(caxton.LetterReplayed, caxton.WakeReopen))
	if err != nil || woken == nil {
		t.Fatalf("woken %v, %v", woken, err)
	}
	_, _, err = j.Amend(ctx, caxton.DeadLetter, "m1", decide(caxton.LetterReplayed, caxton.WakeReopen))
	wantKind(t, "replaying twice", err, caxton.Conflict)
	s.Outputs[0].Message.ID = caxton.DeriveMessageID("m1", 1)
	must(t, j.Settle(ctx, s)) // it failed again
	tk, err := j.Ticket(ctx, caxton.DeadLetter, "m1")
	if err != nil || !tk.State.Open() || len(tk.Decisions) != 1 {
		t.Errorf("Ticket = %+v, %v, want it open with its earlier decision", tk, err)
	}
}

func testRefusedChange(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	accept(t, j, Delivery("c1", "m1", 0))
	must(t, j.Open(ctx, []caxton.Ticket{ticket(caxton.Approval, "one", 2)}, asked("one")))
	before := kindsOf(t, j, "c1")
	refusal := errors.New("no")
	if _, _, err := j.Amend(ctx, caxton.Approval, "one", func(caxton.Ticket) (caxton.Amendment, error) { return caxton.Amendment{}, refusal }); !errors.Is(err, refusal) {
		t.Errorf("Amend: %v, want %v", err, refusal)
	}
	// A record that cannot be written takes the ticket's change with it.
	_, _, err := j.Amend(ctx, caxton.Approval, "one", func(tk caxton.Ticket) (caxton.Amendment, error) {
		tk.State = caxton.ApprovalGranted
		return caxton.Amendment{Ticket: tk, Records: []caxton.Record{{ConversationID: "nowhere", Kind: caxton.RecordDecided, Body: json.RawMessage(`{}`)}}}, nil
	})
	wantKind(t, "a record of an unknown conversation", err, caxton.NotFound)
	if tk, err := j.Ticket(ctx, caxton.Approval, "one"); err != nil || !tk.State.Open() || kindsOf(t, j, "c1") != before {
		t.Errorf("Ticket = %+v, %v after refused changes", tk, err)
	}
	_, _, err = j.Amend(ctx, caxton.Effect, "one", decide(caxton.EffectDone, caxton.WakeNot))
	wantKind(t, "an unknown ticket", err, caxton.NotFound)
	must(t, j.Open(ctx, []caxton.Ticket{ticket(caxton.Effect, "e", 2)}))
	_, _, err = j.Amend(ctx, caxton.Effect, "e", decide(caxton.EffectDone, caxton.WakeReopen))
	wantKind(t, "reopening a message at work", err, caxton.Conflict)
	if tk, err := j.Ticket(ctx, caxton.Effect, "e"); err != nil || !tk.State.Open() {
		t.Errorf("Ticket = %+v, %v after a refused reopening", tk, err)
	}
}

func testTicketPages(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	accept(t, j, Delivery("c1", "m1", 0))
	for i := range 5 {
		must(t, j.Open(ctx, []caxton.Ticket{ticket(caxton.Approval, fmt.Sprint("t", i), i/2)}))
	}
	_, _, err := j.Amend(ctx, caxton.Approval, "t2", decide(caxton.ApprovalDenied, caxton.WakeNot))
	must(t, err)
	for _, tt := range []struct {
		q    caxton.TicketQuery
		want string
	}{
		{caxton.TicketQuery{Kind: caxton.Approval}, "t4 t3 t2 t1 t0 "},
		{caxton.TicketQuery{Kind: caxton.Approval, Open: true}, "t4 t3 t1 t0 "},
		{caxton.TicketQuery{Kind: caxton.Approval, State: caxton.ApprovalDenied}, "t2 "},
		{caxton.TicketQuery{Kind: caxton.Approval, MessageID: "m1", ConversationID: "c1", AgentID: "a1"}, "t4 t3 t2 t1 t0 "},
		{caxton.TicketQuery{Kind: caxton.Approval, AgentID: "a2"}, ""},
		{caxton.TicketQuery{Kind: caxton.Effect}, ""},
	} {
		var got strings.Builder
		for tt.q.Limit = 2; ; {
			page, next, err := j.Tickets(ctx, tt.q)
			must(t, err)
			for _, tk := range page {
				got.WriteString(tk.ID + " ")
			}
			if tt.q.Before = next; next == "" {
				break
			}
		}
		if got.String() != tt.want {
			t.Errorf("Tickets(%+v) = %s, want %s", tt.q, got.String(), tt.want)
		}
	}
	_, _, err = j.Tickets(ctx, caxton.TicketQuery{Kind: caxton.Approval, Before: "no cursor!"})
	wantKind(t, "a bad cursor", err, caxton.Invalid)
}

func charge(name string, limit, n int64) caxton.Charge {
	return caxton.Charge{Account: caxton.Account{Name: name, Unit: caxton.Tokens, Cap: limit}, Amount: n}
}

func uses(t *testing.T, j Journal) (s string) {
	t.Helper()
	us, err := j.BudgetUses(t.Context(), "")
	must(t, err)
	for _, u := range us {
		s += fmt.Sprintf("%s %d+%d/%d ", u.Name, u.Spent, u.Reserved, u.Cap)
	}
	return s
}

func testBudget(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	accept(t, j, Delivery("c1", "m1", 0))
	rec := caxton.Record{ConversationID: "c1", At: at(1), Kind: caxton.RecordBudgetReserved, MessageID: "m1", Body: json.RawMessage(`{}`)}
	must(t, j.Reserve(ctx, []caxton.Reservation{{ID: "r1", MessageID: "m1", Charges: []caxton.Charge{charge("day", 100, 60), charge("tree", 80, 60)}}}, rec))
	err := j.Reserve(ctx, []caxton.Reservation{{ID: "r2", MessageID: "m1", Charges: []caxton.Charge{charge("day", 100, 40), charge("tree", 80, 40)}}}, rec)
	var e *caxton.Error
	if !errors.As(err, &e) || e.Kind != caxton.Exhausted || e.Code != "budget_exceeded" {
		t.Fatalf("Reserve over the cap: %v", err)
	}
	if got, want := uses(t, j), "day 0+60/100 tree 0+60/80 "; got != want {
		t.Errorf("accounts %s, want %s: a refused reservation holds nothing back", got, want)
	}
	must(t, j.Book(ctx, "m1", "r1", []caxton.Charge{charge("day", 0, 25), charge("tree", 0, 25)}, rec))
	must(t, j.Book(ctx, "m1", "r1", []caxton.Charge{charge("day", 0, 25)})) // once only
	if got, want := uses(t, j), "day 25+0/100 tree 25+0/80 "; got != want {
		t.Errorf("accounts %s, want %s", got, want)
	}
	must(t, j.Reserve(ctx, []caxton.Reservation{{ID: "r2", MessageID: "m1", Charges: []caxton.Charge{charge("day", 0, 1000)}}})) // 0 caps nothing
	before := uses(t, j)
	must(t, j.Reserve(ctx, []caxton.Reservation{{ID: "r3", MessageID: "m1", Charges: []caxton.Charge{charge("nowhere", -1, 1000)}}}))
	if got := uses(t, j); got != before {
		t.Errorf("accounts %s, want %s: a cap that nobody set bounds nothing", got, before)
	}
	err = j.Reserve(ctx, []caxton.Reservation{{ID: "r4", MessageID: "m1", Charges: []caxton.Charge{charge("tree", -1, 56)}}})
	wantKind(t, "over the cap that is there", err, caxton.Exhausted)
	must(t, j.Reserve(ctx, []caxton.Reservation{{ID: "r5", MessageID: "m1", Charges: []caxton.Charge{charge("tree", -1, 55)}}}))
	for _, c := range []int64{120, 90, 110} { // several agents bring caps to one tree: the lowest counts
		must(t, j.Reserve(ctx, []caxton.Reservation{{ID: fmt.Sprint("t", c), MessageID: "m1", Charges: []caxton.Charge{charge("tree/x", c, 30)}}}))
	}
	err = j.Reserve(ctx, []caxton.Reservation{{ID: "t", MessageID: "m1", Charges: []caxton.Charge{charge("tree/x", 120, 1)}}})
	wantKind(t, "over the lowest cap of a tree", err, caxton.Exhausted)
	if us, err := j.BudgetUses(ctx, "tree/x"); err != nil || len(us) != 1 || us[0].Cap != 90 {
		t.Errorf("BudgetUses(tree/x) = %+v, %v, want the cap 90", us, err)
	}
	if us, err := j.BudgetUses(ctx, "tree"); err != nil || len(us) != 2 {
		t.Errorf("BudgetUses(tree) = %+v, %v", us, err)
	}
	if want := "message budget_reserved budget_reserved "; kindsOf(t, j, "c1") != want {
		t.Errorf("records %s, want %s", kindsOf(t, j, "c1"), want)
	}
}

func testLostReservation(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	d := Delivery("c1", "m1", 0)
	accept(t, j, d)
	must(t, j.Reserve(ctx, []caxton.Reservation{{ID: "r1", MessageID: "m1", Charges: []caxton.Charge{charge("day", 100, 60)}}}))
	must(t, j.Settle(ctx, Done(Lease(d), "hi")))
	if got, want := uses(t, j), "day 60+0/100 "; got != want {
		t.Errorf("accounts %s, want %s: what is open at the end counts as spent", got, want)
	}
	if want := "message message budget_settled settled "; kindsOf(t, j, "c1") != want {
		t.Errorf("records %s, want %s", kindsOf(t, j, "c1"), want)
	}
}

func testBudgetParallel(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	accept(t, j, Delivery("c1", "m1", 0))
	var wg sync.WaitGroup
	var mu sync.Mutex
	granted := 0
	for i := range 64 {
		wg.Go(func() {
			err := j.Reserve(ctx, []caxton.Reservation{{ID: fmt.Sprint(i), MessageID: "m1", Charges: []caxton.Charge{charge("day", 100, 9)}}})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				granted++
			} else if caxton.KindOf(err) != caxton.Exhausted {
				t.Errorf("Reserve: %v", err)
			}
		})
	}
	wg.Wait()
	if granted != 11 {
		t.Errorf("%d reservations of 9 fit into 100, want 11", granted)
	}
}

func testThread(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	d := Delivery("c2", "m2", 0)
	d.Message.Parent, d.Message.Root, d.Message.Depth = "c1", "c0", 2
	accept(t, j, d)
	accept(t, j, Delivery("c2", "m3", 1))
	want := caxton.Thread{Version: 3, Parent: "c1", Root: "c0", Depth: 2}
	if got, err := j.Thread(ctx, "c2", "a1"); err != nil || got != want {
		t.Errorf("Thread = %+v, %v, want %+v", got, err, want)
	}
	want.Version = 0
	if got, err := j.Thread(ctx, "c2", "other"); err != nil || got != want {
		t.Errorf("Thread = %+v, %v, want %+v", got, err, want)
	}
	c, err := j.Conversation(ctx, "c2")
	if err != nil || c.Parent != "c1" {
		t.Errorf("Conversation = %+v, %v, want the parent c1", c, err)
	}
	if ms, err := j.Messages(ctx, "c2"); err != nil || len(ms) != 2 || ms[1].ID != "m3" {
		t.Errorf("Messages = %+v, %v", ms, err)
	}
}
