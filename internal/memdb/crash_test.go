package memdb_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memdb"
	"github.com/caxton/caxton/internal/memory"
)

// writerEnv names the file that a child of the crash test writes.
const writerEnv = "CAXTON_TEST_MEMORY_WRITER"

// TestWriter is the child of TestCrash: it remembers, embeds, changes and reverts, and tells what was
// acknowledged, until it is killed.
func TestWriter(t *testing.T) {
	path := os.Getenv(writerEnv)
	if path == "" {
		t.Skip("the crash test runs it")
	}
	ctx := t.Context()
	db := run(t, memdb.Config{Path: path, CheckpointInterval: 5 * time.Millisecond, WALSize: 1 << 20})
	all := memory.Access{All: true}
	c := newCorpus(uint64(time.Now().UnixNano()))
	unit := make([]float32, 384)
	unit[0] = 1
	for i := 0; ; i++ {
		conversation := fmt.Sprint("c", c.r.IntN(20))
		var memos []memory.Memo
		for j := range 1 + c.r.IntN(5) {
			memos = append(memos, memory.Memo{
				Scope: caxton.Scope{Kind: caxton.AgentScope, Owner: fmt.Sprint("a", c.r.IntN(3))}, Name: fmt.Sprintf("%d-%d-%d", os.Getpid(), i, j),
				Notes: []memory.Note{{Text: c.text(5, 20), Key: "k"}, {Text: c.text(5, 20), Key: "k"}},
			})
		}
		rs, err := db.Remember(ctx, all, memos, caxton.Provenance{ConversationID: caxton.ConversationID(conversation)})
		if err != nil {
			t.Fatal(err)
		}
		var vectors []memory.Vector
		for _, r := range rs {
			fmt.Println("entity", int64(r.Entity.ID))
			vectors = append(vectors, memory.Vector{ID: caxton.MemoryID(r.Observations[1].ID), Unit: unit})
		}
		if err := db.PutVectors(ctx, "m", vectors); err != nil {
			t.Fatal(err)
		}
		for _, v := range vectors {
			fmt.Println("vector", int64(v.ID))
		}
		switch c.r.IntN(10) {
		case 0:
			_, err = db.Revert(ctx, all, memory.Reversal{ConversationID: caxton.ConversationID(conversation)})
		case 1:
			_, err = db.Forget(ctx, all, memory.Forgetting{Observations: []caxton.ObservationID{rs[0].Observations[1].ID}})
		case 2:
			mark, merr := db.Mark(ctx)
			if merr != nil {
				t.Fatal(merr)
			}
			err = db.SaveSegments(ctx, "m", mark, func(yield func(uint32, []byte) bool) { yield(0, make([]byte, 20_000)) })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestCrash kills a writing process again and again. Nothing acknowledged is lost, and the file is whole.
func TestCrash(t *testing.T) {
	kills := 12
	switch {
	case os.Getenv("CAXTON_SOAK") != "":
		kills = 200
	case testing.Short():
		t.Skip("kills processes for a while")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "memory.db")
	acknowledged := map[string][]int64{}
	for i := range kills {
		child := exec.Command(exe, "-test.run", "^TestWriter$")
		child.Env = append(os.Environ(), writerEnv+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		least, lines := 20+rand.IntN(400), bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			kind, id, ok := strings.Cut(lines.Text(), " ")
			number, err := strconv.ParseInt(id, 10, 64)
			if !ok || err != nil {
				t.Errorf("the writer says %q", lines.Text()) // a failure of it; a line cut off by the kill is no number of 18 digits
				continue
			}
			if len(id) >= 18 {
				acknowledged[kind] = append(acknowledged[kind], number)
			}
			if n == least {
				_ = child.Process.Kill()
			}
		}
		_ = child.Wait()
		if i%10 == 9 || i == kills-1 {
			checkCrashed(t, path, acknowledged)
		}
	}
	t.Logf("%d kills, %d entities and %d vectors acknowledged", kills, len(acknowledged["entity"]), len(acknowledged["vector"]))
}

func checkCrashed(t *testing.T, path string, acknowledged map[string][]int64) {
	t.Helper()
	ctx := context.Background()
	db, err := memdb.Open(ctx, memdb.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	faults, err := db.Check(ctx, true)
	if err != nil || len(faults) > 0 {
		t.Fatalf("Check = %q, %v", faults, err)
	}
	there := map[int64]bool{}
	err = db.Export(ctx, memory.Access{All: true}, memory.Filter{}, true, func(e caxton.Entity) error {
		there[int64(e.ID)] = true
		return nil
	}, func(caxton.Relation) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range acknowledged["entity"] {
		if !there[id] {
			t.Fatalf("entity %d was acknowledged and is lost", id)
		}
	}
	vectors := map[int64]bool{}
	if _, err := db.Changes(ctx, "m", 0, func(v memory.Vector) error {
		vectors[int64(v.ID)] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, id := range acknowledged["vector"] {
		if !vectors[id] {
			t.Fatalf("vector of %d was acknowledged and is lost", id)
		}
	}
	if mark, err := db.Load(ctx, "m", func(uint32, []byte) error { return nil }, func(memory.Vector) error { return nil }); err != nil || mark == 0 {
		t.Fatalf("Load = %d, %v", mark, err)
	}
}
