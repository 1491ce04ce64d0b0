package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caxton/caxton"
)

// FormatVersion is the version of the data directory's form that this program writes, and the
// newest that it reads.
const FormatVersion = 1

// A Format is the marker of a data directory.
type Format struct {
	Version   int       `json:"version"`              // of the form of the directory, from 1
	Instance  string    `json:"instance"`             // UUID of what is kept here, for ever
	AgentsDir string    `json:"agents_dir,omitempty"` // where agent files are, as init was told; relative to the data directory, or absolute
	CreatedAt time.Time `json:"created_at"`
}

// maxMarker bounds how much of a marker or a lock file is read, in bytes.
const maxMarker = 64 << 10

// ReadFormat reads a format marker. ok is false when there is none. It fails with Malformed,
// code "data_dir_format", when it cannot be understood, with Conflict, code "data_dir_newer",
// when a newer program wrote it, and with Unavailable when it cannot be read.
func ReadFormat(path string) (f Format, ok bool, err error) {
	data, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Format{}, false, nil
	}
	if err != nil {
		return Format{}, false, Explain("read", path, filepath.Dir(path), err)
	}
	if err := json.Unmarshal(data, &f); err != nil || f.Version < 1 {
		return Format{}, false, caxton.Errorf(caxton.Malformed, "data_dir_format", "%s is not the marker of a data directory", path).
			WithHint("restore it from a backup, or remove it to have it made anew").WithCause(err)
	}
	if f.Version > FormatVersion {
		return Format{}, false, caxton.Errorf(caxton.Conflict, "data_dir_newer",
			"%s was written by a newer caxton: its format is %d, and this one reads up to %d", filepath.Dir(path), f.Version, FormatVersion).
			WithHint("start the newer caxton, or restore a backup that the older one made")
	}
	return f, true, nil
}

func writeFormat(path string, f Format) error {
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("the format marker: %w", err)
	}
	return AtomicWrite(path, append(data, '\n'), 0o644)
}

func readSmall(path string) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // a path of the layout
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // nothing was written
	return io.ReadAll(io.LimitReader(file, maxMarker))
}

// portable returns the form in which the marker remembers a directory: relative to the data
// directory when it is inside of the home, so that the two can move together.
func portable(l Layout, dir string) string {
	up, err := filepath.Rel(l.Home, dir)
	if err != nil || up == ".." || strings.HasPrefix(up, ".."+string(filepath.Separator)) {
		return dir
	}
	rel, err := filepath.Rel(l.Data, dir)
	if err != nil {
		return dir
	}
	return filepath.ToSlash(rel)
}
