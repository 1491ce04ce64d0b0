package journaltest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/google/go-cmp/cmp"
)

// written plays a conversation with one settled and one open message into j and returns its log.
func written(t *testing.T, j Journal, conv string) []caxton.Record {
	t.Helper()
	ctx := t.Context()
	d := Delivery(conv, conv+"-m1", 0)
	accept(t, j, d)
	must(t, j.Settle(ctx, Done(Lease(d), "Grüße")))
	d = Delivery(conv, conv+"-m2", 10)
	accept(t, j, d)
	l := Lease(d)
	must(t, j.Leased(ctx, l))
	must(t, j.Append(ctx, record(conv, conv+"-m2", caxton.RecordModelCalled, `{"step":0,"provider":"p","model":"m","request_hash":"h","text":"hm","stop":"end","input_tokens":1,"output_tokens":1,"ms":3}`)))
	must(t, j.Release(ctx, l, "later", at(12)))
	rs, err := j.Records(ctx, caxton.ConversationID(conv), 0, 0)
	must(t, err)
	return rs
}

func record(conv, msg string, kind caxton.RecordKind, body string) caxton.Record {
	return caxton.Record{ConversationID: caxton.ConversationID(conv), MessageID: caxton.MessageID(msg), AgentID: "a1", Kind: kind, At: at(11), Body: json.RawMessage(body)}
}

// renamed returns a log as that of another conversation.
func renamed(t *testing.T, rs []caxton.Record, conv string) []caxton.Record {
	t.Helper()
	out := make([]caxton.Record, len(rs))
	for i, r := range rs {
		r.ConversationID = caxton.ConversationID(conv)
		if r.MessageID != "" {
			r.MessageID = caxton.ForkedMessageID(r.ConversationID, r.MessageID)
		}
		if r.Kind == caxton.RecordMessage {
			var b caxton.MessageBody
			must(t, json.Unmarshal(r.Body, &b))
			b.Message.ID, b.Message.ConversationID = r.MessageID, r.ConversationID
			body, err := json.Marshal(b)
			must(t, err)
			r.Body = body
		}
		out[i] = r
	}
	return out
}

func testImport(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	rs := written(t, j, "c1")
	copied := renamed(t, rs, "c2")
	open, err := j.Import(ctx, copied)
	must(t, err)
	if len(open) != 1 || open[0].Message.ID != copied[3].MessageID || open[0].Attempt != 1 || open[0].Message.Text() != "hello c1-m2" {
		t.Fatalf("Import leaves open %+v, want the second message after one attempt", open)
	}
	got, err := j.Records(ctx, "c2", 0, 0)
	must(t, err)
	if len(got) != len(copied) {
		t.Fatalf("%d records, want %d", len(got), len(copied))
	}
	for i := range got {
		if got[i].N <= rs[len(rs)-1].N {
			t.Errorf("record %d has position %d, want it after %d", i+1, got[i].N, rs[len(rs)-1].N)
		}
		got[i].N, copied[i].N, copied[i].Seq = 0, 0, int64(i)+1
		if d := cmp.Diff(compact(copied[i]), compact(got[i])); d != "" {
			t.Errorf("record %d (-given +kept):\n%s", i+1, d)
		}
	}
	ds, err := j.Pending(ctx)
	must(t, err)
	if len(ds) != 2 {
		t.Fatalf("%d pending, want the open message and its copy", len(ds))
	}
	st, err := j.Message(ctx, copied[0].MessageID)
	must(t, err)
	if !st.Settled || st.Outcome != caxton.OutcomeDone {
		t.Errorf("Message of a settled copy = %+v", st)
	}
	c, err := j.Conversation(ctx, "c2")
	must(t, err)
	if c.State != caxton.ConversationActive || c.Messages != 3 || !c.CreatedAt.Equal(at(0)) {
		t.Errorf("Conversation = %+v", c)
	}
	// The copy goes on as any other does.
	l := caxton.Lease{Delivery: open[0], LeasedAt: at(20)}
	l.Attempt++
	must(t, j.Settle(ctx, Done(l, "done")))
	if st, err = j.Message(ctx, open[0].Message.ID); err != nil || !st.Settled || st.Attempt != 2 {
		t.Errorf("Message = %+v, %v", st, err)
	}
	_, err = j.Import(ctx, copied)
	wantKind(t, "Import of a conversation that is there", err, caxton.Conflict)
	again := renamed(t, rs, "c3")
	again[0].MessageID = rs[0].MessageID
	var b caxton.MessageBody
	must(t, json.Unmarshal(again[0].Body, &b))
	b.Message.ID = rs[0].MessageID
	again[0].Body, err = json.Marshal(b)
	must(t, err)
	again[2].MessageID = rs[0].MessageID
	_, err = j.Import(ctx, again)
	wantKind(t, "Import of a message that is there", err, caxton.Conflict)
	_, err = j.Conversation(ctx, "c3")
	wantKind(t, "Conversation after a refused import", err, caxton.NotFound)
	_, err = j.Import(ctx, nil)
	wantKind(t, "Import of nothing", err, caxton.Invalid)
	_, err = j.Import(ctx, rs[1:])
	wantKind(t, "Import without a beginning", err, caxton.Invalid)
}

