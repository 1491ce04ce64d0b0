package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/transcript"
	"github.com/spf13/cobra"
)

// conversationCommands are those of the group conversations that work with whole logs.
func conversationCommands(env *Env) []*cobra.Command {
	return []*cobra.Command{
		newConversationsSearch(env), newConversationsReplay(env), newConversationsFork(env), newConversationsDiff(env),
		newConversationsExport(env), newConversationsImport(env), newConversationsArchive(env),
	}
}

func newConversationsSearch(env *Env) *cobra.Command {
	var f api.ConversationFilter
	c := &cobra.Command{
		Use: "search QUERY", Short: "Find conversations by what was said in them", Args: exactly("QUERY"),
		Long: "All words must occur in one message. A word that ends with * stands for all that begin so.",
		RunE: func(cmd *cobra.Command, args []string) error {
			f.Query = args[0]
			l, err := env.Client().SearchConversations(cmd.Context(), f)
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				for _, c := range l.Items {
					p.line("%s  %s, %d messages, last %s", c.ID, c.Status, c.MessageCount, c.LastActivity.Local().Format(time.DateTime))
					for _, m := range c.Matches {
						p.row("  "+strconv.FormatInt(m.Seq, 10), m.Sender+" → "+m.Receiver, short(m.Snippet))
					}
				}
				if len(l.Items) == 0 {
					env.say("nothing was found")
				}
				if l.Next != "" {
					env.say("more with --cursor %s", l.Next)
				}
			})
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.Agent, "agent", "", "only those this `agent` takes part in")
	fl.StringVar(&f.Participant, "participant", "", "only what was said by, or to, this `name`")
	fl.StringVar(&f.Status, "state", "", "only active, idle or archived ones")
	fl.StringVar(&f.Since, "since", "", "only since this `time`, or so long ago, such as 24h")
	fl.StringVar(&f.Until, "until", "", "only until this `time`, or so long ago")
	fl.IntVar(&f.Limit, "limit", 50, "how `many` messages, 1 to 200")
	fl.StringVar(&f.Cursor, "cursor", "", "`cursor` of the page before")
	return c
}

func newConversationsReplay(env *Env) *cobra.Command {
	var verify bool
	c := &cobra.Command{
		Use: "replay ID", Short: "Run a conversation again from its log, without model and tools", Args: exactly("ID"),
		Long: "Models answer what they answered, tools return what they returned, and nothing is written.\nThe records that come of it are compared with those of the log.",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := env.Client().ReplayConversation(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := env.Print(r, func(p *printer) {
				p.row("MESSAGE", "AGENT", "VERSION", "RECORDS", "RESULT")
				for _, t := range r.Turns {
					result := "equal " + brief(t.Hash)
					switch {
					case t.Skipped != "":
						result = "not replayed: " + t.Skipped
					case !t.Equal:
						result = "different"
					}
					p.row(t.MessageID, t.Agent, strconv.Itoa(t.Version), strconv.Itoa(t.Records), result)
				}
				if r.Equal {
					p.line("The replay made the same records: %s", brief(r.Hash))
				} else {
					p.line("The replay and the log differ: %s", r.Difference.Message)
				}
			}); err != nil {
				return err
			}
			if verify && !r.Equal {
				return exitCode(1)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&verify, "verify", false, "exit with 1 when the replay and the log differ")
	return c
}

// brief returns the beginning of a hash.
func brief(hash string) string { return hash[:min(len(hash), 12)] }

func newConversationsFork(env *Env) *cobra.Command {
	var f api.Fork
	var prompt string
	c := &cobra.Command{
		Use: "fork ID", Short: "Begin a new conversation as a copy of one, up to a record", Args: exactly("ID"),
		Long: "What is open at that record goes on in the copy, with the answers and results that are recorded.\nWith --agent-version or --prompt it goes on otherwise; caxton conversations diff shows what comes of it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if prompt != "" {
				text, err := os.ReadFile(env.path(prompt))
				if err != nil {
					return caxton.Errorf(caxton.NotFound, "file_unreadable", "%s cannot be read", prompt).WithCause(err)
				}
				if f.Prompt = strings.TrimSpace(string(text)); f.Prompt == "" {
					return caxton.Errorf(caxton.Invalid, "prompt_empty", "%s is empty", prompt)
				}
			}
			r, err := env.Client().ForkConversation(cmd.Context(), args[0], f)
			if err != nil {
				return err
			}
			return env.Print(r, func(p *printer) {
				p.line("%s is a fork of %s at record %d", r.Conversation.ID, r.From, r.At)
			})
		},
	}
	fl := c.Flags()
	fl.Int64Var(&f.At, "at", 0, "the last `record` that is copied (default: all)")
	fl.IntVar(&f.AgentVersion, "agent-version", 0, "the `version` of the agent that goes on")
	fl.StringVar(&prompt, "prompt", "", "or a `file` with another system prompt, for the fork only")
	fl.StringVar(&f.Reason, "reason", "", "`why`, for the log")
	return c
}

