package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/agentfile"
	"github.com/caxton/caxton/internal/node"
	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"
)

func newAgents(env *Env) *cobra.Command {
	return group("agents", "Deploy, watch, and look after agents", []string{"agent"},
		newAgentsList(env), newAgentsShow(env), newDeploy(env), newAgentsValidate(env), newAgentsValidateAll(env), newAgentsReload(env),
		newAgentsReloadStatus(env), newAgentsWatch(env), newAgentsStatus(env), newAgentsPing(env), newAgentsCapabilities(env),
		newAgentsTest(env), newLogs(env), newAgentsDebug(env), newAgentsDiagnose(env),
		newAgentsChange(env, "suspend", "Have agents take no more messages; they wait"),
		newAgentsChange(env, "resume", "Have suspended agents take messages again"),
		newAgentsChange(env, "restart", "Make the handlers of agents anew"),
		newAgentsAudit(env), newAgentsPerformance(env), newAgentsAnalyze(env), newAgentsRollback(env), newAgentsVersions(env),
		newAgentsDiff(env), newAgentsRemove(env), newAgentsSchema(env))
}

// agentNames completes the names of the agents there are.
func agentNames(env *Env) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		l, err := env.Client().Agents(ctx, api.AgentFilter{})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names := make([]string, 0, len(l.Items))
		for _, a := range l.Items {
			names = append(names, a.Slug)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// ofAgent returns a command whose one argument is an agent.
func ofAgent(env *Env, use, short string, run func(cmd *cobra.Command, ref string) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " AGENT", Short: short, Args: exactly("AGENT"), ValidArgsFunction: agentNames(env),
		RunE: func(cmd *cobra.Command, args []string) error { return run(cmd, args[0]) },
	}
}

func newAgentsList(env *Env) *cobra.Command {
	var f api.AgentFilter
	var count bool
	c := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List agents, and agent files that cannot be loaded", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.Type != "" && f.Type != "config" && f.Type != "wasm" {
				return errUsage("%q is not a type of agents", f.Type).WithHint("use config or wasm")
			}
			l, err := env.Client().Agents(cmd.Context(), f)
			if err != nil {
				return err
			}
			if count {
				_, err := fmt.Fprintln(env.Stdout, len(l.Items))
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("NAME", "SLUG", "TYPE", "STATE", "VERSION", "QUEUED", "CAPABILITIES", "NOTE")
				for _, a := range l.Items {
					note := ""
					if a.State == "failed" || len(a.Issues) > 0 {
						note = a.LastError
					}
					p.row(a.Name, a.Slug, a.Type, a.State, strconv.Itoa(a.Version), strconv.Itoa(a.Queued), strings.Join(a.Capabilities, ","), note)
				}
			})
		},
	}
	c.Flags().StringVar(&f.Type, "type", "", "only agents of this `type`: config or wasm")
	c.Flags().StringVar(&f.State, "state", "", "only agents in this `state`")
	c.Flags().StringVar(&f.Capability, "capability", "", "only agents with this `capability`")
	c.Flags().BoolVar(&count, "count", false, "print only their number")
	return c
}

