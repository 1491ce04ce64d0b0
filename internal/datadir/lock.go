package datadir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/caxton/caxton"
)

// A Holder is who holds the lock of a data directory.
type Holder struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	API     string    `json:"api,omitempty"`    // host:port that answers, once it does
	Socket  string    `json:"socket,omitempty"` // Unix socket that answers, once it does
}

const (
	lockTries = 10                    // a reader holds the lock for a moment, and must not stop a server
	lockPause = 20 * time.Millisecond // between tries
)

// acquire opens the lock file and locks it.
func acquire(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // it holds no secret, and the commands of others read it
	if err != nil {
		return nil, Explain("open", path, filepath.Dir(path), err)
	}
	if err := wait(ctx, path, f); err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// LockFile takes the lock of a file that is kept elsewhere than in the data directory, whose own
// lock does not keep other servers from it. It makes the file's directory when it is missing.
// The lock is a file beside it, and is given back when what is returned is closed. It fails with
// Conflict, code "file_locked", when another server holds it.
func LockFile(ctx context.Context, path string) (io.Closer, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as Open
		return nil, Explain("make", filepath.Dir(path), filepath.Dir(path), err)
	}
	f, err := acquire(ctx, path+".lock")
	if e, ok := errors.AsType[*caxton.Error](err); ok && e.Code == "data_dir_locked" {
		return nil, caxton.Errorf(caxton.Conflict, "file_locked", "another server uses %s", path).WithHint("each server needs a file of its own")
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// wait locks the lock file at path.
func wait(ctx context.Context, path string, f *os.File) error {
	for try := 1; ; try++ {
		ok, err := tryLock(f, true)
		switch {
		case err != nil:
			return caxton.Errorf(caxton.Unavailable, "data_dir_unlockable", "%s cannot be locked", path).
				WithHint("keep the data directory on a local disk").WithCause(err)
		case ok:
			return nil
		case try == lockTries:
			return locked(path, f)
		}
		pause := time.NewTimer(lockPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
}

// locked says who holds the lock.
func locked(path string, f *os.File) error {
	h, err := readHolder(f)
	e := caxton.Errorf(caxton.Conflict, "data_dir_locked", "another server uses the data directory %s", filepath.Dir(path)).
		WithHint("stop it with: caxton shutdown; or choose another place with --data-dir")
	if err != nil || h.PID == 0 {
		return e // it has only just begun
	}
	where := ""
	if h.API != "" {
		where = " and answers at " + h.API
	}
	e.Message += fmt.Sprintf(": process %d, which runs since %s%s", h.PID, h.Started.Format(time.RFC3339), where)
	return e
}

// announce writes the holder into the lock file, which is never replaced: the lock is on this
// very file.
func (d *Dir) announce() error {
	if d.lock == nil {
		return d.closed()
	}
	data, err := json.Marshal(d.holder)
	if err != nil {
		return fmt.Errorf("the lock: %w", err)
	}
	data = append(data, '\n')
	if _, err := d.lock.WriteAt(data, 0); err != nil {
		return Explain("write", d.Layout.Lock, d.Layout.Data, err)
	}
	if err := d.lock.Truncate(int64(len(data))); err != nil {
		return Explain("write", d.Layout.Lock, d.Layout.Data, err)
	}
	return nil
}

func (d *Dir) closed() error {
	return caxton.Errorf(caxton.Unavailable, "data_dir_closed", "the data directory %s is closed", d.Layout.Data).WithHint("open it again")
}

// ReadLock tells whether a server runs on the data directory whose Layout.Lock is path, and
// who it is. A Holder with PID 0 has only just begun. It fails with Unavailable when the file
// cannot be read.
func ReadLock(path string) (h Holder, held bool, err error) {
	f, err := os.Open(path) //nolint:gosec // a path of the layout
	if errors.Is(err, fs.ErrNotExist) {
		return Holder{}, false, nil
	}
	if err != nil {
		return Holder{}, false, Explain("read", path, filepath.Dir(path), err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	free, err := tryLock(f, false)
	if err != nil {
		return Holder{}, false, caxton.Errorf(caxton.Unavailable, "data_dir_unlockable", "%s cannot be looked at", path).
			WithHint("keep the data directory on a local disk").WithCause(err)
	}
	if free {
		return Holder{}, false, nil // closing the file gives the lock back
	}
	h, err = readHolder(f)
	if err != nil {
		return Holder{}, true, nil
	}
	return h, true, nil
}

func readHolder(f *os.File) (Holder, error) {
	var h Holder
	data, err := io.ReadAll(io.NewSectionReader(f, 0, maxMarker))
	if err != nil {
		return h, err
	}
	// A shorter text may stand before the end of a longer one.
	err = json.NewDecoder(bytes.NewReader(data)).Decode(&h)
	return h, err
}