func newConversationsDiff(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "diff A B", Short: "Show how two conversations differ in what was said and done", Args: exactly("A", "B"),
		Long: "Of a conversation and its fork, what came after the fork is compared.",
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := env.Client().DiffConversations(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return env.Print(d, func(p *printer) {
				if !d.Differs {
					p.line("nothing differs")
					return
				}
				p.line("%s", strings.TrimSuffix(d.Text, "\n"))
			})
		},
	}
}

func newConversationsExport(env *Env) *cobra.Command {
	var all, blobs bool
	var since, file string
	c := &cobra.Command{
		Use: "export [ID]", Short: "Write conversations to a file of lines of JSON", Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id := ""
			if len(args) > 0 {
				id = args[0]
			}
			if all == (id != "") {
				return errUsage("%s needs the ID of a conversation, or --all", cmd.CommandPath()).WithHint("usage: %s", cmd.UseLine())
			}
			if file == "" || file == "-" {
				return checked(env.Stdout, func(w io.Writer) error {
					return env.Client().ExportConversations(cmd.Context(), w, id, since, blobs)
				})
			}
			return writeWhole(env.path(file), func(w io.Writer) error {
				return checked(w, func(w io.Writer) error { return env.Client().ExportConversations(cmd.Context(), w, id, since, blobs) })
			})
		},
	}
	f := c.Flags()
	f.BoolVar(&all, "all", false, "all conversations")
	f.StringVar(&since, "since", "", "with --all: only those active since this `time`, or so long ago, such as 24h")
	f.BoolVar(&blobs, "blobs", false, "with the full results of tools")
	f.StringVarP(&file, "output", "o", "-", "`file` to write; - for the standard output")
	return c
}

// checked copies an export to w and reports when it is cut off.
func checked(w io.Writer, write func(io.Writer) error) error {
	tail := &lastBytes{w: w}
	if err := write(tail); err != nil {
		return err
	}
	lines := bytes.Split(bytes.TrimSpace(tail.last), []byte("\n"))
	if !bytes.HasPrefix(lines[len(lines)-1], []byte(`{"end":`)) {
		return caxton.Errorf(caxton.Unavailable, "export_truncated", "the export is cut off").WithHint("the server's log says why; try again")
	}
	return nil
}

// lastBytes passes on what is written and keeps the end of it.
type lastBytes struct {
	w    io.Writer
	last []byte
}

func (l *lastBytes) Write(b []byte) (int, error) {
	const keep = 512
	l.last = append(l.last, b[max(0, len(b)-keep):]...)
	l.last = l.last[max(0, len(l.last)-keep):]
	return l.w.Write(b)
}

// writeWhole writes a file that is there when it is complete, and else as it was.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".export-*")
	if err != nil {
		return caxton.Errorf(caxton.Unavailable, "file_unwritable", "%s cannot be written", path).WithCause(err)
	}
	defer func() {
		if err != nil {
			_ = tmp.Close()
			_ = os.Remove(tmp.Name())
		}
	}()
	if err = write(tmp); err != nil {
		return err
	}
	if err = errors.Join(tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return caxton.Errorf(caxton.Unavailable, "file_unwritable", "%s cannot be written", path).WithCause(err)
	}
	return nil
}

