package journaltest

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
)

// testSince reads the log of the server in pages, while several write.
func testSince(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	start, err := j.Position(ctx)
	must(t, err)
	var wg sync.WaitGroup
	const writers, messages = 4, 30
	for w := range writers {
		wg.Go(func() {
			for i := range messages {
				d := Delivery(fmt.Sprintf("c%d-%d", w, i%7), fmt.Sprintf("m%d-%d", w, i), i)
				if _, _, err := j.Accept(ctx, d, true); err != nil {
					t.Error(err)
				}
				if err := j.Settle(ctx, Done(Lease(d), "hi")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	const want = writers * messages * 3
	n := start
	next := map[caxton.ConversationID]int64{}
	got := 0
	read := func() bool {
		rs, err := j.RecordsSince(ctx, n, 50)
		must(t, err)
		for _, r := range rs {
			if next[r.ConversationID]++; r.N <= n || r.Seq != next[r.ConversationID] {
				t.Fatalf("record %s/%d at %d comes after %d, want seq %d", r.ConversationID, r.Seq, r.N, n, next[r.ConversationID])
			}
			n = r.N
		}
		got += len(rs)
		return len(rs) > 0
	}
	for got < want/2 {
		read()
	}
	wg.Wait()
	for read() {
		if got > want {
			break
		}
	}
	if got != want {
		t.Errorf("%d records, want %d", got, want)
	}
	if end, err := j.Position(ctx); err != nil || end < n {
		t.Errorf("Position = %d, %v, want %d at least", end, err, n)
	}
}

// testSinceQuiet has a record come in a conversation that was quiet for long.
func testSinceQuiet(t *testing.T, j Journal) {
	t.Helper()
	ctx := t.Context()
	old, fresh := Delivery("old", "m1", 0), Delivery("fresh", "m2", 0)
	accept(t, j, old)
	fresh.Message.CreatedAt = at(0).Add(time.Hour)
	accept(t, j, fresh)
	all, err := j.RecordsSince(ctx, 0, 0)
	must(t, err)
	if len(all) != 2 || all[1].ConversationID != "fresh" {
		t.Fatalf("RecordsSince the beginning = %+v, want both messages", all)
	}
	n, when := all[1].N, all[1].At
	late := caxton.Record{ConversationID: "old", At: when.Add(-time.Second), Kind: caxton.RecordModelCalled, MessageID: "m1", Body: json.RawMessage(`{}`)}
	must(t, j.Append(ctx, late))
	rs, err := j.RecordsSince(ctx, n, 0)
	must(t, err)
	if i := slices.IndexFunc(rs, func(r caxton.Record) bool { return r.Kind == caxton.RecordModelCalled }); i != 0 || len(rs) != 1 {
		t.Errorf("RecordsSince = %+v, want the one in the old conversation, a little older than the last", rs)
	}
	if rs, err = j.RecordsSince(ctx, rs[0].N, 0); err != nil || len(rs) != 0 {
		t.Errorf("RecordsSince the end = %+v, %v, want none", rs, err)
	}
}
