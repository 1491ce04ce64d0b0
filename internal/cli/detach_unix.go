//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// setsid makes the child a session of its own, so that it outlives the terminal.
func setsid(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
