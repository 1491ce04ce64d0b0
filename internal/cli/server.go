package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/config"
	"github.com/caxton/caxton/internal/datadir"
	"github.com/caxton/caxton/internal/node"
	"github.com/spf13/cobra"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	values map[string]*string // by configuration key
	port   int
	detach bool
	boot   bool
	join   []string
}

func newServe(env *Env) *cobra.Command {
	c := serveCommand(env, "serve", []string{"start"})
	return c
}

func newServer(env *Env) *cobra.Command {
	return group("server", "Start the server", nil, serveCommand(env, "start", []string{"serve"}))
}

func serveCommand(env *Env, use string, aliases []string) *cobra.Command {
	f := &serveFlags{values: map[string]*string{}}
	c := &cobra.Command{
		Use: use, Aliases: aliases, Short: "Run the server in the foreground",
		Long: "Runs the server until it is told to stop (Ctrl-C, SIGTERM, caxton shutdown). Needs no\n" +
			"configuration: flags win over the environment (CAXTON_…), that over the file, that over defaults.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd, env, f) },
	}
	flag := func(name, key, usage string) {
		v := ""
		f.values[key] = &v
		c.Flags().StringVar(&v, name, "", usage)
	}
	c.Flags().IntVar(&f.port, "port", 0, "`port` of the API")
	flag("host", "server.host", "`address` to listen on")
	flag("agents-dir", "server.agents_dir", "`directory` of agent files")
	flag("metrics-addr", "observability.metrics_address", "`host:port` of the metrics")
	flag("log-level", "logging.level", "least `level` to log: debug, info, warn or error")
	flag("log-format", "logging.format", "`format` of log lines: text or json")
	flag("durability", "messaging.durability", "what accepted messages survive: `full`, normal or memory")
	flag("node-id", "cluster.node_id", "`name` of this node (no effect in this version)")
	flag("bind-addr", "cluster.bind_addr", "`host:port` for gossip (no effect in this version)")
	api := ""
	c.Flags().StringVar(&api, "api-addr", "", "`host:port` of the API")
	f.values["networking.bind_address"] = &api
	c.Flags().BoolVar(&f.boot, "bootstrap", false, "found a cluster (no effect in this version)")
	c.Flags().StringSliceVar(&f.join, "join", nil, "`nodes` of a cluster to join (no effect in this version)")
	c.Flags().BoolVar(&f.detach, "detach", false, "go into the background, and return when the server is ready")
	return c
}

// settings returns what the flags set, by configuration key.
func (f *serveFlags) settings(cmd *cobra.Command, env *Env) map[string]string {
	set := map[string]string{}
	for key, v := range f.values {
		if *v != "" {
			set[key] = *v
		}
	}
	if cmd.Flags().Changed("port") {
		set["server.port"] = strconv.Itoa(f.port)
	}
	if env.flags.dataDir != "" {
		set["server.data_dir"] = env.flags.dataDir
	}
	if f.boot {
		set["cluster.bootstrap"] = "true"
	}
	if len(f.join) > 0 {
		set["cluster.seeds"] = strings.Join(f.join, ",")
	}
	return set
}

func serve(cmd *cobra.Command, env *Env, f *serveFlags) error {
	loaded, err := env.load(f.settings(cmd, env), true)
	if err != nil {
		return err
	}
	if f.detach {
		return env.detach(cmd.Context(), loaded)
	}
	return node.Run(cmd.Context(), loaded, node.Options{
		Version: env.Version, Dir: env.Dir, Environ: env.Environ, Stderr: env.Stderr,
		Ready: func(i node.Info) {
			if loaded.Config.Logging.Format != "json" {
				env.banner(i)
			}
		},
	})
}

// banner greets the operator.
func (e *Env) banner(i node.Info) {
	lines := [][2]string{
		{"API", "http://" + i.APIAddr},
		{"metrics", ""},
		{"data", i.DataDir},
		{"agents", fmt.Sprintf("%d from %s", i.Agents, i.AgentsDir)},
		{"model", i.Provider + " (" + i.Reason + ")"},
	}
	if i.MetricsAddr != "" {
		lines[1][1] = "http://" + i.MetricsAddr + "/metrics"
	}
	e.say("\nCaxton %s is ready.", e.Version)
	for _, l := range lines {
		if l[1] != "" {
			e.say("  %-8s %s", l[0], l[1])
		}
	}
	if i.Provider == "builtin" {
		e.say("           no language model: set OPENAI_API_KEY or ANTHROPIC_API_KEY, or run Ollama, for a real one")
	}
	e.say("\nSay hello:\n  curl -X POST http://%s/api/messages \\\n    -H 'Content-Type: application/json' \\\n    -d '{\"capability\": \"greeting\", \"content\": {\"message\": \"Hello!\"}}'\n", i.APIAddr)
}

