package telemetry

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// A rotatingFile is a log file that begins anew each day, UTC: the old one is renamed to
// name.2006-01-02, and files older than keep days are removed.
type rotatingFile struct {
	path  string
	daily bool
	keep  int
	now   func() time.Time

	mu  sync.Mutex // guards all below
	f   *os.File
	day string
}

func openRotating(path string, daily bool, keep int, now func() time.Time) (*rotatingFile, error) {
	r := &rotatingFile{path: path, daily: daily, keep: cmp.Or(keep, 30), now: now}
	return r, r.open()
}

// open opens the file for appending; its day is that of its last write, so that a restart
// after midnight rotates too. r.mu is held, or r is not shared yet.
func (r *rotatingFile) open() error {
	day := r.now().UTC().Format(time.DateOnly)
	if st, err := os.Stat(r.path); err == nil && st.Size() > 0 {
		day = st.ModTime().UTC().Format(time.DateOnly)
	}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640) //nolint:gosec // the operator's own path; group may read logs
	if err != nil {
		return err
	}
	r.f, r.day = f, day
	return nil
}

// Write appends p. It never splits a line over two files.
func (r *rotatingFile) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if today := r.now().UTC().Format(time.DateOnly); r.daily && today != r.day {
		if err := r.rotate(); err != nil {
			return 0, err
		}
		r.day = today
	}
	return r.f.Write(p)
}

func (r *rotatingFile) rotate() error {
	if err := r.f.Close(); err != nil {
		return err
	}
	if err := os.Rename(r.path, r.path+"."+r.day); err != nil {
		return cmp.Or(r.open(), err)
	}
	old, err := filepath.Glob(r.path + ".????-??-??")
	if err == nil {
		slices.Sort(old)
		oldest := r.path + "." + r.now().UTC().AddDate(0, 0, -r.keep).Format(time.DateOnly)
		for _, o := range old {
			if o < oldest {
				_ = os.Remove(o) // it is tried again tomorrow
			}
		}
	}
	return r.open()
}

// Close closes the file.
func (r *rotatingFile) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.f.Close()
}
