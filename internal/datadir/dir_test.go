package datadir_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/datadir"
)

// TestMain is also the other process of the tests: with the variable it opens the directory
// that it names, says how that went, and holds it until its input ends.
func TestMain(m *testing.M) {
	dir := os.Getenv("DATADIR_TEST_CHILD")
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := child(dir, os.Stdin, os.Stdout); err != nil {
		os.Exit(1)
	}
}

// A verdict is what the other process says.
type verdict struct {
	Kind     caxton.Kind
	Code     string
	Message  string
	Hint     string
	Instance string
	PID      int
}

func child(dir string, in io.Reader, out io.Writer) error {
	v := verdict{PID: os.Getpid()}
	l, err := datadir.Locate(datadir.Paths{DataDir: dir})
	var d *datadir.Dir
	if err == nil {
		d, err = datadir.Open(context.Background(), l, datadir.Holder{API: "127.0.0.1:1"})
	}
	var e *caxton.Error
	switch {
	case errors.As(err, &e):
		v.Kind, v.Code, v.Message, v.Hint = e.Kind, e.Code, e.Message, e.Hint
	case err != nil:
		v.Kind, v.Message = caxton.Internal, err.Error()
	default:
		v.Instance = d.Format().Instance
	}
	if err := json.NewEncoder(out).Encode(v); err != nil {
		return err
	}
	if d == nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	return d.Close()
}

// A process is another process that may hold a directory.
type process struct {
	verdict
	cmd   *exec.Cmd
	input io.Closer
}

// start runs another process on dir; adapt may change how.
func start(t *testing.T, dir string, adapt func(*exec.Cmd)) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), "DATADIR_TEST_CHILD="+dir)
	cmd.Stderr = os.Stderr
	if adapt != nil {
		adapt(cmd)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, input: in}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &p.verdict)
	}
	if err != nil {
		t.Fatalf("the other process said %q: %v", line, err)
	}
	return p
}

// end lets the process close its directory and waits for it.
func (p *process) end(t *testing.T) {
	t.Helper()
	if err := errors.Join(p.input.Close(), p.cmd.Wait()); err != nil {
		t.Error(err)
	}
}

func TestLockBetweenProcesses(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir, nil)
	if first.Kind != "" {
		t.Fatalf("the first process: %+v", first.verdict)
	}
	l := locate(t, datadir.Paths{DataDir: dir})
	h, held, err := datadir.ReadLock(l.Lock)
	if err != nil || !held || h.PID != first.PID || h.API != "127.0.0.1:1" || time.Since(h.Started) > time.Hour {
		t.Errorf("ReadLock = %+v, %v, %v; want process %d", h, held, err, first.PID)
	}
	_, err = datadir.Open(t.Context(), l, datadir.Holder{})
	var e *caxton.Error
	if !errors.As(err, &e) || e.Kind != caxton.Conflict || e.Code != "data_dir_locked" || e.Hint == "" {
		t.Fatalf("Open of a held directory: %v, want Conflict", err)
	}
	for _, part := range []string{l.Data, fmt.Sprintf("process %d", first.PID), "127.0.0.1:1"} {
		if !strings.Contains(e.Message, part) {
			t.Errorf("the message %q does not name %q", e.Message, part)
		}
	}
	if second := start(t, dir, nil); second.Code != "data_dir_locked" {
		t.Errorf("a second process: %+v, want data_dir_locked", second.verdict)
	} else {
		second.end(t)
	}
	first.end(t)
	if h, held, err := datadir.ReadLock(l.Lock); held || err != nil || h != (datadir.Holder{}) {
		t.Errorf("ReadLock after the end = %+v, %v, %v", h, held, err)
	}
	d := open(t, l)
	if d.Format().Instance != first.Instance {
		t.Errorf("the instance changed from %s to %s", first.Instance, d.Format().Instance)
	}
}

