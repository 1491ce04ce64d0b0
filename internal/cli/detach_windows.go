package cli

import (
	"os/exec"
	"syscall"
)

// detachedProcess is the flag of Windows for a process without a console.
const detachedProcess = 0x00000008

// setsid starts the child without our console, so that it outlives it.
func setsid(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{CreationFlags: detachedProcess | syscall.CREATE_NEW_PROCESS_GROUP}
}
