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
	seen := map[string]string{}
	look := func() {
		files, err := agentFiles(env.path(dir))
		if err != nil {
			env.say("error: %v", err)
			return
		}
		for _, f := range files {
			text, err := os.ReadFile(f) //nolint:gosec // the user's own directory
			if err != nil || seen[f] == string(text) {
				continue
			}
			seen[f] = string(text)
			d, err := env.Client().Deploy(ctx, api.Deploy{Text: text, Format: agentfile.Format(f, text), ValidateOnly: !auto})
			if err != nil {
				env.printError(inFile(err, f))
				continue
			}
			p := &printer{w: env.Stdout}
			printDeployment(p, d)
			if p.flush() != nil {
				return
			}
		}
	}
	look()
	rest := time.NewTimer(time.Hour)
	rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.Events:
			rest.Reset(200 * time.Millisecond)
		case err := <-w.Errors:
			env.say("error: %v", err)
		case <-rest.C:
			look()
		}
	}
}
