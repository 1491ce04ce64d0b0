package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/config"
	"github.com/caxton/caxton/internal/datadir"
	"github.com/caxton/caxton/internal/node"
	"github.com/spf13/cobra"
)

func newInit(env *Env) *cobra.Command {
	var agentsDir string
	c := plain(&cobra.Command{
		Use: "init", Short: "Make a data directory, an agents directory with a sample agent, and a configuration",
		Long: "Needs no server. Makes what is missing and never overwrites: run it as often as you like.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return initialise(cmd.Context(), env, agentsDir) },
	})
	c.Flags().StringVar(&agentsDir, "agents-dir", "", "`directory` of agent files (default: agents beside the data)")
	return c
}

// sampleAgent is the agent that init writes.
const sampleAgent = `---
name: Greeter
description: Welcomes people and says what this server is for.
capabilities: [greeting, help]
tools: [clock, calculator]
system_prompt: |
  You welcome people. Answer in one or two friendly sentences, in the language of
  the message. Use your tools for sums and for the time.
---

# Greeter

Hello, and welcome to Caxton. I greet people and answer short questions.

- To change what I do, edit this file and save it: the server takes it over at once.
- To add an agent, put another file beside this one.
- Ask me for a sum or for the time, and I use a tool.
`

func initialise(ctx context.Context, env *Env, agentsDir string) error {
	flags := map[string]string{}
	if env.flags.dataDir != "" {
		flags["server.data_dir"] = env.flags.dataDir
	}
	if agentsDir != "" {
		flags["server.agents_dir"] = agentsDir
	}
	file := env.flags.config
	env.flags.config = ""
	if file == "" {
		file = "caxton.yaml"
	}
	loaded, err := config.Load(config.Options{Environ: env.Environ, Flags: flags, Dir: env.Dir, Path: env.path(file)})
	if err != nil {
		return err
	}
	l, err := node.Locate(&loaded.Config, env.Dir)
	if err != nil {
		return err
	}
	d, err := datadir.Open(ctx, l, datadir.Holder{})
	if err != nil {
		return err
	}
	if err := errors.Join(d.Remember(l.Agents), d.Close()); err != nil {
		return err
	}
	env.say("data directory    %s", l.Data)
	env.say("agents directory  %s", l.Agents)
	for _, w := range []struct {
		what, name string
		text       []byte
	}{
		{"sample agent     ", filepath.Join(l.Agents, "greeter.md"), []byte(sampleAgent)},
		{"configuration    ", env.path(file), config.SampleFor(l.Data, l.Agents)},
	} {
		made, err := writeNew(w.name, w.text)
		if err != nil {
			return caxton.Errorf(caxton.Unavailable, "file_unwritable", "%s cannot be written", w.name).WithCause(err)
		}
		note := ""
		if !made {
			note = "  (kept as it was)"
		}
		env.say("%s %s%s", w.what, w.name, note)
	}
	env.say("start the server with: caxton serve --config %s", file)
	return nil
}

// writeNew writes a file unless it is there.
func writeNew(name string, text []byte) (made bool, err error) {
	if _, err := os.Lstat(name); err == nil {
		return false, nil
	}
	return true, datadir.AtomicWrite(name, text, 0o644)
}
