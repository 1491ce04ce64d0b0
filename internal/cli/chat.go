package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/peterh/liner"
	"github.com/spf13/cobra"
)

func newChat(env *Env) *cobra.Command {
	var verbose bool
	c := ofAgent(env, "chat", "Talk to an agent, a line a message; Ctrl-D ends", func(cmd *cobra.Command, ref string) error {
		a, err := env.Client().Agent(cmd.Context(), ref)
		if err != nil {
			return err
		}
		next, done := env.lines(a.Slug)
		defer done()
		conversation, person := "", terminal(env.Stdin)
		for {
			text, err := await(cmd.Context(), next)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if strings.TrimSpace(text) == "" {
				continue
			}
			r, w, err := env.streamReply(cmd.Context(), api.Message{Receiver: a.Slug, Text: text, ConversationID: conversation}, replyTime, false)
			if err != nil {
				_ = w.end()
				if !person || cmd.Context().Err() != nil || caxton.KindOf(err) == caxton.Unavailable {
					return err
				}
				env.printError(err) // a person may try again
				continue
			}
			conversation = r.ConversationID
			if verbose {
				_ = w.end()
				env.tellTools(cmd.Context(), r)
			}
			if r.Reply == nil {
				env.say("(no reply yet; it is still being handled)")
				continue
			}
			if env.flags.output == "table" {
				err = w.reply(r.Reply)
			} else {
				err = env.PrintNext(r, nil)
			}
			if err != nil {
				return err
			}
			if !person && r.Reply.Performative == string(caxton.Failure) {
				return exitCode(1)
			}
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
			if errors.Is(s.Err(), bufio.ErrTooLong) {
				return "", caxton.Errorf(caxton.TooLarge, "line_too_long", "a line of the input is longer than 1 MiB").
					WithHint("send it with: caxton messages send --content")
			}
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
