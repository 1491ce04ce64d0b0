//go:build !unix

package mcp

import "os/exec"

// group does nothing: there are no process groups to end together.
func group(*exec.Cmd) {}

// terminate does nothing: there is no signal that asks.
func terminate(*exec.Cmd) {}

func kill(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
