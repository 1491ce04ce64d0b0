package datadir_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/datadir"
)

// TestResolve tries every directory that the guides' samples name, on a disk that is only
// told about.
func TestResolve(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the paths are those of Unix")
	}
	type disk = map[string]datadir.Access // what is not in it can be made
	none, readable, writable := datadir.None, datadir.Readable, datadir.Writable
	tests := []struct {
		name   string
		paths  datadir.Paths
		disk   disk
		home   string
		data   string
		agents string
		state  string
	}{
		{
			"caxton-minimal.yaml",
			datadir.Paths{DataDir: "/var/lib/caxton", Agents: "/var/lib/caxton/agents", Memory: "memory.db"},
			nil,
			"/var/lib/caxton", "/var/lib/caxton/data", "/var/lib/caxton/agents", "/var/lib/caxton/data/caxton.db",
		},
		{
			"k8s-configmap.yaml",
			datadir.Paths{DataDir: "/var/lib/caxton"},
			nil,
			"/var/lib/caxton", "/var/lib/caxton/data", "/var/lib/caxton/agents", "/var/lib/caxton/data/caxton.db",
		},
		{
			"runbook-production.yaml",
			datadir.Paths{DataDir: "/var/lib/caxton/data", Agents: "/var/lib/caxton/agents", Memory: "memory.db"},
			nil,
			"/var/lib/caxton", "/var/lib/caxton/data", "/var/lib/caxton/agents", "/var/lib/caxton/data/caxton.db",
		},
		{
			"production.toml",
			datadir.Paths{State: "/opt/caxton/data/local.db"},
			nil,
			"/opt/caxton", "/opt/caxton/data", "/opt/caxton/agents", "/opt/caxton/data/local.db",
		},
		{
			"production.toml below the unit",
			datadir.Paths{State: "/opt/caxton/data/local.db"},
			disk{"/opt/caxton/agents": none},
			"/opt/caxton", "/opt/caxton/data", "/opt/caxton/data/agents", "/opt/caxton/data/local.db",
		},
		{
			"production-configmap.toml",
			datadir.Paths{State: "/data/local.db"},
			nil,
			"/data", "/data", "/data/agents", "/data/local.db",
		},
		{
			"container with /data",
			datadir.Paths{DataDir: "/data/"},
			nil,
			"/data", "/data", "/data/agents", "/data/caxton.db",
		},
		{
			"first steps of the runbook",
			datadir.Paths{DataDir: "./data", Agents: "./agents"},
			nil,
			"/w", "/w/data", "/w/agents", "/w/data/caxton.db",
		},
		{
			"start of the runbook",
			datadir.Paths{DataDir: "./data"},
			nil,
			"/w", "/w/data", "/w/agents", "/w/data/caxton.db",
		},
		{
			"nothing said, as the system's user",
			datadir.Paths{},
			nil,
			"/var/lib/caxton", "/var/lib/caxton/data", "/var/lib/caxton/agents", "/var/lib/caxton/data/caxton.db",
		},
		{
			"nothing said, as anybody",
			datadir.Paths{},
			disk{"/var/lib/caxton": none},
			"/w", "/w/data", "/w/agents", "/w/data/caxton.db",
		},
		{
			"nothing said, somebody else's there",
			datadir.Paths{},
			disk{"/var/lib/caxton": readable},
			"/w", "/w/data", "/w/agents", "/w/data/caxton.db",
		},
		{
			"nothing said, init was here",
			datadir.Paths{},
			disk{"/w/data/FORMAT": writable, "/var/lib/caxton": writable},
			"/w", "/w/data", "/w/agents", "/w/data/caxton.db",
		},
		{
			"state beside the rest",
			datadir.Paths{State: "local.db"},
			nil,
			"/var/lib/caxton", "/var/lib/caxton/data", "/var/lib/caxton/agents", "/var/lib/caxton/data/local.db",
		},
		{
			"agents that may only be read",
			datadir.Paths{DataDir: "/var/lib/caxton"},
			disk{"/var/lib/caxton/agents": readable},
			"/var/lib/caxton", "/var/lib/caxton/data", "/var/lib/caxton/agents", "/var/lib/caxton/data/caxton.db",
		},
		{
			"another name",
			datadir.Paths{DataDir: "store"},
			nil,
			"/w/store", "/w/store/data", "/w/store/agents", "/w/store/data/caxton.db",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.paths.Dir = "/w"
			l := datadir.Resolve(tt.paths, func(path string) datadir.Access {
				if a, ok := tt.disk[path]; ok {
					return a
				}
				return datadir.Creatable
			})
			got := datadir.Layout{Home: l.Home, Data: l.Data, Agents: l.Agents, Database: l.Database, Warnings: l.Warnings}
			want := datadir.Layout{Home: tt.home, Data: tt.data, Agents: tt.agents, Database: tt.state}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Resolve(%+v) differs (-want +got):\n%s", tt.paths, diff)
			}
		})
	}
	t.Run("all of it", func(t *testing.T) {
		got := datadir.Resolve(datadir.Paths{DataDir: "/d", Dir: "/w"}, func(string) datadir.Access { return datadir.Creatable })
		want := datadir.Layout{
			Home: "/d", Data: "/d/data", Database: "/d/data/caxton.db", Memory: "/d/data/memory.db", Modules: "/d/data/modules",
			Cache: "/d/data/cache", Backups: "/d/data/backups", Files: "/d/data/files", Models: "/d/models", Agents: "/d/agents",
			Socket: "/d/data/caxton.sock", Lock: "/d/data/LOCK", Format: "/d/data/FORMAT",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Resolve differs (-want +got):\n%s", diff)
		}
	})
	t.Run("all of it said", func(t *testing.T) {
		got := datadir.Resolve(datadir.Paths{
			DataDir: "/d/data", Agents: "a", Socket: "/run/c.sock", State: "s.db", Memory: "/m.db", Files: "f", Backups: "/b", Dir: "/w",
		}, func(string) datadir.Access { return datadir.None })
		want := datadir.Layout{
			Home: "/d", Data: "/d/data", Database: "/d/data/s.db", Memory: "/m.db", Modules: "/d/data/modules",
			Cache: "/d/data/cache", Backups: "/b", Files: "/w/f", Models: "/d/models", Agents: "/w/a",
			Socket: "/run/c.sock", Lock: "/d/data/LOCK", Format: "/d/data/FORMAT",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Resolve differs (-want +got):\n%s", diff)
		}
	})
	t.Run("a socket with a long path", func(t *testing.T) {
		long := "/" + strings.Repeat("d", 91) // with /data/caxton.sock 109 bytes
		l := datadir.Resolve(datadir.Paths{DataDir: long}, func(string) datadir.Access { return datadir.Creatable })
		if l.Socket != "" || len(l.Warnings) != 1 || !strings.Contains(l.Warnings[0], "server.socket") {
			t.Errorf("Resolve: socket %q, warnings %q; want none and one", l.Socket, l.Warnings)
		}
	})
}