func showAgent(p *printer, a api.Agent, verbose bool) {
	p.row("Name:", a.Name)
	p.row("Slug:", a.Slug)
	p.row("ID:", a.ID)
	p.row("Type:", a.Type)
	p.row("State:", a.State)
	p.row("Version:", fmt.Sprintf("%d of %d %s", a.Version, a.Versions, a.SemVersion))
	p.row("Capabilities:", strings.Join(a.Capabilities, ", "))
	p.row("Tools:", strings.Join(a.Tools, ", "))
	p.row("Source:", a.Source)
	if a.Description != "" {
		p.row("Description:", a.Description)
	}
	p.row("Messages:", fmt.Sprintf("%d waiting, %d in flight, %d handled, %d failed", a.Queued, a.InFlight, a.Handled, a.Failed))
	p.row("Latency:", fmt.Sprintf("P50 %.1f ms, P99 %.1f ms", a.LatencyP50, a.LatencyP99))
	if a.LastError != "" {
		p.row("Last error:", a.LastError)
	}
	if a.NextRestart != nil {
		p.row("Restarts:", a.NextRestart.Local().Format(time.TimeOnly))
	}
	for _, i := range a.Issues {
		p.line("  %s", caxton.Issue(i).String())
	}
	if !verbose {
		return
	}
	p.row("Restarts so far:", strconv.FormatInt(a.Restarts, 10))
	for _, t := range []struct {
		name string
		at   *time.Time
	}{{"Created:", a.CreatedAt}, {"Updated:", a.UpdatedAt}, {"Last activity:", a.LastActivity}, {"Last error at:", a.LastErrorAt}} {
		if t.at != nil {
			p.row(t.name, t.at.Local().Format(time.DateTime))
		}
	}
	if s, ok := a.Definition["SystemPrompt"].(string); ok && s != "" {
		p.line("System prompt:\n%s", indent(s))
	}
	if s, ok := a.Definition["Documentation"].(string); ok && s != "" {
		p.line("Documentation:\n%s", indent(s))
	}
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ")
}

func newAgentsShow(env *Env) *cobra.Command {
	var verbose bool
	c := ofAgent(env, "show", "Show one agent", func(cmd *cobra.Command, ref string) error {
		a, err := env.Client().Agent(cmd.Context(), ref)
		if err != nil {
			return err
		}
		return env.Print(a, func(p *printer) { showAgent(p, a, verbose) })
	})
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "also times, prompt and documentation")
	return c
}

func newAgentsStatus(env *Env) *cobra.Command {
	var summary bool
	c := &cobra.Command{
		Use: "status [AGENT]", Short: "Show how agents fare", Args: atMost(1), ValidArgsFunction: agentNames(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && !summary {
				a, err := env.Client().Agent(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return env.Print(a, func(p *printer) { showAgent(p, a, false) })
			}
			l, err := env.Client().Agents(cmd.Context(), api.AgentFilter{})
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				states := map[string]int{}
				for _, a := range l.Items {
					states[a.State]++
				}
				var parts []string
				for _, s := range []string{"running", "loaded", "suspended", "draining", "failed", "stopped"} {
					if states[s] > 0 {
						parts = append(parts, fmt.Sprintf("%d %s", states[s], s))
					}
				}
				p.line("%d agents: %s", len(l.Items), strings.Join(parts, ", "))
				p.row("AGENT", "STATE", "QUEUED", "IN FLIGHT", "HANDLED", "FAILED", "P50 MS", "P99 MS")
				for _, a := range l.Items {
					p.row(a.Slug, a.State, strconv.Itoa(a.Queued), strconv.Itoa(a.InFlight), strconv.FormatInt(a.Handled, 10), strconv.FormatInt(a.Failed, 10),
						fmt.Sprintf("%.1f", a.LatencyP50), fmt.Sprintf("%.1f", a.LatencyP99))
				}
			})
		},
	}
	c.Flags().BoolVar(&summary, "summary", false, "all agents on one screen (so it is without an agent)")
	return c
}

