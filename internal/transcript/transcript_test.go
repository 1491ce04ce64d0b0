package transcript_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/transcript"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// A scribe writes logs.
type scribe struct {
	t    *testing.T
	conv caxton.ConversationID
	rs   []caxton.Record
}

func (s *scribe) add(kind caxton.RecordKind, msg string, body any) {
	s.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	agent := caxton.AgentID("a1")
	if kind == caxton.RecordForked || kind == caxton.RecordArchived {
		agent = ""
	}
	n := len(s.rs)
	s.rs = append(s.rs, caxton.Record{
		ConversationID: s.conv, Seq: int64(n) + 1, At: time.Date(2026, 5, 1, 12, 0, n, 0, time.UTC), Kind: kind, MessageID: caxton.MessageID(msg), AgentID: agent, Body: b,
	})
}

func (s *scribe) say(id, from, to, text string) {
	s.t.Helper()
	m := caxton.Message{ID: caxton.MessageID(id), ConversationID: s.conv, Performative: caxton.Request, Sender: from, Receiver: to, Content: caxton.TextContent(text)}
	if to == "shop" {
		m.ReceiverID = "a1"
	} else {
		m.Performative, m.SenderID = caxton.Inform, "a1"
	}
	d := caxton.Delivery{Message: m, Version: 3, Routing: caxton.Routing{Strategy: caxton.DirectAddress}}
	s.add(caxton.RecordMessage, id, d.Body())
	s.rs[len(s.rs)-1].AgentID = m.ReceiverID
}

// order writes a conversation in which somebody buys something.
func order(t *testing.T) *scribe {
	t.Helper()
	s := &scribe{t: t, conv: "c1"}
	s.say("m1", "ann", "shop", "a pear,\nplease")
	s.add(caxton.RecordLeased, "m1", caxton.LeasedBody{Attempt: 1, Version: 3})
	s.add(caxton.RecordBudgetReserved, "m1", caxton.BudgetReservedBody{Reservation: caxton.Reservation{ID: "model/0/1"}})
	s.add(caxton.RecordBudgetSettled, "m1", caxton.BudgetSettledBody{ID: "model/0/1", Cost: []caxton.Charge{{Account: caxton.Account{Name: "tree/c1", Unit: caxton.Tokens}, Amount: 12}}})
	s.add(caxton.RecordModelCalled, "m1", caxton.ModelCalledBody{Provider: "p", Model: "m", RequestHash: "h", ToolCalls: json.RawMessage(`[{"id":"c1","name":"buy","arguments":{"what":"pear"}}]`), Stop: "tools", Millis: 20})
	s.add(caxton.RecordApprovalAsked, "m1", caxton.ApprovalAskedBody{Ticket: caxton.Ticket{Kind: caxton.Approval, ID: "x", Call: &caxton.ToolCallRef{Tool: "buy", Arguments: json.RawMessage(`{"what":"pear"}`)}}})
	s.add(caxton.RecordParked, "m1", caxton.ParkedBody{Attempt: 1, Reason: "1 of 1 approvals are open"})
	s.add(caxton.RecordDecided, "m1", caxton.DecidedBody{Kind: caxton.Approval, ID: "x", State: caxton.ApprovalGranted, Decision: caxton.Decision{By: "bob", State: caxton.ApprovalGranted, Reason: "she may"}, Call: &caxton.ToolCallRef{Tool: "buy"}})
	s.add(caxton.RecordToolIntended, "m1", caxton.ToolIntendedBody{CallID: "c1", Tool: "buy", Arguments: json.RawMessage(`{"what":"pear"}`), Key: "k"})
	s.add(caxton.RecordToolReturned, "m1", caxton.ToolReturnedBody{CallID: "c1", Tool: "buy", Text: "bought", BlobHash: "b10b", Millis: 5})
	s.add(caxton.RecordModelCalled, "m1", caxton.ModelCalledBody{Step: 1, Provider: "p", Model: "m", RequestHash: "h2", Text: "There is your <pear>.", Stop: "end"})
	s.say("m2", "shop", "ann", "There is your <pear>.")
	s.add(caxton.RecordSettled, "m1", caxton.SettledBody{Outcome: caxton.OutcomeDone, Attempt: 2, Version: 3, Outputs: []caxton.MessageID{"m2"}})
	return s
}

