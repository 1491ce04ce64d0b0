package memjournal_test

import (
	"fmt"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/journaltest"
	"github.com/caxton/caxton/internal/memjournal"
)

func TestJournal(t *testing.T) {
	journaltest.TestJournal(t, func(*testing.T) journaltest.Journal { return memjournal.New(memjournal.Config{}) })
}

func TestJournalForgetsQuietConversations(t *testing.T) {
	j := memjournal.New(memjournal.Config{MaxConversations: 10})
	for i := range 100 {
		d := journaltest.Delivery(fmt.Sprintf("c%d", i), fmt.Sprintf("m%d", i), i%60)
		if _, _, err := j.Accept(t.Context(), d, true); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			continue // stays pending, and so must stay
		}
		if err := j.Settle(t.Context(), journaltest.Done(journaltest.Lease(d), "hi")); err != nil {
			t.Fatal(err)
		}
	}
	cs, _, err := j.Conversations(t.Context(), caxton.ConversationQuery{Limit: 200})
	if err != nil || len(cs) > 10 {
		t.Errorf("%d conversations, %v, want at most 10", len(cs), err)
	}
	if ds, _ := j.Pending(t.Context()); len(ds) != 1 {
		t.Errorf("%d pending, want the one that was never settled", len(ds))
	}
}