// newDeploy is agents deploy and, at the top, deploy.
func newDeploy(env *Env) *cobra.Command {
	var d api.Deploy
	var hot, dry bool
	var name, strategy string
	c := &cobra.Command{
		Use: "deploy FILE", Short: "Deploy an agent from a file, or a new version of it", Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := args[0]
			if filepath.Ext(file) == ".wasm" {
				return caxton.Errorf(caxton.Invalid, "wasm_not_supported", "%s is a module; this version runs config agents only", file)
			}
			text, err := readAgent(env.path(file), file)
			if err != nil {
				return err
			}
			if strategy != "" && strategy != "immediate" {
				return errUsage("the strategy %q is not in this version", strategy).WithHint("use immediate")
			}
			d.Text, d.Format, d.Name, d.ValidateOnly = text, agentfile.Format(file, text), name, dry
			out, err := env.Client().Deploy(cmd.Context(), d)
			if err != nil {
				return inFile(err, file)
			}
			for _, w := range out.Warnings {
				w.Path = file
				env.say("%s", caxton.Issue(w).String())
			}
			return env.Print(out, func(p *printer) { printDeployment(p, out) })
		},
	}
	c.Flags().BoolVar(&hot, "hot-reload", false, "replace without downtime if it exists (so it always is)")
	c.Flags().StringVarP(&name, "name", "n", "", "file `name` to remember for the agent")
	c.Flags().StringVar(&d.Author, "author", "", "`who` deploys, for the list of versions")
	c.Flags().BoolVar(&dry, "dry-run", false, "check everything, change nothing")
	c.Flags().BoolVar(&d.MoveConversations, "move-conversations", false, "running conversations move to the new version too")
	c.Flags().StringVar(&strategy, "strategy", "", "`strategy` of the rollout: immediate")
	return c
}

func printDeployment(p *printer, d api.Deployment) {
	switch d.Status {
	case "unchanged":
		p.line("%s is unchanged at version %d", d.Slug, d.Version)
	case "validated":
		p.line("%s is valid", d.Slug)
	case "deployed":
		p.line("%s deployed, version %d (%.1f ms)", d.Slug, d.Version, d.Millis)
	default:
		p.line("%s %s, version %d to %d (%.1f ms)", d.Slug, strings.ReplaceAll(d.Status, "_", " "), d.FromVersion, d.Version, d.Millis)
	}
}

func readAgent(path, shown string) ([]byte, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the user's own file
	if err != nil {
		kind, what := caxton.NotFound, "there is no file"
		if _, serr := os.Stat(path); serr == nil {
			kind, what = caxton.Forbidden, "cannot read"
		}
		return nil, caxton.Errorf(kind, "file_unreadable", "%s %s", what, shown).WithCause(err)
	}
	return text, nil
}

// inFile gives the issues of a definition the name of the file they are in.
func inFile(err error, file string) error {
	e, ok := err.(*caxton.Error) //nolint:errorlint // the client returns it as it is
	if !ok {
		return err
	}
	c := *e
	c.Issues = slices.Clone(e.Issues)
	for i := range c.Issues {
		if c.Issues[i].Path == "" {
			c.Issues[i].Path = file
		}
	}
	return &c
}

// validateFiles checks agent files here and, when a server answers, also what only it knows.
func validateFiles(cmd *cobra.Command, env *Env, files []string) error {
	type result struct {
		File     string      `json:"file"`
		Valid    bool        `json:"valid"`
		Errors   []api.Issue `json:"errors"`
		Warnings []api.Issue `json:"warnings"`
	}
	known := toolNames()
	var all []result
	bad := caxton.Errorf(caxton.Invalid, "agent_invalid", "")
	for _, f := range files {
		text, err := readAgent(env.path(f), f)
		if err != nil {
			return err
		}
		_, issues := agentfile.Parse(f, text, "", agentfile.Options{CheckTemplate: checkTemplate, Tool: known})
		r := result{File: f, Valid: true, Errors: []api.Issue{}, Warnings: []api.Issue{}}
		for _, i := range issues {
			if i.Warning {
				r.Warnings = append(r.Warnings, api.Issue(i))
				continue
			}
			r.Valid, r.Errors = false, append(r.Errors, api.Issue(i))
			bad.Issues = append(bad.Issues, i)
		}
		all = append(all, r)
	}
	err := env.Print(all, func(p *printer) {
		for _, r := range all {
			for _, w := range r.Warnings {
				p.line("%s", caxton.Issue(w).String())
			}
			if r.Valid {
				p.line("%s is valid", r.File)
			}
		}
	})
	if len(bad.Issues) > 0 {
		bad.Message = fmt.Sprintf("%d faults in agent files", len(bad.Issues))
		if len(bad.Issues) == 1 {
			bad.Message = "one fault in an agent file"
		}
		return bad
	}
	_ = cmd
	return err
}

