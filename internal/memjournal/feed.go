package memjournal

import (
	"cmp"
	"context"
	"slices"

	"github.com/caxton/caxton"
)

// Position returns the position of the last record in the log of the server.
func (j *Journal) Position(context.Context) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.position, nil
}

// RecordsSince returns the records of all conversations after position n, in order. See
// sqlite.DB.RecordsSince.
func (j *Journal) RecordsSince(_ context.Context, n int64, limit int) ([]caxton.Record, error) {
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if n >= j.position {
		return nil, nil
	}
	var found []place
	for _, c := range j.convs {
		for i := len(c.log) - 1; i >= 0 && c.log[i].n > n; i-- {
			found = append(found, place{c, i})
		}
	}
	slices.SortFunc(found, func(a, b place) int { return cmp.Compare(a.conv.log[a.pos].n, b.conv.log[b.pos].n) })
	rs := make([]caxton.Record, 0, min(len(found), limit))
	for _, p := range found[:min(len(found), limit)] {
		r, err := p.conv.record(p.pos)
		if err != nil {
			return nil, err
		}
		rs = append(rs, r)
	}
	return rs, nil
}