// TestLockAfterKill holds that a process that dies without a word leaves no lock behind.
func TestLockAfterKill(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, nil)
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait() // it was killed
	l := locate(t, datadir.Paths{DataDir: dir})
	if _, held, err := datadir.ReadLock(l.Lock); held || err != nil {
		t.Errorf("ReadLock = %v, %v after a kill", held, err)
	}
	if d := open(t, l); d.Format().Instance != p.Instance {
		t.Errorf("the instance changed from %s to %s", p.Instance, d.Format().Instance)
	}
}

func TestLockInOneProcess(t *testing.T) {
	l := locate(t, datadir.Paths{DataDir: t.TempDir()})
	if _, held, err := datadir.ReadLock(l.Lock); held || err != nil {
		t.Errorf("ReadLock of nothing = %v, %v", held, err)
	}
	started := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d, err := datadir.Open(t.Context(), l, datadir.Holder{PID: 42, Started: started, API: strings.Repeat("long", 50)})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Announce("127.0.0.1:8080", "/s"); err != nil {
		t.Fatal(err)
	}
	want := datadir.Holder{PID: 42, Started: started, API: "127.0.0.1:8080", Socket: "/s"}
	if h, held, err := datadir.ReadLock(l.Lock); err != nil || !held || h != want {
		t.Errorf("ReadLock = %+v, %v, %v; want %+v", h, held, err, want)
	}
	if text, err := os.ReadFile(l.Lock); err != nil || !json.Valid(text) {
		t.Errorf("LOCK is %q, %v", text, err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := datadir.Open(canceled, l, datadir.Holder{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open while canceled: %v", err)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := d.Announce("", ""); caxton.KindOf(err) != caxton.Unavailable {
		t.Errorf("Announce after Close: %v, want Unavailable", err)
	}
	open(t, l)
}

// TestLockBeginning is a look at a server that has the lock and has written nothing yet.
func TestLockBeginning(t *testing.T) {
	l := locate(t, datadir.Paths{DataDir: t.TempDir()})
	open(t, l)
	for _, text := range []string{"", `{"pid": 1`, "nonsense"} {
		if err := os.WriteFile(l.Lock, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if h, held, err := datadir.ReadLock(l.Lock); err != nil || !held || h != (datadir.Holder{}) {
			t.Errorf("ReadLock with %q = %+v, %v, %v", text, h, held, err)
		}
		if _, err := datadir.Open(t.Context(), l, datadir.Holder{}); caxton.KindOf(err) != caxton.Conflict {
			t.Errorf("Open with %q: %v, want Conflict", text, err)
		}
	}
}

// TestLockedBriefly holds that those who only look do not keep a server out.
func TestLockedBriefly(t *testing.T) {
	l := locate(t, datadir.Paths{DataDir: t.TempDir()})
	if err := open(t, l).Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, _, err := datadir.ReadLock(l.Lock); err != nil {
					t.Error(err)
				}
				runtime.Gosched()
			}
		})
	}
	for range 5 {
		d, err := datadir.Open(t.Context(), l, datadir.Holder{})
		if err != nil {
			t.Errorf("Open: %v", err)
			continue
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	cancel()
	wg.Wait()
}

func TestOpenMakes(t *testing.T) {
	dir := t.TempDir()
	l := locate(t, datadir.Paths{DataDir: filepath.Join(dir, "deep", "er"), State: filepath.Join(dir, "else", "state.db")})
	d := open(t, l)
	if len(d.Warnings) > 0 {
		t.Errorf("warnings: %q", d.Warnings)
	}
	for path, mode := range map[string]fs.FileMode{
		l.Data: 0o755, l.Modules: 0o755, l.Cache: 0o755, l.Files: 0o755, l.Agents: 0o755, l.Backups: 0o700, filepath.Dir(l.Database): 0o755,
	} {
		st, err := os.Stat(path)
		if err != nil || !st.IsDir() || runtime.GOOS != "windows" && st.Mode().Perm()&^mode != 0 {
			t.Errorf("%s: %v, %v; want a directory of mode %v", path, st, err, mode)
		}
	}
	left, err := filepath.Glob(filepath.Join(l.Data, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestOpenInTheWay(t *testing.T) {
	tests := []struct {
		name    string
		file    string // that is in the way
		code    string // of the error, "" for a warning
		warning string
	}{
		{"the data directory", "data", "data_dir_invalid", ""},
		{"the modules", "data/modules", "data_dir_invalid", ""},
		{"the agents", "agents", "", "agent files"},
		{"the backups", "data/backups", "", "backups"},
		{"the lock", "data/LOCK/", "data_dir_invalid", ""},
		{"the marker", "data/FORMAT/", "data_dir_invalid", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			home := t.TempDir()
			path := filepath.Join(home, filepath.FromSlash(tt.file))
			err := os.MkdirAll(filepath.Dir(path), 0o700)
			if err == nil && strings.HasSuffix(tt.file, "/") {
				err = os.MkdirAll(path, 0o700)
			} else if err == nil {
				err = os.WriteFile(path, nil, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			l := datadir.Resolve(datadir.Paths{DataDir: home}, datadir.Probe)
			d, err := datadir.Open(t.Context(), l, datadir.Holder{})
			if tt.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := d.Close(); err != nil {
						t.Error(err)
					}
				}()
				if len(d.Warnings) != 1 || !strings.Contains(d.Warnings[0], tt.warning) {
					t.Errorf("warnings: %q, want one on %s", d.Warnings, tt.warning)
				}
				return
			}
			var e *caxton.Error
			if !errors.As(err, &e) || e.Code != tt.code || e.Hint == "" {
				t.Errorf("Open: %v, want %s", err, tt.code)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	tests := []struct {
		name string
		err  error
		kind caxton.Kind
		code string
	}{
		{"full", syscall.ENOSPC, caxton.Exhausted, "disk_full"},
		{"read-only", syscall.EROFS, caxton.Unavailable, "data_dir_unwritable"},
		{"not allowed", syscall.EACCES, caxton.Unavailable, "data_dir_unwritable"},
		{"a file in the way", syscall.ENOTDIR, caxton.Invalid, "data_dir_invalid"},
		{"anything else", syscall.EIO, caxton.Unavailable, "data_dir_unusable"},
	}
	if runtime.GOOS == "windows" {
		t.Skip("the numbers are those of Unix")
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cause := &fs.PathError{Op: "open", Path: "/p/q", Err: tt.err}
			err := datadir.Explain("open", "/p/q", "/p", cause)
			var e *caxton.Error
			if !errors.As(err, &e) || e.Kind != tt.kind || e.Code != tt.code || e.Hint == "" || !strings.Contains(e.Message, "/p/q") || !errors.Is(err, tt.err) {
				t.Errorf("Explain = %+v", err)
			}
		})
	}
}

func TestAtomicWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, tt := range []struct {
		text string
		mode fs.FileMode
	}{{"one", 0o600}, {"two, longer", 0o644}, {"", 0o600}} {
		if err := datadir.AtomicWrite(path, []byte(tt.text), tt.mode); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != tt.text {
			t.Errorf("the file is %q, %v; want %q", got, err, tt.text)
		}
		if st, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && st.Mode() != tt.mode {
			t.Errorf("the mode is %v, %v; want %v", st.Mode(), err, tt.mode)
		}
	}
	t.Run("no directory", func(t *testing.T) {
		err := datadir.AtomicWrite(filepath.Join(dir, "no", "f"), nil, 0o600)
		if !errors.Is(err, fs.ErrNotExist) || caxton.KindOf(err) != caxton.Unavailable {
			t.Errorf("AtomicWrite: %v", err)
		}
	})
	t.Run("a directory in the way", func(t *testing.T) {
		if err := os.MkdirAll(filepath.Join(dir, "d", "e"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := datadir.AtomicWrite(filepath.Join(dir, "d"), []byte("x"), 0o600); err == nil {
			t.Error("AtomicWrite put a file over a directory")
		}
	})
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{"d", "f"}, names); diff != "" {
		t.Errorf("left behind (-want +got):\n%s", diff)
	}
}