func newAgentsValidate(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "validate FILE...", Short: "Check agent files; needs no server",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errUsage("%s: FILE is missing", cmd.CommandPath()).WithHint("usage: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return validateFiles(cmd, env, args) },
	}
}

// agentFiles returns the agent files of a directory, sorted.
func agentFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, caxton.Errorf(caxton.NotFound, "agents_dir_unreadable", "the agents directory %s cannot be read", dir).
			WithHint("name another with --agents-dir").WithCause(err)
	}
	var files []string
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if agentFile(e, name) {
			files = append(files, name)
		}
	}
	return files, nil
}

// agentFile reports whether a directory entry is an agent file, as the server sees it.
func agentFile(e fs.DirEntry, name string) bool {
	base := strings.TrimSuffix(e.Name(), filepath.Ext(name))
	if e.IsDir() || strings.HasPrefix(e.Name(), ".") || strings.HasPrefix(e.Name(), "#") || strings.HasSuffix(e.Name(), "~") || strings.EqualFold(base, "readme") {
		return false
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".toml", ".json", ".yaml", ".yml":
		return true
	case ".md", ".markdown":
		text, err := os.ReadFile(name) //nolint:gosec // the user's own directory
		return err != nil || strings.HasPrefix(strings.TrimPrefix(string(text), "\ufeff"), "---")
	}
	return false
}

func newAgentsValidateAll(env *Env) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "validate-all", Short: "Check every file of the agents directory; needs no server", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := env.filesOf(dir)
			if err != nil {
				return err
			}
			if len(files) == 0 {
				env.say("there are no agent files")
			}
			return validateFiles(cmd, env, files)
		},
	}
	c.Flags().StringVar(&dir, "agents-dir", "", "`directory` of agent files (default: the configured one)")
	return c
}

// filesOf returns the agent files of dir, or of the configured directory.
func (e *Env) filesOf(dir string) ([]string, error) {
	if dir != "" {
		return agentFiles(e.path(dir))
	}
	loaded, err := e.load(nil, false)
	if err != nil {
		return nil, err
	}
	l, err := node.Locate(&loaded.Config, e.Dir)
	if err != nil {
		return nil, err
	}
	return agentFiles(l.Agents)
}

