package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/caxton/caxton"
	"go.yaml.in/yaml/v3"
)

// Print prints v in the format of --output; table prints it for people.
func (e *Env) Print(v any, table func(*printer)) error {
	switch e.flags.output {
	case "json":
		enc := json.NewEncoder(e.Stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	case "yaml":
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		var plain any
		if err := yaml.Unmarshal(b, &plain); err != nil {
			return err
		}
		enc := yaml.NewEncoder(e.Stdout)
		enc.SetIndent(2)
		return errors.Join(enc.Encode(plain), enc.Close())
	}
	p := &printer{w: e.Stdout}
	table(p)
	return p.flush()
}

// PrintNext prints one of many results that come one after the other: each is a line of JSON
// or a document of YAML.
func (e *Env) PrintNext(v any, table func(*printer)) error {
	switch e.flags.output {
	case "json":
		enc := json.NewEncoder(e.Stdout)
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	case "yaml":
		if _, err := io.WriteString(e.Stdout, "---\n"); err != nil {
			return err
		}
	}
	return e.Print(v, table)
}

// say writes a line of talk to the standard error.
func (e *Env) say(format string, args ...any) {
	_, _ = fmt.Fprintln(e.Stderr, safe(e.Stderr, fmt.Sprintf(format, args...)))
}

// A printer writes lines and aligned columns.
type printer struct {
	w    io.Writer
	rows [][]string
	err  error
}

// row adds a row of columns; rows that follow each other are aligned.
func (p *printer) row(cells ...string) { p.rows = append(p.rows, cells) }

// line writes a line as it is.
func (p *printer) line(format string, args ...any) {
	p.align()
	p.write(fmt.Sprintf(format, args...) + "\n")
}

func (p *printer) write(s string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, safe(p.w, s))
	}
}

// align writes the rows gathered so far.
func (p *printer) align() {
	var width []int
	for _, r := range p.rows {
		for i, c := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	for _, r := range p.rows {
		var b strings.Builder
		for i, c := range r {
			b.WriteString(c)
			if i < len(r)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-len([]rune(c))+2))
			}
		}
		p.write(strings.TrimRight(b.String(), " ") + "\n")
	}
	p.rows = nil
}

func (p *printer) flush() error {
	p.align()
	return p.err
}

// terminal reports whether a stream is a terminal.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull) // the other common device of characters
	return err != nil || !os.SameFile(st, null)
}

// safe returns a text that does not steer a terminal: agents and servers may say what they
// like. What goes elsewhere stays as it is.
func safe(w io.Writer, s string) string {
	if !terminal(w) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// A color is the number of a colour of terminals.
type color int

// The colours in use.
const (
	red  color = 31
	cyan color = 36
)

// paint colours a word for the standard error when that is a terminal and nobody minds.
func (e *Env) paint(c color, word string) string {
	if e.flags.noColor || e.getenv("NO_COLOR") != "" || e.getenv("TERM") == "dumb" || !terminal(e.Stderr) {
		return word
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", c, word)
}

// printError prints what went wrong, each fault on a line of its own, and what to do.
func (e *Env) printError(err error) {
	label := e.paint(red, "error:")
	var ce *caxton.Error
	if !errors.As(err, &ce) {
		_, _ = fmt.Fprintf(e.Stderr, "%s %s\n", label, safe(e.Stderr, err.Error()))
		return
	}
	msg := ce.Message
	if before, ok := strings.CutSuffix(err.Error(), ce.Error()); ok {
		msg = before + msg // context that was added on the way
	}
	if ce.Kind == caxton.Internal && ce.Err != nil {
		msg += ": " + ce.Err.Error() // it happened here: nobody else logs it
	}
	_, _ = fmt.Fprintf(e.Stderr, "%s %s\n", label, safe(e.Stderr, msg))
	for _, i := range ce.Issues {
		if s := i.String(); !strings.HasSuffix(ce.Message, s) {
			e.say("  %s", s)
		}
	}
	if ce.Hint != "" {
		_, _ = fmt.Fprintf(e.Stderr, "%s %s\n", e.paint(cyan, "hint:"), safe(e.Stderr, ce.Hint))
	}
}

// confirm asks a question on a terminal; elsewhere it wants --yes.
func (e *Env) confirm(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	if !terminal(e.Stdin) {
		return errUsage("%s Nobody is there to answer", question).WithHint("add --yes to say so without being asked")
	}
	_, _ = fmt.Fprintf(e.Stderr, "%s [y/N] ", safe(e.Stderr, question))
	answer, err := await(ctx, func() (string, error) { return bufio.NewReader(e.Stdin).ReadString('\n') })
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return caxton.Errorf(caxton.Canceled, "declined", "nothing was changed")
	}
	return nil
}

// await returns what read returns, or the error of ctx when that ends first. Nobody can call
// back a read from a terminal or a pipe: its goroutine then ends with the process, and what
// it reads from is not used any more.
func await(ctx context.Context, read func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	got := make(chan result, 1) // room for a result that nobody waits for any more
	go func() {
		text, err := read()
		got <- result{text, err}
	}()
	select {
	case r := <-got:
		return r.text, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
