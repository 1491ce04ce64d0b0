//go:build !unix

package httpd

import "syscall"

// protect does nothing here: the mode is set after the socket has its name.
func protect(_, _ string, _ syscall.RawConn) error { return nil }