func newAgentsReload(env *Env) *cobra.Command {
	var all, first, gradual bool
	c := &cobra.Command{
		Use: "reload [AGENT]", Short: "Bring agent files into force at once; without an agent all of them", Args: atMost(1), ValidArgsFunction: agentNames(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && !all {
				return reloadOne(cmd, env, args[0])
			}
			l, err := env.Client().ReloadAll(cmd.Context(), first)
			if err != nil {
				return err
			}
			if err := env.Print(l, func(p *printer) {
				p.row("AGENT", "STATE", "VERSION", "MS", "ERROR")
				for _, r := range l.Items {
					p.row(r.Agent, r.State, strconv.Itoa(r.ToVersion), fmt.Sprintf("%.1f", r.Millis), r.Error)
				}
			}); err != nil {
				return err
			}
			for _, r := range l.Items {
				if r.State == "failed" {
					return caxton.Errorf(caxton.Invalid, "reload_failed", "not every file could be loaded").WithHint("caxton agents diagnose --show-errors says why; the versions before go on running")
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&all, "all-config", false, "every agent file")
	c.Flags().BoolVar(&first, "validate-first", false, "change nothing unless every file is sound")
	c.Flags().BoolVar(&gradual, "gradual", false, "one after the other, each waited for (so it always is)")
	return c
}

func reloadOne(cmd *cobra.Command, env *Env, ref string) error {
	d, err := env.Client().Reload(cmd.Context(), ref)
	if err != nil {
		return err
	}
	for _, w := range d.Warnings {
		env.say("%s", caxton.Issue(w).String())
	}
	return env.Print(d, func(p *printer) { printDeployment(p, d) })
}

// newReload is the short form: reload --agent NAME.
func newReload(env *Env) *cobra.Command {
	c := newAgentsReload(env)
	agent := ""
	run := c.RunE
	c.Flags().StringVar(&agent, "agent", "", "the `agent` to reload")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if agent != "" {
			args = append(args, agent)
		}
		if len(args) > 1 {
			return errUsage("name one agent")
		}
		return run(cmd, args)
	}
	return c
}

func newAgentsReloadStatus(env *Env) *cobra.Command {
	return ofAgent(env, "reload-status", "Show the result of the last reload", func(cmd *cobra.Command, ref string) error {
		r, err := env.Client().ReloadStatus(cmd.Context(), ref)
		if err != nil {
			return err
		}
		return env.Print(r, func(p *printer) {
			p.row("Agent:", r.Agent)
			p.row("State:", r.State)
			p.row("Version:", fmt.Sprintf("%d to %d", r.FromVersion, r.ToVersion))
			p.row("At:", r.At.Local().Format(time.DateTime))
			p.row("Took:", fmt.Sprintf("%.1f ms", r.Millis))
			if r.Error != "" {
				p.row("Error:", r.Error)
			}
			for _, i := range r.Issues {
				p.line("  %s", caxton.Issue(i).String())
			}
		})
	})
}

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
				printError(env.Stderr, inFile(err, f))
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

func newAgentsPing(env *Env) *cobra.Command {
	return ofAgent(env, "ping", "Ask an agent for a sign of life; the exit code tells", func(cmd *cobra.Command, ref string) error {
		r, err := env.Client().Ping(cmd.Context(), ref)
		if err != nil {
			return err
		}
		return env.Print(r, func(p *printer) { p.line("%s is alive (%.0f µs)", r.Agent, r.Micros) })
	})
}

func newAgentsCapabilities(env *Env) *cobra.Command {
	return ofAgent(env, "capabilities", "List what an agent can do", func(cmd *cobra.Command, ref string) error {
		r, err := env.Client().AgentCapabilities(cmd.Context(), ref)
		if err != nil {
			return err
		}
		return env.Print(r, func(p *printer) {
			for _, c := range r.Items {
				p.line("%s", c)
			}
		})
	})
}

func newAgentsTest(env *Env) *cobra.Command {
	var input string
	c := ofAgent(env, "test", "Send an agent an input and show the reply and all that happened", func(cmd *cobra.Command, ref string) error {
		if input == "" {
			return errUsage("--input is missing").WithHint("say what to send: --input TEXT")
		}
		r, err := env.Client().Test(cmd.Context(), ref, input)
		if err != nil {
			return err
		}
		if err := env.Print(r, func(p *printer) {
			for _, rec := range r.Records {
				if rec.Kind != "message" {
					p.row("#", rec.Kind, summary(rec))
				}
			}
			p.line("%s", r.Reply.Text)
		}); err != nil {
			return err
		}
		if r.Reply.Performative == string(caxton.Failure) {
			return exitCode(1)
		}
		return nil
	})
	c.Flags().StringVar(&input, "input", "", "`text` to send")
	return c
}

// newLogs is agents logs and, at the top, logs.
func newLogs(env *Env) *cobra.Command {
	var tail int
	var level string
	var follow bool
	c := ofAgent(env, "logs", "Print the log of an agent", func(cmd *cobra.Command, ref string) error {
		if tail < 1 || tail > 10_000 {
			return errUsage("--tail %d is not between 1 and 10000", tail)
		}
		line := func(p *printer, l api.LogLine) {
			var attrs []string
			for k, v := range l.Attrs {
				attrs = append(attrs, fmt.Sprintf("%s=%v", k, v))
			}
			slices.Sort(attrs)
			p.line("%s %-5s %s %s", l.At.Local().Format("2006-01-02 15:04:05.000"), l.Level, l.Message, strings.Join(attrs, " "))
		}
		if follow {
			err := env.Client().FollowLogs(cmd.Context(), ref, tail, level, func(l api.LogLine) error {
				p := &printer{w: env.Stdout}
				line(p, l)
				return p.flush()
			})
			if cmd.Context().Err() != nil {
				return nil //nolint:nilerr // the reader has had enough
			}
			return err
		}
		l, err := env.Client().Logs(cmd.Context(), ref, tail, level)
		if err != nil {
			return err
		}
		return env.Print(l, func(p *printer) {
			for _, x := range l.Items {
				line(p, x)
			}
		})
	})
	c.Flags().IntVar(&tail, "tail", 100, "only the last `lines`")
	c.Flags().StringVar(&level, "level", "", "only lines of at least this `level`")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new lines until Ctrl-C")
	return c
}

func debugAgent(cmd *cobra.Command, env *Env, ref, input string, tools bool) error {
	d, err := env.Client().Debug(cmd.Context(), ref, input)
	if err != nil {
		return err
	}
	return env.Print(d, func(p *printer) {
		showAgent(p, d.Agent, true)
		p.line("Tools:")
		for _, t := range d.Tools {
			p.line("  %s: %s", t.Name, t.Description)
			if tools {
				p.line("    %s", t.Parameters)
			}
		}
		if d.Prompt.Error != "" {
			p.line("Prompt: %s", d.Prompt.Error)
		}
		p.line("Prompt for this message:")
		for _, m := range d.Prompt.Messages {
			p.line("%s", indent(m))
		}
		p.line("Newest conversations:")
		for _, c := range d.Conversations {
			p.row("  "+c.ID, c.Status, fmt.Sprintf("%d messages", c.MessageCount), c.LastActivity.Local().Format(time.DateTime))
		}
	})
}

func newAgentsDebug(env *Env) *cobra.Command {
	var tools bool
	var input string
	c := ofAgent(env, "debug", "Show an agent from the inside: definition, tools, prompt", func(cmd *cobra.Command, ref string) error {
		return debugAgent(cmd, env, ref, input, tools)
	})
	c.Flags().BoolVar(&tools, "show-tools", false, "also the schemas of its tools")
	c.Flags().StringVar(&input, "input", "", "show the prompt for this `text`")
	return c
}

// newDebug is the short form: debug --agent-id ID.
func newDebug(env *Env) *cobra.Command {
	var id, input string
	var tools bool
	c := &cobra.Command{
		Use: "debug", Short: "Show an agent from the inside", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if id == "" {
				return errUsage("--agent-id is missing").WithHint("name an agent: caxton debug --agent-id NAME")
			}
			return debugAgent(cmd, env, id, input, tools)
		},
	}
	c.Flags().StringVar(&id, "agent-id", "", "`agent`: ID, name, slug or file name")
	c.Flags().BoolVar(&tools, "show-tools", false, "also the schemas of its tools")
	c.Flags().StringVar(&input, "input", "", "show the prompt for this `text`")
	return c
}

func newAgentsDiagnose(env *Env) *cobra.Command {
	var errs bool
	c := &cobra.Command{
		Use: "diagnose", Short: "Say what is wrong with agents and their files", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := env.Client().Agents(cmd.Context(), api.AgentFilter{})
			if err != nil {
				return err
			}
			bad := api.AgentList{Items: []api.Agent{}}
			for _, a := range l.Items {
				if a.State == "failed" || a.LastError != "" || len(a.Issues) > 0 {
					bad.Items = append(bad.Items, a)
				}
			}
			bad.Agents, bad.Total = bad.Items, len(bad.Items)
			return env.Print(bad, func(p *printer) {
				if len(bad.Items) == 0 {
					p.line("nothing is wrong with %d agents", len(l.Items))
				}
				for _, a := range bad.Items {
					p.line("%s (%s): %s", a.Slug, a.State, a.LastError)
					for _, i := range a.Issues {
						if errs || len(a.Issues) < 4 {
							p.line("  %s", caxton.Issue(i).String())
						}
					}
				}
			})
		},
	}
	c.Flags().BoolVar(&errs, "show-errors", false, "every fault of every file")
	return c
}