func TestProbe(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		want       datadir.Access
	}{
		{"directory", dir, datadir.Writable},
		{"file", file, datadir.Writable},
		{"missing", filepath.Join(dir, "a", "b"), datadir.Creatable},
		{"below a file", filepath.Join(file, "a"), datadir.None},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := datadir.Probe(tt.path); got != tt.want {
				t.Errorf("Probe(%s) = %d, want %d", tt.path, got, tt.want)
			}
		})
	}
}

// TestLocateRemembers is init with a directory for agents, and a start that is not told it.
func TestLocateRemembers(t *testing.T) {
	tests := []struct {
		name, agents string // below the directory of the test
		kept         string // in the marker; "" for the absolute path
		moved        bool   // whether it moves with the data
	}{
		{"beside the data", "w/agents", "../agents", true},
		{"below the data", "w/data/mine", "mine", true},
		{"elsewhere", "x/agents", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			agents := filepath.Join(dir, filepath.FromSlash(tt.agents))
			p := datadir.Paths{DataDir: "data", Agents: agents, Dir: filepath.Join(dir, "w")}
			d := open(t, locate(t, p))
			if err := d.Remember(agents); err != nil {
				t.Fatal(err)
			}
			if err := d.Remember(agents); err != nil { // again
				t.Fatal(err)
			}
			kept := tt.kept
			if kept == "" {
				kept = agents
			}
			if got := d.Format().AgentsDir; got != kept {
				t.Errorf("the marker remembers %q, want %q", got, kept)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if err := d.Remember("/y"); caxton.KindOf(err) != caxton.Unavailable {
				t.Errorf("Remember after Close: %v, want Unavailable", err)
			}
			p.Agents = ""
			if got := locate(t, p).Agents; got != agents {
				t.Errorf("Locate finds agents at %s, want %s", got, agents)
			}
			p.Agents = "other"
			if got, want := locate(t, p).Agents, filepath.Join(dir, "w", "other"); got != want {
				t.Errorf("Locate finds agents at %s, want %s", got, want)
			}
			if err := os.Rename(filepath.Join(dir, "w"), filepath.Join(dir, "v")); err != nil {
				t.Fatal(err)
			}
			want := agents
			if tt.moved {
				want = filepath.Join(dir, "v", strings.TrimPrefix(filepath.FromSlash(tt.agents), "w"))
			}
			if got := locate(t, datadir.Paths{DataDir: "data", Dir: filepath.Join(dir, "v")}).Agents; got != want {
				t.Errorf("Locate finds agents at %s after a move, want %s", got, want)
			}
		})
	}
}

