package sqlitefile

import (
	"errors"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// A File is what errors say of a file.
type File struct {
	Name   string // "the memory file"
	Repair string // what to do when it is damaged
}

// Error gives err the Kind its SQLite code means; nil and *caxton.Error pass. What failed is
// told in words such as "read memory".
func (f File) Error(what string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*caxton.Error](err); ok {
		return err
	}
	switch {
	case errors.Is(err, sqlite3.FULL):
		return caxton.Errorf(caxton.Exhausted, "disk_full", "%s: the disk is full", what).
			WithHint("free space in the data directory; nothing was half written").WithCause(err)
	case errors.Is(err, sqlite3.READONLY), errors.Is(err, sqlite3.PERM), errors.Is(err, sqlite3.CANTOPEN):
		return caxton.Errorf(caxton.Unavailable, "storage_unwritable", "%s: %s cannot be written", what, f.Name).
			WithHint("check the owner and mode of the data directory and its files").WithCause(err)
	case errors.Is(err, sqlite3.CORRUPT), errors.Is(err, sqlite3.NOTADB):
		return caxton.Errorf(caxton.Unavailable, "storage_corrupt", "%s: %s is damaged", what, f.Name).
			WithHint("%s", f.Repair).WithCause(err)
	case errors.Is(err, sqlite3.IOERR):
		return caxton.Errorf(caxton.Unavailable, "storage_io", "%s: the disk did not do as asked", what).
			WithHint("check the disk and the system log").WithCause(err)
	case errors.Is(err, sqlite3.BUSY):
		return caxton.Errorf(caxton.Unavailable, "storage_busy", "%s: another program uses %s", what, f.Name).
			WithHint("end the other program; one server uses a data directory").WithCause(err)
	}
	return caxton.Errorf(caxton.Internal, "storage_failed", "%s failed", what).WithCause(err)
}
