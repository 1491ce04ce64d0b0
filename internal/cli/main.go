package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/caxton/caxton"
	"github.com/spf13/cobra"
)

// Main runs the command that args name and returns the exit code.
func Main(ctx context.Context, env *Env, args []string) int {
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
	err = usage(root, args, err)
	printError(env.Stderr, err)
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

// printError prints what went wrong, each fault on a line of its own, and what to do.
func printError(w io.Writer, err error) {
	var e *caxton.Error
	if !errors.As(err, &e) {
		_, _ = fmt.Fprintf(w, "error: %v\n", err)
		return
	}
	msg := e.Message
	if before, _, ok := strings.Cut(err.Error(), e.Error()); ok && before != "" {
		msg = before + msg // context that was added on the way
	}
	if e.Kind == caxton.Internal && e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	_, _ = fmt.Fprintf(w, "error: %s\n", msg)
	for _, i := range e.Issues {
		if s := i.String(); !strings.HasSuffix(e.Message, s) {
			_, _ = fmt.Fprintf(w, "  %s\n", s)
		}
	}
	if e.Hint != "" {
		_, _ = fmt.Fprintf(w, "hint: %s\n", e.Hint)
	}
}

// usage turns cobra's own errors into ours; they are the ones that are no *caxton.Error.
func usage(root *cobra.Command, args []string, err error) error {
	if _, ok := errors.AsType[*caxton.Error](err); ok {
		return err
	}
	cmd, _, ferr := root.Find(args)
	if ferr != nil || cmd == nil {
		cmd = root
	}
	msg, _, _ := strings.Cut(err.Error(), "\n")
	return caxton.Errorf(caxton.Malformed, "usage", "%s", msg).WithHint("%s --help shows how it is used", cmd.CommandPath())
}

// newRoot returns the whole tree of commands.
func newRoot(env *Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "caxton",
		Short: "Application server for AI agents in one binary",
		Long: "Caxton runs AI agents that are files: serve starts the server, agents deploys and watches\n" +
			"them, message and chat talk to them. Without a verb but with --config it serves.",
		SilenceUsage: true, SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error { return unknown(cmd, args) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			if env.flags.config != "" {
				return serve(cmd, env, &serveFlags{})
			}
			return cmd.Help()
		},
		Version: env.Version,
	}
	root.SetVersionTemplate("caxton {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = false
	f := root.PersistentFlags()
	f.StringVar(&env.flags.config, "config", "", "configuration `file` (YAML, TOML or JSON)")
	f.StringVar(&env.flags.server, "server", "", "`address` of the server, as http://127.0.0.1:8080 or unix:PATH (or CAXTON_SERVER)")
	f.StringVar(&env.flags.socket, "socket", "", "unix `socket` of the server")
	f.StringVar(&env.flags.dataDir, "data-dir", "", "data `directory` of the server; it is asked and no other (or CAXTON_DATA_DIR)")
	f.StringVar(&env.flags.token, "token", "", "`token` sent to the server (or CAXTON_TOKEN)")
	f.StringVar(&env.flags.token, "api-key", "", "the same as --token")
	f.StringVarP(&env.flags.output, "output", "o", "table", "`format` of the result: table, json or yaml")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return env.prepare(cmd) }
	root.AddGroup(&cobra.Group{ID: "server", Title: "Server:"}, &cobra.Group{ID: "agents", Title: "Agents:"}, &cobra.Group{ID: "talk", Title: "Messages:"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("server", newServe(env), newServer(env), newInit(env), newValidate(env), newConfig(env), newHealth(env), newStatus(env), newVersion(env), newShutdown(env))
	add("agents", newAgents(env), newDeploy(env), newReload(env), newLogs(env), newDebug(env), newTools(env), newCapabilities(env))
	add("talk", newMessages(env), newChat(env), newConversations(env))
	root.InitDefaultCompletionCmd()
	finish(root)
	return root
}

// finish gives every command of the tree what all have in common.
func finish(cmd *cobra.Command) {
	if p := cmd.Parent(); p != nil && p.Name() == "completion" {
		plain(cmd)
	}
	if !cmd.HasSubCommands() {
		cmd.Long = cmp.Or(cmd.Long, cmd.Short+".") + "\n\n" + cmp.Or(cmd.Annotations[sortKey], remote)
	}
	for _, child := range cmd.Commands() {
		finish(child)
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
	e := errUsage("there is no command %q", cmd.CommandPath()+" "+args[0])
	switch args[0] {
	case "memory", "storage", "cluster", "backup", "restore", "trace", "audit", "keys", "safe-mode":
		if cmd.Root() == cmd {
			e.Message = fmt.Sprintf("caxton %s is not in this version", args[0])
			return e.WithHint("caxton --help lists the commands there are")
		}
	}
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		return e.WithHint("did you mean %s %s?", cmd.CommandPath(), s[0])
	}
	return e.WithHint("%s --help lists the commands there are", cmd.CommandPath())
}

// group returns a command that only has children.
func group(use, short string, aliases []string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Aliases: aliases,
		Args: func(cmd *cobra.Command, args []string) error { return unknown(cmd, args) },
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(children...)
	return c
}

// exactly wants n arguments that name says.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return errUsage("%s: %s is missing", cmd.CommandPath(), names[len(args)]).WithHint("usage: %s", cmd.UseLine())
		}
		if len(args) > len(names) {
			return errUsage("%s: %q is one argument too many", cmd.CommandPath(), args[len(names)]).WithHint("usage: %s", cmd.UseLine())
		}
		return nil
	}
}

// atMost wants no more than n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return errUsage("%s: %q is one argument too many", cmd.CommandPath(), args[n]).WithHint("usage: %s", cmd.UseLine())
		}
		return nil
	}
}