func locate(t *testing.T, p datadir.Paths) datadir.Layout {
	t.Helper()
	l, err := datadir.Locate(p)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func open(t *testing.T, l datadir.Layout) *datadir.Dir {
	t.Helper()
	d, err := datadir.Open(t.Context(), l, datadir.Holder{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestReadFormat(t *testing.T) {
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		name, text string
		want       datadir.Format
		kind       caxton.Kind
	}{
		{"good", `{"version": 1, "instance": "i", "agents_dir": "a", "created_at": "2026-01-02T03:04:05Z"}`, datadir.Format{Version: 1, Instance: "i", AgentsDir: "a", CreatedAt: created}, ""},
		{"with more than we know", `{"version": 1, "instance": "i", "colour": "red"}`, datadir.Format{Version: 1, Instance: "i"}, ""},
		{"newer", `{"version": 2}`, datadir.Format{}, caxton.Conflict},
		{"no version", `{}`, datadir.Format{}, caxton.Malformed},
		{"empty", ``, datadir.Format{}, caxton.Malformed},
		{"cut off", `{"version": 1, "inst`, datadir.Format{}, caxton.Malformed},
		{"something else", `hello`, datadir.Format{}, caxton.Malformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := locate(t, datadir.Paths{DataDir: t.TempDir()})
			if err := os.Mkdir(l.Data, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(l.Format, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, ok, err := datadir.ReadFormat(l.Format)
			if kind := caxton.KindOf(err); kind != tt.kind || ok != (kind == "") {
				t.Fatalf("ReadFormat: %v, kind %q (%v), want %q", ok, kind, err, tt.kind)
			}
			if diff := cmp.Diff(tt.want, got); err == nil && diff != "" {
				t.Errorf("ReadFormat differs (-want +got):\n%s", diff)
			}
			// Whoever opens or locates the directory is told the same.
			d, err := datadir.Open(t.Context(), l, datadir.Holder{})
			if kind := caxton.KindOf(err); kind != tt.kind {
				t.Errorf("Open: kind %q (%v), want %q", kind, err, tt.kind)
			}
			if err == nil {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}
			if _, held, err := datadir.ReadLock(l.Lock); held || err != nil {
				t.Errorf("ReadLock: %v, %v; want the lock free", held, err)
			}
			if _, err := datadir.Locate(datadir.Paths{DataDir: l.Home}); caxton.KindOf(err) != tt.kind {
				t.Errorf("Locate: %v, want %q", err, tt.kind)
			}
			if text, err := os.ReadFile(l.Format); err != nil || string(text) != tt.text {
				t.Errorf("the marker was changed to %q (%v)", text, err)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		if _, ok, err := datadir.ReadFormat(filepath.Join(t.TempDir(), "FORMAT")); ok || err != nil {
			t.Errorf("ReadFormat of nothing = %v, %v", ok, err)
		}
	})
	t.Run("a directory", func(t *testing.T) {
		var e *caxton.Error
		if _, _, err := datadir.ReadFormat(t.TempDir()); !errors.As(err, &e) || e.Hint == "" {
			t.Errorf("ReadFormat of a directory: %v, want an Error with a hint", err)
		}
	})
	t.Run("written", func(t *testing.T) {
		l := locate(t, datadir.Paths{DataDir: t.TempDir()})
		d := open(t, l)
		text, err := os.ReadFile(l.Format)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil || m["version"] != 1.0 || len(m["instance"].(string)) != 36 {
			t.Errorf("FORMAT is %s (%v)", text, err)
		}
		if d.Format().Instance != m["instance"] {
			t.Errorf("Format = %+v, the file says %s", d.Format(), text)
		}
	})
}