func newAgentsChange(env *Env, verb, short string) *cobra.Command {
	var failing, all bool
	c := &cobra.Command{
		Use: verb + " [AGENT]", Short: short, Args: atMost(1), ValidArgsFunction: agentNames(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && !failing && !all {
				return errUsage("%s: name an agent, or say --all or --failing-only", cmd.CommandPath())
			}
			if len(args) == 1 && (failing || all) {
				return errUsage("%s: an agent, or --all, or --failing-only: one of them", cmd.CommandPath())
			}
			if len(args) == 0 {
				n, err := env.Client().ChangeMany(cmd.Context(), verb, failing)
				if err != nil {
					return err
				}
				return env.Print(n, func(p *printer) {
					p.line("%s: %d agents %s", verb, len(n.Items), strings.Join(n.Items, ", "))
				})
			}
			change := map[string]func(context.Context, string) (api.Agent, error){
				"suspend": env.Client().Suspend, "resume": env.Client().Resume, "restart": env.Client().Restart,
			}[verb]
			a, err := change(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return env.Print(a, func(p *printer) { p.line("%s is %s", a.Slug, a.State) })
		},
	}
	c.Flags().BoolVar(&failing, "failing-only", false, "the agents that are failing")
	c.Flags().BoolVar(&all, "all", false, "all agents")
	return c
}

func newAgentsAudit(env *Env) *cobra.Command {
	var unused bool
	c := &cobra.Command{
		Use: "audit-tools", Short: "Compare the tools agents declare with those they use", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := env.Client().AuditTools(cmd.Context())
			if err != nil {
				return err
			}
			return env.Print(u, func(p *printer) {
				p.row("AGENT", "DECLARED", "USED", "UNUSED")
				for _, a := range u.Items {
					var used []string
					for t, n := range a.Uses {
						used = append(used, fmt.Sprintf("%s (%d)", t, n))
					}
					slices.Sort(used)
					if !unused || len(a.Unused) > 0 {
						p.row(a.Agent, strings.Join(a.Declared, ","), strings.Join(used, ","), strings.Join(a.Unused, ","))
					}
				}
			})
		},
	}
	c.Flags().BoolVar(&unused, "show-unused", false, "only agents with tools they never used")
	return c
}

