package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/caxton/caxton"
)

// A Dir is an open data directory: it holds the lock. It is safe for concurrent use.
type Dir struct {
	Layout   Layout   // where everything is
	Warnings []string // what is odd, and does no harm

	mu     sync.Mutex // guards all below
	lock   *os.File   // nil when closed
	holder Holder
	format Format
}

// Open makes the directories that are missing, takes the lock for h, and reads the format
// marker or writes one. A zero PID of h means this process, a zero Started now. Somebody who
// only looks at the lock holds it for a moment, so Open waits up to a fifth of a second for it.
// Directories that the server can do without, of agent files, backups and the tool file_read,
// only cause a warning when they cannot be made.
//
// It fails with Conflict, code "data_dir_locked", when another server holds the lock; as
// ReadFormat does; with Unavailable, code "data_dir_unwritable", when the directory cannot be
// written, and "data_dir_unusable" for anything else that is wrong with it; with Invalid, code
// "data_dir_invalid", when a file is in the way; with Exhausted, code "disk_full", when there is
// no space. Once ctx ends it fails with ctx's error.
func Open(ctx context.Context, l Layout, h Holder) (*Dir, error) {
	if h.PID == 0 {
		h.PID = os.Getpid()
	}
	if h.Started.IsZero() {
		h.Started = time.Now()
	}
	h.Started = h.Started.UTC()
	d := &Dir{Layout: l, Warnings: slices.Clone(l.Warnings), holder: h}
	for _, dir := range []string{l.Data, filepath.Dir(l.Database), l.Modules, l.Cache} {
		// Scripts and other users look at the databases by name; what is secret in here has
		// a mode of its own.
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // see above
			return nil, Explain("make", dir, dir, err)
		}
	}
	for _, dir := range []struct {
		name, path string
		mode       os.FileMode
	}{
		{"agent files", l.Agents, 0o755}, // people edit them
		{"the tool file_read", l.Files, 0o755},
		{"backups", l.Backups, 0o700},
	} {
		if err := os.MkdirAll(dir.path, dir.mode); err != nil {
			d.Warnings = append(d.Warnings, fmt.Sprintf("the directory %s for %s cannot be made: %v", dir.path, dir.name, errors.Unwrap(err)))
		}
	}
	lock, err := acquire(ctx, l.Lock)
	if err != nil {
		return nil, err
	}
	d.lock = lock
	if err := d.begin(); err != nil {
		_ = lock.Close() // it failed already
		return nil, err
	}
	return d, nil
}

// begin does what needs the lock.
func (d *Dir) begin() error {
	if err := d.announce(); err != nil {
		return err
	}
	if err := tryWrite(d.Layout.Data); err != nil {
		return err
	}
	f, ok, err := ReadFormat(d.Layout.Format)
	if err != nil {
		return err
	}
	if !ok {
		f = Format{Version: FormatVersion, Instance: uuid.NewString(), CreatedAt: d.holder.Started}
		if err := writeFormat(d.Layout.Format, f); err != nil {
			return err
		}
	}
	d.format = f
	return nil
}

// Remember writes into the marker where the agent files are, for servers that are started
// without being told. The path is absolute.
func (d *Dir) Remember(agentsDir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock == nil {
		return d.closed()
	}
	f := d.format
	f.AgentsDir = portable(d.Layout, agentsDir)
	if f == d.format {
		return nil
	}
	if err := writeFormat(d.Layout.Format, f); err != nil {
		return err
	}
	d.format = f
	return nil
}

// Announce writes into the lock where the server can be reached: the host:port of its API and
// the path of its socket, "" for none.
func (d *Dir) Announce(api, socket string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holder.API, d.holder.Socket = api, socket
	return d.announce()
}

// Close gives the lock back. It may be called again, and does nothing then.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock == nil {
		return nil
	}
	// The file stays: removing it would let two servers lock two files of the same name.
	err := d.lock.Truncate(0)
	err = errors.Join(err, d.lock.Close())
	d.lock = nil
	if err != nil {
		return fmt.Errorf("give back the lock %s: %w", d.Layout.Lock, err)
	}
	return nil
}

// tryWrite finds out whether there is leave and space to write.
func tryWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".write-*.tmp")
	if err != nil {
		return Explain("write to", dir, dir, err)
	}
	_, err = f.Write(make([]byte, 4096))
	if err = errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		return Explain("write to", dir, dir, err)
	}
	return nil
}

// Explain turns an error of the file system into one that says what to do. dir is the
// directory that path is, or is in.
func Explain(verb, path, dir string, err error) error {
	what := fmt.Sprintf("cannot %s %s", verb, path)
	switch {
	case full(err):
		return caxton.Errorf(caxton.Exhausted, "disk_full", "%s: the disk is full", what).
			WithHint("make space on the disk of %s, or choose another place with --data-dir", dir).WithCause(err)
	case readOnly(err):
		return caxton.Errorf(caxton.Unavailable, "data_dir_unwritable", "%s: the file system is mounted for reading only", what).
			WithHint("mount it for writing, or choose another place with --data-dir").WithCause(err)
	case errors.Is(err, fs.ErrPermission):
		message := what + ": permission denied"
		hint := "let the user that runs the server write there, or choose another place with --data-dir"
		if place, uid, ok := owner(dir); ok {
			us := os.Geteuid()
			message = fmt.Sprintf("%s: %s belongs to user %d, and the server runs as user %d", what, place, uid, us)
			hint = fmt.Sprintf("hand it over (chown -R %d %s), or choose another place with --data-dir", us, dir)
			if place != dir {
				hint = fmt.Sprintf("make it (install -d -o %d %s), or choose another place with --data-dir", us, dir)
			}
		}
		return caxton.Errorf(caxton.Unavailable, "data_dir_unwritable", "%s", message).WithHint("%s", hint).WithCause(err)
	case errors.Is(err, fs.ErrExist), notDirectory(err):
		return caxton.Errorf(caxton.Invalid, "data_dir_invalid", "%s: a file is where a directory should be", what).
			WithHint("move the file away, or choose another place with --data-dir").WithCause(err)
	}
	return caxton.Errorf(caxton.Unavailable, "data_dir_unusable", "%s", what).
		WithHint("look at the cause in the log, or choose another place with --data-dir").WithCause(err)
}
