package datadir

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/windows"
)

// writable cannot be known here without trying.
func writable(string) bool { return true }

func full(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

func readOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

func notDirectory(err error) bool { return errors.Is(err, windows.ERROR_DIRECTORY) }

func owner(string) (place string, uid int, ok bool) { return "", 0, false }

// tryLock locks a file for one process, or for readers, until it is closed. ok is false when
// another process is in the way. The range is far behind the content, which others may read.
func tryLock(f *os.File, exclusive bool) (ok bool, err error) {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	far := windows.Overlapped{OffsetHigh: math.MaxInt32}
	err = windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &far)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		return false, nil
	}
	return false, err
}
