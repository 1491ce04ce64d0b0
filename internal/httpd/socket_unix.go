//go:build unix

package httpd

import (
	"syscall"
)

// protect is a Control of a net.ListenConfig that gives a socket its mode before it has a
// name, so that there is no moment in which others may connect. Linux heeds it; elsewhere
// the mode is set right after.
func protect(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = syscall.Fchmod(int(fd), socketMode)
	})
}
