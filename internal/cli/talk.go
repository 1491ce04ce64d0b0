package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/config"
	"github.com/caxton/caxton/internal/node"
	"github.com/caxton/caxton/internal/template"
	"github.com/peterh/liner"
	"github.com/spf13/cobra"
)

func newMessages(env *Env) *cobra.Command {
	return group("messages", "Send messages and ask what became of them", []string{"message"}, newMessagesSend(env), newMessagesShow(env))
}

func newMessagesSend(env *Env) *cobra.Command {
	var m api.Message
	var content, wait string
	var async bool
	c := &cobra.Command{
		Use: "send", Short: "Send a message to an agent, or to whoever has a capability", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if content == "" {
				return errUsage("--content is missing").WithHint("say what to send: --content TEXT")
			}
			if t := strings.TrimSpace(content); (strings.HasPrefix(t, "{") || strings.HasPrefix(t, "[")) && json.Valid([]byte(t)) {
				m.Content = json.RawMessage(t)
			} else {
				m.Text = content
			}
			d, err := caxton.ParseDuration(wait)
			if err != nil {
				return err
			}
			if async {
				d = 0
			}
			r, err := env.Client().Send(cmd.Context(), m, d)
			if err != nil {
				return err
			}
			if err := env.Print(r, func(p *printer) {
				switch {
				case r.Reply != nil:
					p.line("%s", r.Reply.Text)
				case r.Status == "handled":
					p.line("%s handled it without a reply", r.RoutedTo)
				default:
					p.line("accepted by %s; caxton messages show %s tells what becomes of it", r.RoutedTo, r.MessageID)
				}
			}); err != nil {
				return err
			}
			if r.Reply != nil && r.Reply.Performative == string(caxton.Failure) {
				return exitCode(1)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&m.Receiver, "to", "", "`agent`: ID, name, slug or file name")
	f.StringVar(&m.Capability, "capability", "", "or a `capability`: the server chooses the agent")
	f.StringVar(&content, "content", "", "`text` or JSON to send")
	f.StringVar(&m.Performative, "performative", "", "what the message does (default: request)")
	f.StringVar(&m.ConversationID, "conversation", "", "go on in this `conversation`")
	f.StringVar(&m.Sender, "from", "", "what you call yourself")
	f.IntVar(&m.Priority, "priority", 0, "1 (last) to 10 (first)")
	f.StringVar(&m.Strategy, "strategy", "", "how to choose: best_match, round_robin, least_loaded or priority")
	f.StringVar(&wait, "wait", "50s", "how long to wait for the reply")
	f.BoolVar(&async, "no-wait", false, "do not wait for the reply")
	return c
}

func newMessagesShow(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a message, how it was routed, and its replies", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := env.Client().Message(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return env.Print(m, func(p *printer) {
				p.row("Message:", m.MessageID)
				p.row("Conversation:", m.ConversationID)
				p.row("From, to:", m.Sender+" → "+m.Receiver)
				p.row("Performative:", m.Performative)
				p.row("Status:", strings.TrimSpace(m.Status+" "+m.Error))
				p.row("Routed by:", m.Routing.Strategy)
				p.line("Content: %s", m.Content)
				if len(m.Routing.Candidates) > 0 {
					p.row("CANDIDATE", "SCORE", "MATCH", "HEALTH", "LOAD", "CONTINUITY")
				}
				for _, c := range m.Routing.Candidates {
					p.row(c.Agent, number(c.Score), number(c.Match), number(c.Health), number(c.Load), number(c.Continuity))
				}
				for _, r := range m.Replies {
					p.line("%s from %s:\n%s", r.Performative, r.Sender, indent(r.Text))
				}
			})
		},
	}
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', 4, 64) }

func newConversations(env *Env) *cobra.Command {
	return group("conversations", "Look at conversations and their logs", []string{"conversation"}, newConversationsList(env), newConversationsShow(env))
}

