package sqlite_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/caxton/caxton/internal/journaltest"
	"github.com/caxton/caxton/internal/sqlite"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
	"pgregory.net/rapid"
)

// A disk counts what is done to it.
type disk struct {
	vfsutil.SliceFile
	writes, syncs int
	full          bool
}

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	if d.full {
		return 0, errors.New("disk full")
	}
	d.writes++
	return d.SliceFile.WriteAt(p, off)
}

func (d *disk) Sync(vfs.SyncFlag) error { d.syncs++; return nil }

func write(t *testing.T, f vfs.File, off int64, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if _, err := f.WriteAt([]byte(s), off); err != nil {
			t.Fatalf("WriteAt(%q, %d): %v", s, off, err)
		}
		off += int64(len(s))
	}
}

func TestWALGathers(t *testing.T) {
	tests := []struct {
		name          string
		commitSync    bool
		flags         vfs.SyncFlag
		writes, syncs int
	}{
		{"a commit that need not reach the disk", false, vfs.SYNC_NORMAL, 1, 0},
		{"a commit that must", true, vfs.SYNC_NORMAL, 1, 1},
		{"a checkpoint or a new log", false, vfs.SYNC_FULL, 1, 1},
		{"data only", false, vfs.SYNC_FULL | vfs.SYNC_DATAONLY, 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := &disk{}
			f := sqlite.GatherWAL(d, tt.commitSync)
			write(t, f, 0, "head", "page", "head", "page")
			if d.writes != 0 {
				t.Errorf("%d writes before the sync, want 0", d.writes)
			}
			if err := f.Sync(tt.flags); err != nil {
				t.Fatal(err)
			}
			if d.writes != tt.writes || d.syncs != tt.syncs {
				t.Errorf("%d writes, %d syncs, want %d, %d", d.writes, d.syncs, tt.writes, tt.syncs)
			}
			if got := string(d.SliceFile); got != "headpageheadpage" {
				t.Errorf("the log has %q", got)
			}
		})
	}
}

// A write that fails is told when the log is synced, and nothing of it comes later.
func TestWALFullDisk(t *testing.T) {
	d := &disk{full: true}
	f := sqlite.GatherWAL(d, true)
	write(t, f, 0, "lost")
	if err := f.Sync(vfs.SYNC_NORMAL); err == nil {
		t.Error("Sync gave no error")
	}
	d.full = false
	write(t, f, 0, "kept")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := string(d.SliceFile); got != "kept" {
		t.Errorf("the log has %q, want %q", got, "kept")
	}
}

// Whatever is written, read, cut and synced in whatever order: the gathered log reads like
// one that gathers nothing.
func TestWALReadsAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, plain := &disk{}, &vfsutil.SliceFile{}
		f := sqlite.GatherWAL(d, false)
		at := int64(0)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				p := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "bytes")
				for _, w := range []vfs.File{f, plain} {
					if _, err := w.WriteAt(p, at); err != nil {
						t.Fatal(err)
					}
				}
				at += int64(len(p))
			},
			"move": func(t *rapid.T) { at = rapid.Int64Range(0, 200).Draw(t, "offset") },
			"sync": func(t *rapid.T) {
				if err := f.Sync(vfs.SYNC_NORMAL); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(d.SliceFile, *plain) {
					t.Fatalf("after a sync the file has %x, want %x", []byte(d.SliceFile), []byte(*plain))
				}
			},
			"cut": func(t *rapid.T) {
				size := rapid.Int64Range(0, 200).Draw(t, "size")
				if err := errors.Join(f.Truncate(size), plain.Truncate(size)); err != nil {
					t.Fatal(err)
				}
			},
			"read": func(t *rapid.T) {
				off := rapid.Int64Range(0, 200).Draw(t, "offset")
				got, want := make([]byte, 30), make([]byte, 30)
				n, _ := f.ReadAt(got, off)
				m, _ := plain.ReadAt(want, off)
				if n != m || !bytes.Equal(got, want) {
					t.Fatalf("ReadAt(%d) = %d %x, want %d %x", off, n, got, m, want)
				}
			},
			"size": func(t *rapid.T) {
				got, err := f.Size()
				if want, _ := plain.Size(); err != nil || got != want {
					t.Fatalf("Size() = %d, %v, want %d", got, err, want)
				}
			},
		})
	})
}

// The log begins anew although writes never pause, and nothing is lost by it.
func TestWALBeginsAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, WALSize: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { _ = db.Run(ctx) })
	messages := 0
	for begun := uint32(0); begun < 3; { // the header of the log counts how often it began
		for range 100 {
			if _, _, err := db.Accept(t.Context(), journaltest.Delivery("c", fmt.Sprintf("m%d", messages), 0), true); err != nil {
				t.Fatal(err)
			}
			messages++
		}
		if messages > 100_000 {
			t.Fatalf("after %d writes the log began anew %d times", messages, begun)
		}
		log, err := os.Open(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		header := make([]byte, 32)
		if _, err := log.ReadAt(header, 0); err != nil {
			t.Fatal(err)
		}
		_ = log.Close()
		begun = binary.BigEndian.Uint32(header[12:])
	}
	cancel()
	wg.Wait()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, _ = open(t, path, sqlite.Normal)
	if ds, err := db.Pending(t.Context()); err != nil || len(ds) != messages {
		t.Errorf("Pending = %d, %v, want %d", len(ds), err, messages)
	}
}