// testImportTree brings in conversations that say what they came out of.
func testImportTree(t *testing.T, j Journal) {
	t.Helper()
	accept(t, j, Delivery("root", "m-root", 0))
	child := Delivery("child", "m-child", 1)
	child.Message.Parent, child.Message.Root, child.Message.Depth = "root", "root", 1
	accept(t, j, child)
	orphan := Delivery("orphan", "m-orphan", 2) // what is above it is not there
	orphan.Message.Parent, orphan.Message.Root, orphan.Message.Depth = "gone", "far", 2
	accept(t, j, orphan)
	tests := []struct {
		name         string
		parent, root caxton.ConversationID
		depth        int
		want         caxton.Kind
	}{
		{"below one that is there", "child", "root", 2, ""},
		{"below one that is not", "nowhere", "nobody", 2, ""},
		{"below one that is not, in a tree that is there", "nowhere", "root", 2, ""},
		{"below an orphan", "orphan", "far", 3, ""},
		{"another tree than its parent's", "child", "nobody", 2, caxton.Invalid},
		{"another depth than its parent's", "child", "root", 5, caxton.Invalid},
		{"a root that came out of another", "nowhere", "child", 2, caxton.Invalid},
		{"a root without a parent", "", "root", 0, caxton.Invalid},
		{"a depth below none", "root", "root", -1, caxton.Invalid},
		{"a depth that cannot be", "nowhere", "root", caxton.MaxTreeDepth + 1, caxton.Invalid},
		{"out of itself", "new", "new", 1, caxton.Invalid},
	}
	for _, tt := range tests {
		d := Delivery("new", "m-new", 3)
		if tt.want == "" {
			d = Delivery(string(caxton.KeyedMessageID("c "+tt.name)), string(caxton.KeyedMessageID(tt.name)), 3)
		}
		d.Message.Parent, d.Message.Root, d.Message.Depth = tt.parent, tt.root, tt.depth
		_, err := j.Import(t.Context(), begun(t, d))
		if got := caxton.KindOf(err); got != tt.want {
			t.Errorf("%s: Import: kind %q (%v), want %q", tt.name, got, err, tt.want)
		}
	}
	circle := Delivery("far", "m-far", 4)
	circle.Message.Parent, circle.Message.Root, circle.Message.Depth = "orphan", "far", 3
	_, err := j.Import(t.Context(), begun(t, circle))
	wantKind(t, "Import of a root that came out of its tree", err, caxton.Invalid)
	circle = Delivery("gone", "m-gone", 4)
	circle.Message.Parent, circle.Message.Root, circle.Message.Depth = "orphan", "far", 3
	_, err = j.Import(t.Context(), begun(t, circle))
	wantKind(t, "Import of a conversation that came out of one below it", err, caxton.Invalid)
	_, err = j.Conversation(t.Context(), "gone")
	wantKind(t, "Conversation after a refused import", err, caxton.NotFound)
}