func newAgentsPerformance(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "performance-report", Aliases: []string{"performance"}, Short: "Show latency, errors and throughput of agents", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := env.Client().Performance(cmd.Context())
			if err != nil {
				return err
			}
			return env.Print(r, func(p *printer) {
				p.row("AGENT", "STATE", "HANDLED", "FAILED", "ERRORS", "P50 MS", "P99 MS", "PER MIN", "QUEUED")
				for _, a := range r.Items {
					p.row(a.Agent, a.State, strconv.FormatInt(a.Handled, 10), strconv.FormatInt(a.Failed, 10), fmt.Sprintf("%.1f%%", 100*a.ErrorRate),
						fmt.Sprintf("%.1f", a.LatencyP50), fmt.Sprintf("%.1f", a.LatencyP99), fmt.Sprintf("%.1f", a.PerMinute), strconv.Itoa(a.Queued))
				}
			})
		},
	}
}

func newAgentsAnalyze(env *Env) *cobra.Command {
	var pattern, last string
	c := &cobra.Command{
		Use: "analyze", Short: "Search the logs of agents for a regular expression", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if pattern == "" {
				return errUsage("--pattern is missing").WithHint(`for example --pattern "error|timeout"`)
			}
			a, err := env.Client().Analyze(cmd.Context(), pattern, last)
			if err != nil {
				return err
			}
			return env.Print(a, func(p *printer) {
				p.line("%d matches since %s", a.Matches, a.Since.Local().Format(time.DateTime))
				p.row("AGENT", "MATCHES")
				for _, n := range sortedKeys(a.ByAgent) {
					p.row(n, strconv.Itoa(a.ByAgent[n]))
				}
				for _, l := range a.Items {
					p.line("%s %-5s %s: %s", l.At.Local().Format(time.DateTime), l.Level, l.Agent, l.Message)
				}
			})
		},
	}
	c.Flags().StringVar(&pattern, "pattern", "", "regular `expression`, in any case")
	c.Flags().StringVar(&last, "last", "1h", "how `long` to look back")
	return c
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func newAgentsRollback(env *Env) *cobra.Command {
	var to int
	c := ofAgent(env, "rollback", "Make an older version active again", func(cmd *cobra.Command, ref string) error {
		d, err := env.Client().Rollback(cmd.Context(), ref, to)
		if err != nil {
			return err
		}
		return env.Print(d, func(p *printer) { printDeployment(p, d) })
	})
	c.Flags().IntVar(&to, "to-version", 0, "`version` (default: the one before the active one)")
	c.Flags().IntVar(&to, "to", 0, "the same as --to-version")
	return c
}

