//go:build unix

package cli_test

import (
	"path/filepath"
	"syscall"

	"github.com/caxton/caxton/internal/datadir"
	"github.com/rogpeppe/go-internal/testscript"
)

// freeze stops the server on ./data in its tracks: it keeps its lock and answers nobody.
func freeze(ts *testscript.TestScript, _ bool, _ []string) {
	h, held, err := datadir.ReadLock(ts.MkAbs(filepath.Join("data", "LOCK")))
	ts.Check(err)
	if !held {
		ts.Fatalf("no server")
	}
	ts.Check(syscall.Kill(h.PID, syscall.SIGSTOP))
}
