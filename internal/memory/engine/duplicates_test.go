package engine_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory/engine"
)

func TestDuplicates(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "memory.db"))
	defer db.Close()
	e, stop := over(t, db, &bag{}, engine.Config{})
	defer stop()
	remember(t, e,
		memo(global(), "ACME Corporation", "company", "sells anvils"), memo(global(), "acme-corporation", "firm", "was founded in 1950"),
		memo(global(), "ACME Corporatoin", "company", "has a long desert"), memo(agent("a"), "Acme Corporation", "company", "is far"),
		memo(global(), "Room 101", "place", "is small"), memo(global(), "Room 102", "place", "is small"),
		memo(global(), "Robert Miller", "person", "Bob repairs the old bridge near the mill every spring"),
		memo(global(), "Bobby", "person", "Bob repairs the old bridge near the mill every spring"),
		memo(global(), "Carla", "person", "lives in Rome"), memo(global(), "Dora", "person", "lives in Rome"),
		memo(global(), "turn 1", caxton.EpisodeType, "x"), memo(global(), "turn-1", caxton.EpisodeType, "x"),
	)
	ds, err := e.Duplicates(t.Context(), all(), 0.85, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, d := range ds {
		if d.A.Scope != d.B.Scope || d.Why == "" || i > 0 && d.Score > ds[i-1].Score {
			t.Errorf("pair %d: %+v", i, d)
		}
		names := []string{d.A.Name, d.B.Name}
		slices.Sort(names)
		got = append(got, names[0]+"="+names[1])
	}
	slices.Sort(got)
	want := []string{"ACME Corporation=ACME Corporatoin", "ACME Corporation=acme-corporation", "ACME Corporatoin=acme-corporation", "Bobby=Robert Miller"}
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("Duplicates() = %q, want %q", got, want)
	}
	if _, err := e.Duplicates(t.Context(), all(), 1.5, 0); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("a threshold of 1.5: %v", err)
	}
}