func newConversationsList(env *Env) *cobra.Command {
	var agent, state, cursor string
	var limit int
	c := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List conversations, newest activity first", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := env.Client().Conversations(cmd.Context(), agent, state, limit, cursor)
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("CONVERSATION", "STATE", "MESSAGES", "LAST ACTIVITY", "PARTICIPANTS")
				for _, c := range l.Items {
					p.row(c.ID, c.Status, strconv.Itoa(c.MessageCount), c.LastActivity.Local().Format(time.DateTime), strings.Join(c.Participants, ", "))
				}
				if l.Next != "" {
					env.say("more with --cursor %s", l.Next)
				}
			})
		},
	}
	c.Flags().StringVar(&agent, "agent", "", "only those this `agent` takes part in")
	c.Flags().StringVar(&state, "state", "", "only active, idle or archived ones")
	c.Flags().IntVar(&limit, "limit", 50, "how `many`, 1 to 200")
	c.Flags().StringVar(&cursor, "cursor", "", "`cursor` of the page before")
	return c
}

func newConversationsShow(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show the log of a conversation", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			all := api.Records{Items: []api.Record{}}
			for {
				page, err := env.Client().Records(cmd.Context(), args[0], all.Next, 1000)
				if err != nil {
					return err
				}
				all.Items = append(all.Items, page.Items...)
				if all.Next = page.Next; all.Next == 0 {
					break
				}
			}
			all.Records = all.Items
			return env.Print(all, func(p *printer) {
				for _, r := range all.Items {
					p.row(strconv.FormatInt(r.Seq, 10), r.At.Local().Format("15:04:05.000"), r.Kind, summary(r))
				}
			})
		},
	}
}

// summary says in one line what a record tells.
func summary(r api.Record) string {
	var b struct {
		Message caxton.LoggedMessage `json:"message"`
		Routing caxton.Routing       `json:"routing"`
		Version int                  `json:"version"`
		Attempt int                  `json:"attempt"`
		Error   string               `json:"error"`
		Outcome string               `json:"outcome"`
		Model   string               `json:"model"`
		Prov    string               `json:"provider"`
		Text    string               `json:"text"`
		Tool    string               `json:"tool"`
		Args    json.RawMessage      `json:"arguments"`
		In      int                  `json:"input_tokens"`
		Out     int                  `json:"output_tokens"`
		Millis  int64                `json:"ms"`
	}
	if r.Kind == "message" {
		var body caxton.MessageBody
		if json.Unmarshal(r.Body, &body) == nil {
			m := caxton.Message(body.Message)
			return short(fmt.Sprintf("%s %s → %s: %s", m.Performative, m.Sender, m.Receiver, m.Text()))
		}
	}
	if json.Unmarshal(r.Body, &b) != nil {
		return short(string(r.Body))
	}
	switch caxton.RecordKind(r.Kind) {
	case caxton.RecordModelCalled:
		return short(fmt.Sprintf("%s %s, %d + %d tokens, %d ms: %s", b.Prov, b.Model, b.In, b.Out, b.Millis, b.Text))
	case caxton.RecordToolIntended:
		return short(fmt.Sprintf("%s %s", b.Tool, b.Args))
	case caxton.RecordToolReturned:
		return short(fmt.Sprintf("%s, %d ms: %s", b.Tool, b.Millis, b.Text))
	case caxton.RecordSettled:
		return short(strings.TrimSpace(fmt.Sprintf("%s, attempt %d, version %d %s", b.Outcome, b.Attempt, b.Version, b.Error)))
	case caxton.RecordLeased, caxton.RecordReleased, caxton.RecordMessage:
		return short(strings.TrimSpace(fmt.Sprintf("attempt %d %s", b.Attempt, b.Error)))
	}
	return short(string(r.Body))
}

// short returns the first hundred characters of a text, on one line.
func short(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if rs := []rune(s); len(rs) > 100 {
		return string(rs[:99]) + "…"
	}
	return s
}

