package cli_test

import (
	"context"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caxton/caxton/internal/cli"
	"github.com/caxton/caxton/internal/datadir"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the scripts run this binary as caxton.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"caxton": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		dir, err := os.Getwd()
		if err != nil {
			dir = "."
		}
		code := cli.Main(ctx, &cli.Env{
			Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(), Dir: dir, Exe: os.Args[0], Version: "1.2.3",
		}, os.Args[1:])
		stop()
		os.Exit(code)
	}})
}

// TestScripts runs each documented command, the ones that need a server against a real one.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("CAXTON_LLM_PROVIDER", "builtin")
			e.Defer(func() { killServers(e.WorkDir) })
			e.Setenv("LONG", strings.Repeat("long", 25))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"ready": ready, "code": exitCode, "freeze": freeze},
	})
}

// ready waits until the server on a data directory, ./data without an argument, answers. It
// sets API to its host:port and PORT to its port.
func ready(ts *testscript.TestScript, _ bool, args []string) {
	dir := "data"
	if len(args) > 0 {
		dir = args[0]
	}
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		h, _, err := datadir.ReadLock(ts.MkAbs(filepath.Join(dir, "LOCK")))
		if err == nil && h.API != "" {
			_, port, err := net.SplitHostPort(h.API)
			ts.Check(err)
			ts.Setenv("API", "127.0.0.1:"+port)
			ts.Setenv("PORT", port)
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no server on %s: %v", dir, err)
		}
	}
}

// killServers kills the servers that a script that failed has left behind.
func killServers(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "LOCK" {
			return nil //nolint:nilerr // what is gone holds no server
		}
		if h, held, err := datadir.ReadLock(path); err == nil && held && h.PID > 1 {
			if p, err := os.FindProcess(h.PID); err == nil {
				_ = p.Kill()
			}
		}
		return nil
	})
}

// exitCode runs caxton and holds its exit code to the first argument.
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("caxton", args[1:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("caxton %s: exit code %s, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}