// begun returns the log of a conversation that begins with d.
func begun(t *testing.T, d caxton.Delivery) []caxton.Record {
	t.Helper()
	body, err := json.Marshal(d.Body())
	must(t, err)
	m := &d.Message
	return []caxton.Record{{ConversationID: m.ConversationID, At: m.CreatedAt, Kind: caxton.RecordMessage, MessageID: m.ID, AgentID: m.ReceiverID, Body: body}}
}

// compact returns a record whose body has no space that means nothing.
func compact(r caxton.Record) caxton.Record {
	var v any
	if json.Unmarshal(r.Body, &v) == nil {
		r.Body, _ = json.Marshal(v)
	}
	return r
}

func testArchive(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	why := caxton.ArchivedBody{By: "ann", Reason: "done with"}
	wantKind(t, "Archive of an unknown conversation", j.Archive(ctx, "c9", why, at(0)), caxton.NotFound)
	d := Delivery("c1", "m1", 0)
	accept(t, j, d)
	wantKind(t, "Archive while a message waits", j.Archive(ctx, "c1", why, at(1)), caxton.Conflict)
	must(t, j.Settle(ctx, Done(Lease(d), "hi")))
	must(t, j.Archive(ctx, "c1", why, at(5)))
	wantKind(t, "Archive twice", j.Archive(ctx, "c1", why, at(6)), caxton.Conflict)
	_, _, err := j.Accept(ctx, Delivery("c1", "m2", 7), true)
	wantKind(t, "Accept into an archived conversation", err, caxton.Conflict)
	wantKind(t, "Append to an archived conversation", j.Append(ctx, record("c1", "m1", caxton.RecordReopened, `{}`)), caxton.Conflict)
	c, err := j.Conversation(ctx, "c1")
	must(t, err)
	if c.State != caxton.ConversationArchived || !c.LastActivity.Equal(at(5)) {
		t.Errorf("Conversation = %+v, want it archived", c)
	}
	rs, err := j.Records(ctx, "c1", 0, 0)
	must(t, err)
	if last := rs[len(rs)-1]; last.Kind != caxton.RecordArchived || len(rs) != 4 {
		t.Errorf("%d records, the last is %s, want 4 and archived", len(rs), last.Kind)
	}
	cs, _, err := j.Conversations(ctx, caxton.ConversationQuery{State: caxton.ConversationArchived})
	must(t, err)
	if len(cs) != 1 {
		t.Errorf("%d archived conversations, want 1", len(cs))
	}
	// An archived log can be brought in elsewhere, and is archived there.
	_, err = j.Import(ctx, renamed(t, rs, "c2"))
	must(t, err)
	_, _, err = j.Accept(ctx, Delivery("c2", "m3", 8), true)
	wantKind(t, "Accept into an imported archived conversation", err, caxton.Conflict)
}

