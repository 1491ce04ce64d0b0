package cli

import (
	"context"
	"os"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/datadir"
	"github.com/spf13/cobra"
)

func newShutdown(env *Env) *cobra.Command {
	var graceful, immediate, dump bool
	var timeout, out string
	c := &cobra.Command{
		Use: "shutdown", Short: "Stop the server",
		Long: "Asks the server to stop and waits until it has: it takes no new messages, finishes those in\n" +
			"flight, and closes its files. With --immediate its process is killed; nothing accepted is lost.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dump || out != "" {
				return errUsage("--dump-state is not in this version").WithHint("stop the server without it and copy the data directory")
			}
			if graceful && immediate {
				return errUsage("--graceful and --immediate exclude each other")
			}
			if immediate {
				return env.kill(cmd.Context())
			}
			return env.stop(cmd.Context(), timeout)
		},
	}
	c.Flags().BoolVar(&graceful, "graceful", false, "finish messages in flight first (the default)")
	c.Flags().StringVar(&timeout, "timeout", "30s", "`time` that messages in flight may take")
	c.Flags().BoolVar(&immediate, "immediate", false, "kill the process at once")
	c.Flags().BoolVar(&dump, "dump-state", false, "not in this version")
	c.Flags().StringVar(&out, "output-file", "", "not in this version")
	return c
}

// holds reports who holds the lock of a data directory.
func holds(l datadir.Layout) (datadir.Holder, bool) {
	h, held, err := datadir.ReadLock(l.Lock)
	return h, held && err == nil
}

func (e *Env) stop(ctx context.Context, timeout string) error {
	d, err := caxton.ParseDuration(timeout)
	if err != nil {
		return err
	}
	if _, err := e.Client().Shutdown(ctx, api.Shutdown{Timeout: timeout}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d+15*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	_, l, lerr := e.locate()
	for {
		_, err := e.Client().Health(ctx)
		held := false
		if lerr == nil {
			_, held = holds(l)
		}
		if caxton.KindOf(err) == caxton.Unavailable && !held {
			e.say("server stopped")
			return nil
		}
		select {
		case <-ctx.Done():
			return caxton.Errorf(caxton.Timeout, "shutdown_timeout", "the server has not stopped yet").WithHint("caxton shutdown --immediate kills it")
		case <-tick.C:
		}
	}
}

// kill ends the process that holds the data directory.
func (e *Env) kill(ctx context.Context) error {
	_, l, err := e.locate()
	if err != nil {
		return err
	}
	h, ok := holds(l)
	if !ok || h.PID == 0 {
		return caxton.Errorf(caxton.NotFound, "server_not_running", "no server holds the data directory %s", l.Data).WithHint("name another with --data-dir")
	}
	p, err := os.FindProcess(h.PID)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		return caxton.Errorf(caxton.Forbidden, "kill_failed", "process %d cannot be killed", h.PID).WithCause(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, held := holds(l); !held {
			e.say("process %d killed", h.PID)
			return nil
		}
		select {
		case <-ctx.Done():
			return caxton.Errorf(caxton.Canceled, "canceled", "interrupted")
		case <-tick.C:
		}
	}
}