func write(t *testing.T, s *scribe) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := transcript.NewWriter(&b, time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC))
	if err == nil {
		err = w.Conversation(s.rs)
	}
	if err == nil {
		err = w.Blob("b10b", "text/plain", []byte("a receipt"))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(in io.Reader) (all []transcript.Part, err error) {
	r, err := transcript.NewReader(in)
	if err != nil {
		return nil, err
	}
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
}

func TestFileIsReadAsItWasWritten(t *testing.T) {
	s := order(t)
	parts, err := read(bytes.NewReader(write(t, s)))
	if err != nil {
		t.Fatal(err)
	}
	want := []transcript.Part{{Line: 2, Records: s.rs}, {Line: len(s.rs) + 2, Blob: "b10b", MediaType: "text/plain", Data: []byte("a receipt")}}
	asText := cmp.Transformer("text", func(b json.RawMessage) string {
		var v any
		_ = json.Unmarshal(b, &v)
		return fmt.Sprint(v)
	})
	if d := cmp.Diff(want, parts, asText); d != "" {
		t.Errorf("read (-written +read):\n%s", d)
	}
	if got := transcript.Blobs(s.rs); len(got) != 1 || got[0] != "b10b" {
		t.Errorf("Blobs = %v", got)
	}
}

func TestReaderRefuses(t *testing.T) {
	good := string(write(t, order(t)))
	lines := strings.SplitAfter(good, "\n")
	tests := []struct {
		name, in string
		want     caxton.Kind
	}{
		{"nothing", "", caxton.Malformed},
		{"another file", "{\"format\":\"other\"}\n", caxton.Malformed},
		{"a later version", strings.Replace(good, `"version":1`, `"version":2`, 1), caxton.Invalid},
		{"the end is missing", strings.Join(lines[:len(lines)-2], ""), caxton.Malformed},
		{"cut in the middle of a line", good[:len(good)/2], caxton.Malformed},
		{"a record is missing", strings.Join(append(append([]string{}, lines[:4]...), lines[5:]...), ""), caxton.Malformed},
		{"the beginning is missing", strings.Join(append(append([]string{}, lines[:1]...), lines[2:]...), ""), caxton.Malformed},
		{"counted wrongly", strings.Replace(good, `"records":13`, `"records":14`, 1), caxton.Malformed},
		{"more records than are stored in one step", lines[0] + lines[1] + leases(caxton.MaxLogRecords), caxton.TooLarge},
		{"a place in a tree that cannot be", strings.Replace(good, `"message":{`, `"message":{"parent":"p","root":"p","depth":-7,`, 1), caxton.Invalid},
		{"not JSON", lines[0] + "hello\n", caxton.Malformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := read(strings.NewReader(tt.in))
			if caxton.KindOf(err) != tt.want {
				t.Fatalf("%v, want %s", err, tt.want)
			}
			if tt.name != "a later version" && !strings.Contains(err.Error(), "line ") {
				t.Errorf("%v does not name the line", err)
			}
		})
	}
}

// leases returns lines with n records that follow on record 1 of the conversation.
func leases(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"conversation_id":%q,"seq":%d,"at":"2026-05-01T12:00:00Z","kind":"leased","message_id":%q,"body":{}}`+"\n", "c1", i+2, "m1")
	}
	return b.String()
}

// FuzzReader reads anything: what it takes can be written and read again.
func FuzzReader(f *testing.F) {
	f.Add([]byte(`{"format":"caxton.conversations","version":1}` + "\n" + `{"conversation_id":"c","seq":1,"at":"2026-05-01T12:00:00Z","kind":"message","message_id":"m","body":{"message":{"message_id":"m","conversation_id":"c","content":1}}}` + "\n" + `{"end":{"conversations":1,"records":1}}`))
	f.Add([]byte(`{"format":"caxton.conversations","version":1}` + "\n" + `{"end":{"conversations":0,"records":0}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		parts, err := read(bytes.NewReader(in))
		if err != nil {
			return
		}
		var b bytes.Buffer
		w, err := transcript.NewWriter(&b, time.Time{})
		for _, p := range parts {
			switch {
			case err != nil:
			case p.Blob != "":
				err = w.Blob(p.Blob, p.MediaType, p.Data)
			default:
				err = w.Conversation(p.Records)
			}
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Skip(err) // a year that JSON cannot print
		}
		again, err := read(&b)
		if err != nil || len(again) != len(parts) {
			t.Fatalf("%d parts, read again %d, %v", len(parts), len(again), err)
		}
	})
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