func newAgentsVersions(env *Env) *cobra.Command {
	return ofAgent(env, "versions", "List the versions of an agent", func(cmd *cobra.Command, ref string) error {
		vs, err := env.Client().Versions(cmd.Context(), ref)
		if err != nil {
			return err
		}
		return env.Print(vs, func(p *printer) {
			p.row("VERSION", "ACTIVE", "CREATED", "AUTHOR", "FORMAT", "HASH", "SOURCE")
			for _, v := range vs.Items {
				active := ""
				if v.Active {
					active = "*"
				}
				p.row(strconv.Itoa(v.Number), active, v.CreatedAt.Local().Format(time.DateTime), v.Author, v.Format, v.Hash[:min(12, len(v.Hash))], v.Source)
			}
		})
	})
}

func newAgentsDiff(env *Env) *cobra.Command {
	var from, to int
	c := ofAgent(env, "diff", "Compare two versions of an agent", func(cmd *cobra.Command, ref string) error {
		d, err := env.Client().Diff(cmd.Context(), ref, from, to)
		if err != nil {
			return err
		}
		return env.Print(d, func(p *printer) {
			if d.Diff == "" {
				p.line("versions %d and %d are equal", d.From, d.To)
				return
			}
			p.write(d.Diff)
		})
	})
	c.Flags().IntVar(&from, "from", 0, "older `version` (default: the one before --to)")
	c.Flags().IntVar(&to, "to", 0, "newer `version` (default: the active one)")
	return c
}

func newAgentsRemove(env *Env) *cobra.Command {
	var force, yes bool
	c := ofAgent(env, "remove", "Undeploy an agent and forget its versions", func(cmd *cobra.Command, ref string) error {
		if err := env.confirm(cmd.Context(), yes || force, "remove "+ref+" and all its versions?"); err != nil {
			return err
		}
		if err := env.Client().RemoveAgent(cmd.Context(), ref, force); err != nil {
			return err
		}
		env.say("%s removed", ref)
		return nil
	})
	c.Aliases = []string{"rm", "delete"}
	c.Flags().BoolVar(&force, "force", false, "also when messages wait for it: they fail")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func newAgentsSchema(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of an agent file; needs no server", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := env.Stdout.Write(append(agentfile.Schema(), '\n'))
			return err
		},
	}
}
