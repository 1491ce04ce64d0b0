package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/datadir"
	"github.com/spf13/cobra"
)

func newShutdown(env *Env) *cobra.Command {
	var graceful, immediate, dump bool
	var timeout string
	c := &cobra.Command{
		Use: "shutdown", Short: "Stop the server",
		Long: "Asks the server to stop and waits until it has: it takes no new messages, finishes those in\n" +
			"flight, and closes its files. With --immediate it has two seconds, and then its process is\n" +
			"killed if it is on this machine; nothing that was accepted is lost.",
		Args: exactly(),
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if dump { // --output names the archive then, and no format
				return errUsage("--dump-state is not in this version").WithHint("stop the server without it and copy the data directory")
			}
			return env.prepare(cmd)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if graceful && immediate {
				return errUsage("--graceful and --immediate exclude each other").WithHint("give one of them")
			}
			if immediate {
				return env.kill(cmd.Context())
			}
			d, err := caxton.ParseDuration(timeout)
			if err != nil {
				return err
			}
			return env.stop(cmd.Context(), d)
		},
	}
	c.Flags().BoolVar(&graceful, "graceful", false, "finish messages in flight first (the default)")
	c.Flags().StringVar(&timeout, "timeout", "30s", "`time` that messages in flight may take")
	c.Flags().BoolVar(&immediate, "immediate", false, "stop at once, without finishing what is in flight")
	c.Flags().BoolVar(&dump, "dump-state", false, "write an archive of all state to --output (not in this version)")
	return c
}

const (
	askTime  = 2 * time.Second  // a server that is to stop at once has this long to do it itself
	patience = 15 * time.Second // beyond the time of its messages, for a server to close its files
)

// stop asks the server to stop and waits until it has.
func (e *Env) stop(ctx context.Context, timeout time.Duration) error {
	if _, err := e.Client().Shutdown(ctx, api.Shutdown{Timeout: timeout.String()}); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, timeout+patience)
	defer cancel()
	if !until(wait, e.gone) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return caxton.Errorf(caxton.Timeout, "shutdown_timeout", "the server has not stopped yet").WithHint("caxton shutdown --immediate kills it")
	}
	e.say("server stopped")
	return nil
}

// kill ends the server at once. It asks first, for the process of a server that is named by
// its address is not known; one that holds a lock here and does not do it is killed.
func (e *Env) kill(ctx context.Context) error {
	ask, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	_, err := e.Client().Shutdown(ask, api.Shutdown{Timeout: "0s"})
	switch {
	case err == nil && until(ask, e.gone):
		e.say("server stopped")
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case e.at == nil && err != nil:
		return err
	case e.at == nil:
		return caxton.Errorf(caxton.Timeout, "shutdown_timeout", "the server at %s was told to stop, and has not yet", e.Client().Address()).
			WithHint("kill it on its own machine: caxton shutdown --immediate --data-dir DIR")
	}
	pid := e.at.holder.PID
	if pid <= 1 || !hasOpen(pid, e.at.layout.Lock) {
		return caxton.Errorf(caxton.Forbidden, "kill_failed", "the server does not answer, and it is not process %d of this machine", pid).
			WithHint("it may run in a container: stop that")
	}
	if e.gone(ctx) { // somebody else may have its number by now
		e.say("server stopped")
		return nil
	}
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil && !e.gone(ctx) {
		return caxton.Errorf(caxton.Forbidden, "kill_failed", "process %d cannot be killed", pid).
			WithHint("do it as the user that runs the server").WithCause(err)
	}
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if !until(wait, e.gone) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return caxton.Errorf(caxton.Timeout, "kill_timeout", "process %d was killed and does not end", pid)
	}
	e.say("process %d killed", pid)
	return nil
}

// gone reports whether the server has ended: the one that held the lock when it was found,
// or else whoever answers at the address.
func (e *Env) gone(ctx context.Context) bool {
	if e.at != nil {
		h, held, err := datadir.ReadLock(e.at.layout.Lock)
		return err == nil && (!held || h.PID != 0 && (h.PID != e.at.holder.PID || !h.Started.Equal(e.at.holder.Started)))
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	_, err := e.Client().Health(ctx)
	var ce *caxton.Error
	return errors.As(err, &ce) && (ce.Code == "server_unreachable" || ce.Code == "not_a_caxton_server") // a proxy may stand before it
}

// until asks done until it says yes, and reports whether it did before ctx ended.
func until(ctx context.Context, done func(context.Context) bool) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done(ctx) {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// hasOpen reports whether a process has a file open. Where that cannot be seen it says yes.
func hasOpen(pid int, path string) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	open, err := os.ReadDir(dir)
	if err != nil {
		return true
	}
	want, err := os.Stat(path)
	if err != nil {
		return true
	}
	for _, f := range open {
		if st, err := os.Stat(filepath.Join(dir, f.Name())); err == nil && os.SameFile(st, want) {
			return true
		}
	}
	return false
}
