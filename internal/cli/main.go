package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/caxton/caxton"
	"github.com/spf13/cobra"
)

// Main runs the command that args name and returns the exit code.
func Main(ctx context.Context, env *Env, args []string) int {
	env.args = args
	root := newRoot(env) //nolint:contextcheck // commands get the context from cobra
	root.SetArgs(args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	err := root.ExecuteContext(ctx)
	if env.client != nil {
		env.client.Close()
	}
	if err == nil {
		return 0
	}
	if silent, ok := errors.AsType[exitCode](err); ok {
		return int(silent)
	}
	err = env.classify(root, args, err)
	env.printError(err)
	return code(caxton.KindOf(err))
}

// An exitCode ends the program with a code and without a word.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit %d", int(c)) }

// code returns the exit code that a kind of error means.
func code(k caxton.Kind) int {
	switch k {
	case caxton.Malformed, caxton.Invalid, caxton.TooLarge:
		return 2
	case caxton.NotFound:
		return 3
	case caxton.Unauthenticated, caxton.Forbidden:
		return 4
	case caxton.Conflict:
		return 5
	case caxton.Exhausted, caxton.Unavailable:
		return 6
	case caxton.Timeout:
		return 7
	case caxton.Canceled:
		return 130
	case caxton.Internal:
		return 1
	}
	return 1
}

// classify gives an error that has no kind the one it means. What fails before a command
// runs is a mistake in the arguments that cobra has found; afterwards it is our fault, unless
// a context has ended.
func (e *Env) classify(root *cobra.Command, args []string, err error) error {
	if _, ok := errors.AsType[*caxton.Error](err); ok {
		return err
	}
	switch {
	case errors.Is(err, context.Canceled):
		return caxton.Errorf(caxton.Canceled, "canceled", "interrupted").WithCause(err)
	case errors.Is(err, context.DeadlineExceeded):
		return caxton.Errorf(caxton.Timeout, "timeout", "it took too long").WithCause(err)
	case e.running:
		return err
	}
	cmd, _, ferr := root.Find(args)
	if ferr != nil || cmd == nil {
		cmd = root
	}
	return badFlag(cmd, err)
}

// badFlag is a mistake in the arguments that cobra has found.
func badFlag(cmd *cobra.Command, err error) error {
	if words := cmd.Flags().Args(); len(words) > 0 && (cmd.HasSubCommands() || future(cmd, words[0])) {
		return unknown(cmd, words) // the flag is unknown because the word before it is
	}
	msg, _, _ := strings.Cut(err.Error(), "\n")
	return errUsage("%s", msg).WithHint("%s --help shows how it is used", cmd.CommandPath())
}

// newRoot returns the whole tree of commands.
func newRoot(env *Env) *cobra.Command {
	bare := &serveFlags{values: map[string]*string{}}
	var version bool
	root := &cobra.Command{
		Use:   "caxton",
		Short: "Application server for AI agents in one binary",
		Long: "Caxton runs AI agents that are files: serve starts the server, agents deploys and watches\n" +
			"them, message and chat talk to them. Without a verb but with --config it serves.",
		SilenceUsage: true, SilenceErrors: true, SuggestionsMinimumDistance: 2,
		Args: unknown,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version { // cobra's own flag needs templates, which cost 17 MB: see scripts/check-size.sh
				_, err := fmt.Fprintln(env.Stdout, "caxton", env.Version)
				return err
			}
			if env.flags.config != "" {
				return serve(cmd, env, bare)
			}
			if len(bare.settings(cmd, env)) > 0 || bare.detach {
				return errUsage("a verb is missing").WithHint("caxton serve starts the server")
			}
			return cmd.Help()
		},
	}
	root.Flags().BoolVar(&version, "version", false, "print the version of this program")
	root.CompletionOptions.HiddenDefaultCmd = false
	f := root.PersistentFlags()
	f.StringVar(&env.flags.config, "config", "", "configuration `file` (YAML, TOML or JSON)")
	f.StringVar(&env.flags.server, "server", "", "`address` of the server, as http://127.0.0.1:8080 or unix:PATH (or CAXTON_SERVER)")
	f.StringVar(&env.flags.socket, "socket", "", "unix `socket` of the server")
	f.StringVar(&env.flags.dataDir, "data-dir", "", "data `directory` of the server; it is asked and no other (or CAXTON_DATA_DIR)")
	f.StringVar(&env.flags.token, "token", "", "`token` sent to the server (or CAXTON_TOKEN)")
	f.StringVar(&env.flags.token, "api-key", "", "the same as --token")
	f.StringVarP(&env.flags.output, "output", "o", "table", "`format` of the result: table, json or yaml")
	f.BoolVar(&env.flags.noColor, "no-color", false, "no colours, on a terminal too (or NO_COLOR)")
	bare.register(root)
	for _, name := range bare.names {
		_ = root.Flags().MarkHidden(name) // the help of serve has it
	}
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return env.prepare(cmd) }
	root.AddGroup(&cobra.Group{ID: "server", Title: "Server:"}, &cobra.Group{ID: "agents", Title: "Agents:"}, &cobra.Group{ID: "talk", Title: "Messages:"}, &cobra.Group{ID: "memory", Title: "Memory:"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("server", newServe(env), group("server", "Start the server"), newInit(env), newValidate(env), newConfig(env), newHealth(env), newStatus(env), newVersion(env), newShutdown(env), newBench(env))
	add("agents", newAgents(env), newTools(env), newCapabilities(env))
	add("talk", newMessages(env), newChat(env), newConversations(env), newEvents(env), newTrace(env), newWhy(env), newApprovals(env), newEffects(env), newBudgets(env), newWebhooks(env))
	add("memory", newMemory(env))
	addAliases(root, env)
	root.SetFlagErrorFunc(badFlag)
	root.SetHelpCommand(newHelp())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	env.finish(root)
	return root
}

// newHelp replaces cobra's command, which takes unknown commands for success.
func newHelp() *cobra.Command {
	return plain(&cobra.Command{
		Use: "help [COMMAND]", Short: "Show the help of a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if c.HasSubCommands() && len(rest) > 0 {
				return unknown(c, rest)
			}
			c.InitDefaultHelpFlag()
			return c.Help()
		},
	})
}