func newChat(env *Env) *cobra.Command {
	var verbose bool
	c := ofAgent(env, "chat", "Talk to an agent; Ctrl-D ends", func(cmd *cobra.Command, ref string) error {
		a, err := env.Client().Agent(cmd.Context(), ref)
		if err != nil {
			return err
		}
		next, done := env.lines(a.Slug)
		defer done()
		conversation := ""
		for {
			text, err := next()
			if errors.Is(err, io.EOF) || cmd.Context().Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			if strings.TrimSpace(text) == "" {
				continue
			}
			r, err := env.Client().Send(cmd.Context(), api.Message{Receiver: a.Slug, Text: text, ConversationID: conversation}, 50*time.Second)
			if err != nil {
				if cmd.Context().Err() != nil {
					return nil
				}
				printError(env.Stderr, err)
				if caxton.KindOf(err) == caxton.Unavailable {
					return exitCode(code(caxton.Unavailable))
				}
				continue
			}
			conversation = r.ConversationID
			if verbose {
				env.tellTools(cmd.Context(), r)
			}
			if r.Reply == nil {
				env.say("(no reply yet; it is still being handled)")
				continue
			}
			_, _ = fmt.Fprintf(env.Stdout, "%s\n", r.Reply.Text)
		}
	})
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "tell which tools are used")
	return c
}

// lines returns a source of lines: an editor with history on a terminal, plain reading
// elsewhere.
func (e *Env) lines(name string) (next func() (string, error), done func()) {
	if terminal(e.Stdin) && terminal(e.Stdout) {
		l := liner.NewLiner()
		l.SetCtrlCAborts(true)
		e.say("Talking to %s. Ctrl-D ends.", name)
		return func() (string, error) {
			s, err := l.Prompt(name + "> ")
			if errors.Is(err, liner.ErrPromptAborted) {
				err = io.EOF
			}
			if err == nil && strings.TrimSpace(s) != "" {
				l.AppendHistory(s)
			}
			return s, err
		}, func() { _ = l.Close() }
	}
	s := bufio.NewScanner(e.Stdin)
	s.Buffer(nil, 1<<20)
	return func() (string, error) {
		if !s.Scan() {
			if s.Err() != nil {
				return "", s.Err()
			}
			return "", io.EOF
		}
		return s.Text(), nil
	}, func() {}
}

// tellTools says which tools a turn used.
func (e *Env) tellTools(ctx context.Context, r api.Receipt) {
	rs, err := e.Client().Records(ctx, r.ConversationID, 0, 1000)
	if err != nil {
		return
	}
	for _, rec := range rs.Items {
		if rec.MessageID == r.MessageID && (rec.Kind == string(caxton.RecordToolIntended) || rec.Kind == string(caxton.RecordToolReturned)) {
			e.say("  %s %s", rec.Kind, summary(rec))
		}
	}
}

func newTools(env *Env) *cobra.Command {
	list := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the tools that the server permits", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := env.Client().Tools(cmd.Context())
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("TOOL", "SOURCE", "REPEATABLE", "DESCRIPTION")
				for _, t := range l.Items {
					p.row(t.Name, t.Source, strconv.FormatBool(t.Idempotent), short(t.Description))
				}
			})
		},
	}
	show := &cobra.Command{
		Use: "show TOOL", Short: "Show one tool with the schema of its arguments", Args: exactly("TOOL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := env.Client().Tool(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return env.Print(t, func(p *printer) {
				p.row("Name:", t.Name)
				p.row("Source:", t.Source)
				p.row("Repeatable:", strconv.FormatBool(t.Idempotent))
				p.line("%s", t.Description)
				p.line("Arguments: %s", t.Parameters)
			})
		},
	}
	var arguments string
	run := &cobra.Command{
		Use: "run TOOL", Short: "Run a tool by hand, under the server's policy", Args: exactly("TOOL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !json.Valid([]byte(arguments)) {
				return errUsage("--args is not JSON").WithHint(`for example --args '{"expression": "2+3"}'`)
			}
			r, err := env.Client().RunTool(cmd.Context(), args[0], json.RawMessage(arguments))
			if err != nil {
				return err
			}
			return env.Print(r, func(p *printer) { p.line("%s", r.Text) })
		},
	}
	run.Flags().StringVar(&arguments, "args", "{}", "arguments as a `JSON` object")
	return group("tools", "Look at the tools agents may use, and try them", []string{"tool"}, list, show, run)
}

