package cli_test

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/cli"
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
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"ready": ready, "code": exitCode},
	})
}

// ready waits until the server in the directory data answers on its socket.
func ready(ts *testscript.TestScript, _ bool, _ []string) {
	socket := ts.MkAbs(filepath.Join("data", "caxton.sock"))
	c := api.New(api.Config{UnixSocket: socket})
	defer c.Close()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		_, err := c.Ready(context.Background())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no server: %v", err)
		}
	}
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
