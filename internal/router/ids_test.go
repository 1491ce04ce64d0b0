package router_test

import (
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/router"
	"github.com/google/uuid"
)

// IDs are UUIDs of version 7 of their time, each above the one before, and no two are alike.
func TestIDs(t *testing.T) {
	next := router.NewIDs()
	const makers, each = 4, 5000
	made := make([][]string, makers)
	begin := time.Now().Truncate(time.Millisecond)
	var wg sync.WaitGroup
	for i := range makers {
		wg.Go(func() {
			for range each {
				made[i] = append(made[i], next())
			}
		})
	}
	wg.Wait()
	end := time.Now().Add(time.Second) // they may run ahead of the clock a little
	seen, tails := map[string]bool{}, map[string]bool{}
	for _, ids := range made {
		last := ""
		for _, id := range ids {
			u, err := uuid.Parse(id)
			if err != nil || u.Version() != 7 || u.Variant() != uuid.RFC4122 || u.String() != id || !caxton.MessageID(id).TimeOrdered() {
				t.Fatalf("%s is no UUID of version 7: %v", id, err)
			}
			if at := time.Unix(u.Time().UnixTime()); at.Before(begin) || at.After(end) {
				t.Errorf("%s is of %v, not between %v and %v", id, at, begin, end)
			}
			if id <= last || seen[id] {
				t.Fatalf("%s comes after %s, seen before: %t", id, last, seen[id])
			}
			last, seen[id], tails[id[19:]] = id, true, true
		}
	}
	if len(tails) < makers*each {
		t.Errorf("%d random parts of %d", len(tails), makers*each)
	}
}