func newConversationsImport(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "Bring in conversations that were exported", Args: exactly("FILE"),
		Long: "Conversations that are there already stay as they are. Messages that were not handled when the\nfile was written are not handled here either.",
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := os.Open(env.path(args[0]))
			if err != nil {
				return caxton.Errorf(caxton.NotFound, "file_unreadable", "%s cannot be read", args[0]).WithCause(err)
			}
			defer func() { _ = in.Close() }()
			r, err := transcript.NewReader(in)
			if err != nil {
				return err
			}
			sum := api.Imported{Conversations: []string{}, Known: []string{}}
			for {
				part, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					return err
				}
				file, err := single(part)
				if err != nil {
					return err
				}
				got, err := env.Client().ImportConversations(cmd.Context(), file)
				if err != nil {
					return err
				}
				sum.Conversations = append(sum.Conversations, got.Conversations...)
				sum.Known = append(sum.Known, got.Known...)
				sum.Records += got.Records
				sum.Blobs += got.Blobs
			}
			return env.Print(sum, func(p *printer) {
				p.line("%d conversations with %d records were brought in, %d were there already", len(sum.Conversations), sum.Records, len(sum.Known))
			})
		},
	}
}

// single writes one part of a file as a file of its own.
func single(part transcript.Part) ([]byte, error) {
	var b bytes.Buffer
	w, err := transcript.NewWriter(&b, time.Now())
	switch {
	case err != nil:
	case part.Blob != "":
		err = w.Blob(part.Blob, part.MediaType, part.Data)
	default:
		err = w.Conversation(part.Records)
	}
	if err == nil {
		err = w.Close()
	}
	return b.Bytes(), err
}

func newConversationsArchive(env *Env) *cobra.Command {
	var a api.Archive
	c := &cobra.Command{
		Use: "archive ID", Short: "Close a conversation: it takes no messages any more", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := env.Client().ArchiveConversation(cmd.Context(), args[0], a)
			if err != nil {
				return err
			}
			return env.Print(r, func(p *printer) { p.line("%s is archived", r.ID) })
		},
	}
	c.Flags().StringVar(&a.Reason, "reason", "", "`why`, for the log")
	return c
}

func newWhy(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "why MESSAGE", Short: "Show what stands behind an answer", Args: exactly("MESSAGE"),
		Long: "MESSAGE is the ID of a message, or of the answer to it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := env.Client().Why(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return env.Print(w, func(p *printer) { printWhy(p, &w) })
		},
	}
}

func printWhy(p *printer, w *api.Why) {
	p.row("Message:", w.MessageID)
	p.row("Conversation:", w.ConversationID)
	p.row("Asked by:", w.Question.Sender)
	p.row("Question:", short(w.Question.Text))
	p.row("Outcome:", strings.TrimSpace(w.Outcome+" "+w.Error))
	p.row("Agent:", fmt.Sprintf("%s, version %d by %s, prompt %s", w.Agent, w.Prompt.Version, w.Prompt.Author, brief(w.Prompt.Text)))
	p.row("Attempts:", strconv.Itoa(w.Attempts))
	p.row("Routed by:", w.Routing.Strategy)
	p.row("Said before:", fmt.Sprintf("%d messages", len(w.History)))
	for _, c := range w.Routing.Candidates {
		p.row("  Candidate:", fmt.Sprintf("%s, score %s (match %s, health %s, load %s)", c.Agent, number(c.Score), number(c.Match), number(c.Health), number(c.Load)))
	}
	for _, m := range w.Memories {
		p.row("Remembered:", short(fmt.Sprintf("%s, score %s: %s: %s", m.ID, number(m.Score), m.Name, m.Text)))
	}
	for _, m := range w.Models {
		p.row("Model:", fmt.Sprintf("%s %s, %d + %d tokens, %d ms: %s", m.Provider, m.Model, m.InputTokens, m.OutputTokens, m.Millis, short(m.Text)))
	}
	for _, t := range w.Tools {
		result := t.Result
		switch {
		case !t.Known:
			result = "nobody knows what became of it"
		case t.IsError:
			result = "failed: " + result
		}
		p.row("Tool:", short(fmt.Sprintf("%s %s: %s", t.Tool, t.Arguments, result)))
	}
	for _, d := range w.Decisions {
		p.row("Decision:", strings.TrimSpace(fmt.Sprintf("%s %s: %s by %s %s", d.Kind, d.Tool, d.State, d.By, d.Reason)))
	}
	for _, b := range w.Budget {
		p.row("Budget:", fmt.Sprintf("%d %s of %d on %s", b.Spent, b.Unit, b.Cap, b.Account))
	}
	for _, a := range w.Answers {
		p.line("%s from %s:\n%s", a.Performative, a.Sender, indent(a.Text))
	}
}
