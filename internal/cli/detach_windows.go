package cli

import "os/exec"

// setsid does nothing: Windows has no sessions of this kind.
func setsid(*exec.Cmd) {}
