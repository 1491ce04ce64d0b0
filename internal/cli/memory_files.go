package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

func newMemoryExport(env *Env) *cobra.Command {
	var v view
	var e api.MemoryExport
	var output string
	c := &cobra.Command{
		Use: "export", Short: "Write down all that is remembered", Args: exactly(),
		Long: "Write down all that is remembered, in the format caxton-memory: to the standard output, or to a file that\n" +
			"appears when it is whole.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if e.MemoryView, err = v.read(); err != nil {
				return err
			}
			if output == "" || output == "-" {
				_, err := env.Client().ExportMemory(cmd.Context(), env.Stdout, e)
				return err
			}
			var n int64
			err = writeWhole(env.path(output), func(w io.Writer) error {
				n, err = env.Client().ExportMemory(cmd.Context(), w, e)
				return err
			})
			if err != nil {
				return err
			}
			env.say("%s written, %s", output, size(n))
			return nil
		},
	}
	v.flags(c, false)
	f := c.Flags()
	f.StringVar(&e.Format, "format", "json", "json, or jsonl: a line for each entity and relation")
	f.StringVarP(&output, "output", "o", "-", "`file` to write; - for the standard output")
	f.StringArrayVar(&e.Types, "type", nil, "only entities of this `type`; more than once for several")
	f.BoolVar(&e.Past, "past", false, "with what is superseded, reverted or forgotten")
	f.BoolVar(&e.Embeddings, "embeddings", false, "with the vectors")
	return c
}

func newMemoryImport(env *Env) *cobra.Command {
	var m api.MemoryImport
	c := &cobra.Command{
		Use: "import FILE", Short: "Bring in what was exported, or the file of an MCP memory server", Args: exactly("FILE"),
		Long: "Bring in a file of the format caxton-memory, JSON or lines of JSON, or the lines of JSON that the reference\n" +
			"memory server of the Model Context Protocol keeps. FILE is - for the standard input.",
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := env.readAll(args[0])
			if err != nil {
				return err
			}
			done, err := withProgress(cmd.Context(), env, func(ctx context.Context) (api.MemoryImported, error) {
				return env.Client().ImportMemory(ctx, text, m)
			})
			if err != nil {
				return err
			}
			return env.Print(done, func(p *printer) {
				p.line("%s: %s entities new, %s updated, %s left as they are; %s observations, %s relations", would("imported", done.DryRun), grouped(done.Imported),
					grouped(done.Updated), grouped(done.Skipped), grouped(done.Observations), grouped(done.Relations))
			})
		},
	}
	f := c.Flags()
	f.StringVar(&m.Scope, "scope", "", "of entities that name none: global (the default), workspace:NAME or agent:NAME")
	f.StringVar(&m.Strategy, "merge-strategy", "", "what becomes of entities that exist: update_existing (the default), skip_existing or error_on_conflict")
	f.Int64Var(&m.Skip, "skip", 0, "leave out so many entries, which were done before")
	f.BoolVar(&m.DryRun, "dry-run", false, "read it all, and change nothing")
	return c
}

// readAll reads a file, or the standard input for "-".
func (e *Env) readAll(name string) ([]byte, error) {
	var text []byte
	var err error
	if name == "-" {
		text, err = io.ReadAll(e.Stdin)
	} else {
		text, err = os.ReadFile(e.path(name))
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, caxton.Errorf(caxton.NotFound, "file_not_found", "there is no file %s", name)
	case err != nil:
		return nil, caxton.Errorf(caxton.Unavailable, "file_unreadable", "%s cannot be read", name).WithCause(fmt.Errorf("reading: %w", err))
	}
	return text, nil
}
