package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/caxton/caxton/internal/node"
	"github.com/spf13/cobra"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	values map[string]*string // by configuration key
	names  []string           // of the flags
	port   int
	detach bool
	boot   bool
	join   []string
}

func newServe(env *Env) *cobra.Command {
	f := &serveFlags{values: map[string]*string{}}
	c := plain(&cobra.Command{
		Use: "serve", Short: "Run the server in the foreground",
		Long: "Runs the server until it is told to stop (Ctrl-C, SIGTERM, caxton shutdown). Needs no\n" +
			"configuration: flags win over the environment (CAXTON_…), that over the file, that over defaults.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd, env, f) },
	})
	f.register(c)
	return c
}

// register adds the flags to a command.
func (f *serveFlags) register(c *cobra.Command) {
	flags := c.Flags()
	f.names = []string{"port", "api-addr", "bootstrap", "join", "detach"}
	flag := func(name, key, usage string) {
		v := ""
		f.values[key] = &v
		f.names = append(f.names, name)
		flags.StringVar(&v, name, "", usage)
	}
	flags.IntVar(&f.port, "port", 0, "`port` of the API")
	flag("host", "server.host", "`address` to listen on")
	flag("agents-dir", "server.agents_dir", "`directory` of agent files")
	flag("metrics-addr", "observability.metrics_address", "`host:port` of the metrics")
	flag("log-level", "logging.level", "least `level` to log: debug, info, warn or error")
	flag("log-format", "logging.format", "`format` of log lines: text or json")
	flag("durability", "messaging.durability", "what accepted messages survive: `full`, normal or memory")
	flag("node-id", "cluster.node_id", "`name` of this node (no effect in this version)")
	flag("bind-addr", "cluster.bind_addr", "`host:port` for gossip (no effect in this version)")
	api := ""
	flags.StringVar(&api, "api-addr", "", "`host:port` of the API")
	f.values["networking.bind_address"] = &api
	flags.BoolVar(&f.boot, "bootstrap", false, "found a cluster (no effect in this version)")
	flags.StringSliceVar(&f.join, "join", nil, "`nodes` of a cluster to join (no effect in this version)")
	flags.BoolVar(&f.detach, "detach", false, "go into the background, and return when the server is ready")
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
	e.say("\nSay hello:\n  curl -X POST http://%s/api/messages \\\n    -H 'Content-Type: application/json' \\\n    -d '{\"capability\": \"greeting\", \"content\": {\"message\": \"Hello!\"}}'\n", dialable(i.APIAddr))
}