func TestDifferenceOfAFork(t *testing.T) {
	a := order(t)
	copied, err := caxton.Fork{ID: "c2", At: 1, By: "ann", Reason: "another prompt"}.Copy(a.rs, a.rs[0].At)
	if err != nil {
		t.Fatal(err)
	}
	b := &scribe{t: t, conv: "c2", rs: copied}
	id := string(copied[1].MessageID)
	b.add(caxton.RecordModelCalled, id, caxton.ModelCalledBody{Provider: "p", Model: "m", RequestHash: "h9", ToolCalls: json.RawMessage(`[{"id":"c1","name":"buy","arguments":{"what":"apple"}}]`), Stop: "tools"})
	b.add(caxton.RecordToolIntended, id, caxton.ToolIntendedBody{CallID: "c1", Tool: "buy", Arguments: json.RawMessage(`{"what":"apple"}`)})
	b.add(caxton.RecordToolReturned, id, caxton.ToolReturnedBody{CallID: "c1", Tool: "buy", Text: "bought"})
	b.add(caxton.RecordModelCalled, id, caxton.ModelCalledBody{Step: 1, Provider: "p", Model: "m", RequestHash: "h3", Text: "Apples are better.\nThere you are.", Stop: "end"})
	b.say("m9", "shop", "ann", "Apples are better.\nThere you are.")
	b.add(caxton.RecordSettled, id, caxton.SettledBody{Outcome: caxton.OutcomeDone, Attempt: 1, Version: 4, Outputs: []caxton.MessageID{"m9"}})
	c := transcript.Compare(a.rs, b.rs)
	if !c.Forked || !c.Differs || c.After != 1 || c.AfterB != 2 {
		t.Errorf("Compare = %+v", c)
	}
	golden(t, "fork.diff", c.Text())
	same := transcript.Compare(a.rs, a.rs)
	if same.Differs {
		t.Errorf("a conversation differs from itself:\n%s", same.Text())
	}
}

func TestTimeline(t *testing.T) {
	var b strings.Builder
	for _, e := range transcript.Timeline(order(t).rs, "a1") {
		fmt.Fprintf(&b, "%d %v %v %s %s | %s\n", e.Seq, e.Since, e.Took, e.Who, e.Kind, strings.ReplaceAll(e.What, "\n", "⏎"))
	}
	golden(t, "timeline.txt", b.String())
	if got := transcript.Timeline(order(t).rs, "a2"); len(got) != 0 {
		t.Errorf("an agent that takes no part did %v", got)
	}
}

func TestExplain(t *testing.T) {
	rs := order(t).rs
	for _, id := range []caxton.MessageID{"m1", "m2"} {
		w, err := transcript.Explain(rs, id)
		if err != nil {
			t.Fatal(err)
		}
		if w.Message.ID != "m1" || len(w.Models) != 2 || len(w.Tools) != 1 || w.Tools[0].Returned == nil || len(w.Approvals) != 1 ||
			len(w.Answers) != 1 || w.Version != 3 || w.Attempts != 2 || len(w.Spent) != 1 || w.Spent[0].Amount != 12 || w.Routing.Strategy != caxton.DirectAddress {
			t.Errorf("Explain(%s) = %+v", id, w)
		}
	}
	_, err := transcript.Explain(rs, "m7")
	if caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("Explain of an unknown message: %v", err)
	}
}