func newCapabilities(env *Env) *cobra.Command {
	list := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List what agents can do, and who can", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := env.Client().Capabilities(cmd.Context())
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("CAPABILITY", "AGENTS")
				for _, c := range l.Items {
					p.row(c.Name, strings.Join(c.Agents, ", "))
				}
			})
		},
	}
	show := &cobra.Command{
		Use: "show NAME", Short: "Show the agents that have a capability", Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := env.Client().Capability(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return env.Print(c, func(p *printer) {
				for _, a := range c.Agents {
					p.line("%s", a)
				}
			})
		},
	}
	return group("capabilities", "Look at what agents can do", []string{"capability"}, list, show)
}

func newValidate(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "validate", Short: "Check the configuration file; needs no server", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			loaded, err := env.load(nil, false)
			if err != nil {
				return err
			}
			for _, w := range loaded.Warnings {
				env.say("%s", w.String())
			}
			if inert := loaded.Inert(); len(inert) > 0 {
				env.say("without effect in this version: %s", strings.Join(inert, ", "))
			}
			name := loaded.Path
			if name == "" {
				name = "the configuration (there is no file, the defaults hold)"
			}
			_, err = fmt.Fprintf(env.Stdout, "%s is valid\n", name)
			return err
		},
	}
}

func newConfig(env *Env) *cobra.Command {
	var effective, origins bool
	show := &cobra.Command{
		Use: "show", Short: "Print the configuration; needs no server", Args: exactly(),
		Long: "Prints what is set. With --effective also the defaults, with --origins where each value came from.",
		RunE: func(*cobra.Command, []string) error {
			loaded, err := env.load(nil, false)
			if err != nil {
				return err
			}
			out := api.Settings{Items: []api.Setting{}, Inert: loaded.Inert()}
			for _, s := range loaded.Effective() {
				if effective || s.Origin != "default" {
					out.Items = append(out.Items, api.Setting{Key: s.Key, Value: s.Value, Origin: s.Origin})
				}
			}
			return env.Print(out, func(p *printer) {
				for _, s := range out.Items {
					if origins {
						p.row(s.Key, s.Value, s.Origin)
					} else {
						p.row(s.Key, s.Value)
					}
				}
			})
		},
	}
	show.Flags().BoolVar(&effective, "effective", false, "also what is not set: the defaults")
	show.Flags().BoolVar(&origins, "origins", false, "also where each value came from")
	var dir string
	verify := &cobra.Command{
		Use: "verify", Short: "Check the configuration and all agent files; needs no server", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := env.load(nil, false)
			if err != nil {
				return err
			}
			for _, w := range loaded.Warnings {
				env.say("%s", w.String())
			}
			if dir == "" {
				l, err := node.Locate(&loaded.Config, env.Dir)
				if err != nil {
					return err
				}
				dir = l.Agents
			}
			files, err := agentFiles(env.path(dir))
			if err != nil {
				return err
			}
			return validateFiles(cmd, env, files)
		},
	}
	verify.Flags().StringVar(&dir, "agents-dir", "", "`directory` of agent files (default: the configured one)")
	get := &cobra.Command{
		Use: "get KEY", Short: "Print one value of the configuration; needs no server", Args: exactly("KEY"),
		RunE: func(_ *cobra.Command, args []string) error {
			loaded, err := env.load(nil, false)
			if err != nil {
				return err
			}
			for _, s := range loaded.Effective() {
				if s.Key == args[0] {
					_, err := fmt.Fprintln(env.Stdout, s.Value)
					return err
				}
			}
			return caxton.Errorf(caxton.NotFound, "config_key_unknown", "there is no key %q", args[0]).WithHint("caxton config show --effective lists all")
		},
	}
	schema := &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of the configuration; needs no server", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := env.Stdout.Write(append(config.Schema(), '\n'))
			return err
		},
	}
	return group("config", "Look at the configuration and check it", nil, show, verify, get, schema)
}

// checkTemplate and toolNames give the check of agent files what the server knows too.
func checkTemplate(text string) (line, column int, err error) { return template.Check(text) }

func toolNames() func(string) (bool, string) { return node.KnownTool }

func versionInfo(version string) api.VersionInfo { return node.VersionInfo(version) }