func testConversationFilters(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	for i, conv := range []string{"c1", "c2", "c3"} {
		d := Delivery(conv, "m"+conv, 10*i)
		if conv == "c2" {
			d.Message.Sender = "bob"
		}
		accept(t, j, d)
		must(t, j.Settle(ctx, Done(Lease(d), "hi")))
	}
	tests := []struct {
		name string
		q    caxton.ConversationQuery
		want string
	}{
		{"participant", caxton.ConversationQuery{Participant: "bob"}, "c2"},
		{"since", caxton.ConversationQuery{Since: at(10)}, "c3 c2"},
		{"until", caxton.ConversationQuery{Until: at(13)}, "c2 c1"},
		{"begun by", caxton.ConversationQuery{BegunBy: at(10)}, "c2 c1"},
		{"all of it", caxton.ConversationQuery{Participant: "user", Since: at(5), Until: at(60)}, "c3"},
	}
	for _, tt := range tests {
		cs, _, err := j.Conversations(ctx, tt.q)
		must(t, err)
		var ids []string
		for _, c := range cs {
			ids = append(ids, string(c.ID))
		}
		if got := strings.Join(ids, " "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func testSearch(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	say := func(conv, id string, second int, sender, text string) {
		d := Delivery(conv, id, second)
		d.Message.Sender, d.Message.Content = sender, caxton.TextContent(text)
		accept(t, j, d)
		must(t, j.Settle(ctx, Done(Lease(d), "indeed")))
	}
	say("c1", "m1", 0, "ann", `Where is the "red" fox?`)
	say("c1", "m2", 10, "ann", "It sleeps.")
	say("c2", "m3", 20, "bob", "A fox and a hare")
	d := Delivery("c3", "m4", 30)
	d.Message.Content = json.RawMessage(`{"order":{"what":"hare"}}`)
	accept(t, j, d)
	say("c4", "m5", 40, "ann", "foxes everywhere")
	must(t, j.Archive(ctx, "c4", caxton.ArchivedBody{By: "ann"}, at(50)))
	tests := []struct {
		name string
		q    caxton.MatchQuery
		want string
	}{
		{"one word", caxton.MatchQuery{Text: "FOX"}, "m1 m3"},
		{"all words", caxton.MatchQuery{Text: "hare fox"}, "m3"},
		{"a beginning", caxton.MatchQuery{Text: "fox*"}, "m1 m3 m5"},
		{"a word of JSON", caxton.MatchQuery{Text: "hare", State: caxton.ConversationActive}, "m4"},
		{"no such word", caxton.MatchQuery{Text: "owl"}, ""},
		{"by participant", caxton.MatchQuery{Text: "fox", Participant: "bob"}, "m3"},
		{"by conversation", caxton.MatchQuery{Text: "fox", ConversationID: "c1"}, "m1"},
		{"by agent", caxton.MatchQuery{Text: "fox", Agent: "a2"}, ""},
		{"by state", caxton.MatchQuery{Text: "fox*", State: caxton.ConversationArchived}, "m5"},
		{"idle", caxton.MatchQuery{Text: "fox*", State: caxton.ConversationIdle}, "m1 m3"},
		{"since", caxton.MatchQuery{Text: "fox", Since: at(15)}, "m3"},
		{"until", caxton.MatchQuery{Text: "fox", Until: at(15)}, "m1"},
		{"operators are words", caxton.MatchQuery{Text: "fox AND NOT"}, ""},
	}
	for _, tt := range tests {
		ms, next, err := j.Search(ctx, tt.q)
		must(t, err)
		var ids []string
		for _, m := range ms {
			ids = append(ids, string(m.MessageID))
		}
		slices.Sort(ids) // which is best is the journal's affair
		if got := strings.Join(ids, " "); got != tt.want || next != "" {
			t.Errorf("%s: found %q, want %q", tt.name, got, tt.want)
		}
	}
	ms, _, err := j.Search(ctx, caxton.MatchQuery{Text: "red"})
	must(t, err)
	if len(ms) != 1 || ms[0].Snippet != `Where is the "[red]" fox?` || ms[0].Sender != "ann" || ms[0].Seq != 1 || !ms[0].At.Equal(at(0)) {
		t.Errorf("match %+v", ms)
	}
	seen := 0
	cursor := ""
	for range 5 {
		ms, next, err := j.Search(ctx, caxton.MatchQuery{Text: "fox*", Limit: 2, Before: cursor})
		must(t, err)
		seen += len(ms)
		if cursor = next; next == "" {
			break
		}
	}
	if seen != 3 {
		t.Errorf("%d matches over all pages, want 3", seen)
	}
	_, _, err = j.Search(ctx, caxton.MatchQuery{Text: " * "})
	wantKind(t, "search for nothing", err, caxton.Invalid)
	rs, err := j.Records(ctx, "c2", 0, 0)
	must(t, err)
	_, err = j.Import(ctx, renamed(t, rs, "c9"))
	must(t, err)
	ms, _, err = j.Search(ctx, caxton.MatchQuery{Text: "hare", ConversationID: "c9"})
	must(t, err)
	if len(ms) != 1 {
		t.Errorf("%d matches in an imported conversation, want 1", len(ms))
	}
}
