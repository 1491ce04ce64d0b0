package cli

import (
	"context"
	"os"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/agentfile"
	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"
)

func newAgentsWatch(env *Env) *cobra.Command {
	var auto bool
	c := &cobra.Command{
		Use: "watch DIR", Short: "Watch a directory and deploy agent files to the server when they change", Args: exactly("DIR"),
		Long: "For development: the server watches its own agents directory already; this is for another one.\nWithout --auto-reload changes are only checked and reported. Ends on Ctrl-C.",
		RunE: func(cmd *cobra.Command, args []string) error { return watch(cmd.Context(), env, args[0], auto) },
	}
	c.Flags().BoolVar(&auto, "auto-reload", false, "deploy what changed")
	return c
}

func watch(ctx context.Context, env *Env, dir string, auto bool) error {
	files, err := agentFiles(env.path(dir))
	if err != nil {
		return err
	}
	w, err := fsnotify.NewWatcher()
	if err == nil {
		err = w.Add(env.path(dir))
	}
	if err != nil {
		return caxton.Errorf(caxton.Unavailable, "watch_failed", "the directory %s cannot be watched", dir).WithCause(err)
	}
	defer func() { _ = w.Close() }()
	env.say("watching %s, %d agent files; Ctrl-C ends", dir, len(files))
	seen := map[string]string{} // the text that the server has judged, by file
	again := time.NewTimer(0)   // when to look: at once, a moment after a change, or later for what met no server
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.Events:
			again.Reset(200 * time.Millisecond)
		case err := <-w.Errors:
			env.say("error: %v", err)
		case <-again.C:
			missed, err := env.deployChanged(ctx, dir, auto, seen)
			if err != nil {
				return err
			}
			if missed {
				again.Reset(5 * time.Second)
			}
		}
	}
}

// deployChanged deploys the agent files of a directory that are not as they were seen, or only
// checks them. missed tells that the server could not be asked about some.
func (e *Env) deployChanged(ctx context.Context, dir string, auto bool, seen map[string]string) (missed bool, err error) {
	files, err := agentFiles(e.path(dir))
	if err != nil {
		e.printError(err) // it may come back
		return true, nil
	}
	for _, f := range files {
		text, err := os.ReadFile(f) //nolint:gosec // the user's own directory
		if err != nil || seen[f] == string(text) {
			continue
		}
		d, err := e.Client().Deploy(ctx, api.Deploy{Text: text, Format: agentfile.Format(f, text), ValidateOnly: !auto})
		if ctx.Err() != nil {
			return false, nil //nolint:nilerr // the watcher has had enough
		}
		if err != nil {
			e.printError(inFile(err, f))
			switch caxton.KindOf(err) { //nolint:exhaustive // all others are about the file
			case caxton.Unavailable, caxton.Timeout, caxton.Exhausted, caxton.Internal:
				missed = true
				continue
			}
		} else if err := e.PrintNext(d, func(p *printer) { printDeployment(p, d) }); err != nil {
			return false, err
		}
		seen[f] = string(text)
	}
	return missed, nil
}