// finish gives every command of the tree what all have in common.
func (e *Env) finish(cmd *cobra.Command) {
	switch p := cmd.Parent(); {
	case p != nil && p.Name() == "completion":
		plain(cmd)
	case cmd.Name() == "completion":
		cmd.Args, cmd.RunE = unknown, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			e.running = true
			return run(cmd, args)
		}
	}
	if !cmd.HasSubCommands() {
		cmd.Long = cmp.Or(cmd.Long, cmd.Short+".") + "\n\n" + cmp.Or(cmd.Annotations[sortKey], remote)
	}
	for _, child := range cmd.Commands() {
		e.finish(child)
	}
}

// sortKey is the annotation of a command that says of what sort it is; without it a command
// is remote.
const sortKey = "sort"

// The sorts of commands, in the words of their help.
const (
	remote = "Asks a server: that of --server or --data-dir, of CAXTON_SERVER or CAXTON_DATA_DIR, or the one here."
	local  = "Needs no server."
)

// plain marks a command that asks no server.
func plain(cmd *cobra.Command) *cobra.Command {
	cmd.Annotations = map[string]string{sortKey: local}
	return cmd
}

// prepare does before a command runs what all have in common.
func (e *Env) prepare(cmd *cobra.Command) error {
	switch e.flags.output {
	case "table", "json", "yaml":
	default:
		return errUsage("%q is not an output format", e.flags.output).WithHint("use table, json or yaml")
	}
	if cmd.HasSubCommands() || cmd.Annotations[sortKey] != "" || strings.HasPrefix(cmd.Name(), cobra.ShellCompRequestCmd) {
		return nil
	}
	return e.connect()
}

// unknown refuses an unknown command: it says what was probably meant, or that the part is
// still to come.
func unknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if future(cmd, args[0]) {
		return errUsage("%s %s is not in this version", cmd.CommandPath(), args[0]).WithHint("caxton --help lists the commands there are")
	}
	e := errUsage("there is no command %q", cmd.CommandPath()+" "+args[0])
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		return e.WithHint("did you mean %s %s?", cmd.CommandPath(), s[0])
	}
	return e.WithHint("%s --help lists the commands there are", cmd.CommandPath())
}

// future reports whether a word below a command is a command that documents describe and
// that this version does not have. It is asked about words that are no command.
func future(cmd *cobra.Command, word string) bool {
	if cmd == cmd.Root() {
		switch word {
		case "storage", "cluster", "backup", "restore", "audit", "keys", "safe-mode":
			return true
		}
	}
	return word == "dump" && cmd.Name() == "debug"
}

// group returns a command that only has children.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		Args: unknown,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(children...)
	return c
}

// exactly wants the arguments that names list, no more and no fewer.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return errUsage("%s: %s is missing", cmd.CommandPath(), names[len(args)]).WithHint("usage: %s", cmd.UseLine())
		}
		return atMost(len(names))(cmd, args)
	}
}

// atMost wants no more than n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n && future(cmd, args[n]) {
			return unknown(cmd, args[n:])
		}
		if len(args) > n {
			return errUsage("%s: %q is one argument too many", cmd.CommandPath(), args[n]).WithHint("usage: %s", cmd.UseLine())
		}
		return nil
	}
}
