package engine_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
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

func TestMerge(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "memory.db"))
	defer db.Close()
	e, stop := over(t, db, &bag{}, engine.Config{})
	defer stop()
	bob := memo(global(), "Bob", "person", "sings")
	bob.Notes = append(bob.Notes, memory.Note{Text: "lives in Rome", Key: "address"})
	robert := memo(global(), "Robert", "person", "dances")
	robert.Notes = append(robert.Notes, memory.Note{Text: "lived in Bonn", Key: "address"})
	w := remember(t, e, bob, robert, memo(global(), "Ann", "person"), memo(agent("a"), "Rob", "person"))
	ids := make([]caxton.EntityID, 4)
	for i := range ids {
		ids[i] = w.Remembered[i].Entity.ID
	}
	remember(t, e, memory.Memo{ID: ids[1], Links: []memory.Link{{ToID: ids[2], Type: "knows"}, {ToID: ids[0], Type: "is"}}}, memory.Memo{ID: ids[2], Links: []memory.Link{{ToID: ids[1], Type: "likes"}}})
	if _, err := e.Merge(t.Context(), all(), ids[0], ids[3], caxton.Provenance{}); caxton.KindOf(err) != caxton.Conflict {
		t.Errorf("Merge() over scopes: %v", err)
	}
	if _, err := e.Merge(t.Context(), all(), ids[0], ids[0], caxton.Provenance{}); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("Merge() with itself: %v", err)
	}
	if _, err := e.Merge(t.Context(), all(), ids[0], ids[1], caxton.Provenance{By: "cli"}); err != nil {
		t.Fatal(err)
	}
	en, err := e.Entity(t.Context(), all(), ids[0], memory.AsOf{})
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, o := range en.Observations {
		texts[o.Text] = o.Provenance.By
	}
	if len(texts) != 4 || texts["dances"] != "test" || texts["lives in Rome"] == "" {
		t.Errorf("kept %v", texts)
	}
	if _, err := e.Entity(t.Context(), all(), ids[1], memory.AsOf{}); caxton.KindOf(err) != caxton.NotFound {
		t.Errorf("the merged is still there: %v", err)
	}
	g, err := e.Neighbours(t.Context(), all(), ids[0], memory.Both, nil, 0, 0)
	if err != nil || len(g.Nodes) != 2 || len(g.Edges) != 2 {
		t.Errorf("Neighbours() = %+v, %v, want Ann, known and liking", g, err)
	}
	healthy(t, e)
}
