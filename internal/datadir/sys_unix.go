//go:build unix

package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

func writable(path string) bool { return unix.Access(path, unix.W_OK) == nil }

func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func readOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

func notDirectory(err error) bool {
	return errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR)
}

// owner returns who owns path or, when it is not there, the nearest directory above it.
func owner(path string) (place string, uid int, ok bool) {
	for {
		if st, err := os.Stat(path); err == nil {
			sys, ok := st.Sys().(*syscall.Stat_t)
			if !ok {
				return "", 0, false
			}
			return path, int(sys.Uid), true
		}
		above := filepath.Dir(path)
		if above == path {
			return "", 0, false
		}
		path = above
	}
}