// detach starts the server in the background and waits until it is ready.
func (e *Env) detach(ctx context.Context, loaded *config.Loaded) error {
	l, err := node.Locate(&loaded.Config, e.Dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.Data, 0o755); err != nil { //nolint:gosec // as datadir makes it
		return caxton.Errorf(caxton.Unavailable, "data_dir_unwritable", "the data directory %s cannot be made", l.Data).WithCause(err)
	}
	name := filepath.Join(l.Data, "serve.log")
	out, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640) //nolint:gosec // the operator's own directory
	if err != nil {
		return caxton.Errorf(caxton.Unavailable, "log_file_unwritable", "%s cannot be written", name).WithCause(err)
	}
	defer func() { _ = out.Close() }()
	var args []string
	for _, a := range os.Args[1:] {
		if a != "--detach" && !strings.HasPrefix(a, "--detach=") {
			args = append(args, a)
		}
	}
	child := exec.CommandContext(context.WithoutCancel(ctx), e.Exe, args...) //nolint:gosec // this very program
	child.Dir, child.Env, child.Stdout, child.Stderr = e.Dir, e.Environ, out, out
	setsid(child)
	if err := child.Start(); err != nil {
		return caxton.Errorf(caxton.Internal, "detach_failed", "the server could not be started").WithCause(err)
	}
	died := make(chan error, 1)
	go func() { died <- child.Wait() }() // ends with the child; this process may end first
	client := api.New(api.Config{BaseURL: "http://" + loaded.Config.APIAddr(), UnixSocket: l.Socket})
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-died:
			return caxton.Errorf(caxton.Unavailable, "server_died", "the server did not start").WithHint("%s says why", name).WithCause(err)
		case <-ctx.Done():
			return caxton.Errorf(caxton.Timeout, "start_timeout", "the server is not ready yet").WithHint("%s says why", name)
		case <-tick.C:
			if _, err := client.Ready(ctx); err == nil {
				e.say("server started, process %d, log %s", child.Process.Pid, name)
				return nil
			}
		}
	}
}

func newInit(env *Env) *cobra.Command {
	var agentsDir string
	c := &cobra.Command{
		Use: "init", Short: "Make a data directory, an agents directory with a sample agent, and a configuration",
		Long: "Needs no server. Makes what is missing and never overwrites: run it as often as you like.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return initialise(cmd.Context(), env, agentsDir) },
	}
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

func newHealth(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "health", Short: "Say whether the server is healthy; the exit code says it too", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
			defer cancel()
			h, err := env.Client().Health(ctx)
			if err != nil {
				return err
			}
			if _, err := env.Client().MemoryHealth(ctx); err != nil {
				return err
			}
			return env.Print(h, func(p *printer) { p.line("%s: %d agents, up %s", h.Status, h.Agents, seconds(h.UptimeSeconds)) })
		},
	}
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

func newStatus(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the server at a glance", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := env.Client().Status(cmd.Context())
			if caxton.KindOf(err) == caxton.Unavailable {
				if env.flags.output == "table" {
					_, _ = fmt.Fprintln(env.Stdout, "Status:  stopped")
				}
				return err
			}
			if err != nil {
				return err
			}
			return env.Print(s, func(p *printer) {
				total := 0
				var states []string
				for _, st := range []string{"running", "loaded", "suspended", "draining", "failed", "stopped"} {
					if n := s.Agents[st]; n > 0 {
						total += n
						states = append(states, fmt.Sprintf("%d %s", n, st))
					}
				}
				p.row("Status:", s.Status)
				p.row("Version:", s.Version)
				p.row("Uptime:", seconds(s.UptimeSeconds))
				p.row("Agents:", strings.TrimSpace(fmt.Sprintf("%d  (%s)", total, strings.Join(states, ", "))))
				p.row("Messages:", fmt.Sprintf("%d waiting, %d in flight, durability %s", s.Queued, s.InFlight, s.Durability))
				p.row("Model:", s.Provider)
				p.row("API:", s.APIAddress)
				p.row("Data:", fmt.Sprintf("%s (%s)", s.DataDir, size(s.DatabaseBytes)))
				p.row("Agent files:", s.AgentsDir)
				p.row("Resident:", size(s.MemoryBytes))
				for _, f := range s.Faults {
					p.line("Faulty file: %s: %s", f.Path, f.Message)
					for _, i := range f.Issues {
						p.line("  %s", caxton.Issue(i).String())
					}
				}
			})
		},
	}
}

// size prints a number of bytes for people.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f /= 1024
		i++
	}
	return strconv.FormatFloat(f, 'f', min(i, 1), 64) + " " + units[i]
}

func newVersion(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of this program", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			v := versionInfo(env.Version)
			return env.Print(v, func(p *printer) { p.line("caxton %s (%s, %s, API %s)", v.Version, v.Go, v.OS, v.API) })
		},
	}
}

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

// layout returns where the server that the flags and the configuration name keeps everything.
func (e *Env) layout() (datadir.Layout, error) {
	flags := map[string]string{}
	if e.flags.dataDir != "" {
		flags["server.data_dir"] = e.flags.dataDir
	}
	loaded, err := e.load(flags, false)
	if err != nil {
		return datadir.Layout{}, err
	}
	return node.Locate(&loaded.Config, e.Dir)
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
	l, lerr := e.layout()
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
	l, err := e.layout()
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
