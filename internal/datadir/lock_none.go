//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package datadir

import (
	"errors"
	"os"
)

// tryLock fails: this system has no lock that ends with its process.
func tryLock(*os.File, bool) (ok bool, err error) { return false, errors.ErrUnsupported }
