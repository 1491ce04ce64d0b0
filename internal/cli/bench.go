package cli

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/node"
	"github.com/caxton/caxton/internal/recall"
	"github.com/spf13/cobra"
)

func newBench(env *Env) *cobra.Command {
	return group("bench", "Measure this program", newBenchRecall(env))
}

// recallFlags are the flags of bench recall.
type recallFlags struct {
	seed                                        uint64
	worlds, persons, sessions, questions, limit int
	systems                                     []string
	split, locomo, longMemEval                  string
	markdown                                    bool
}

func newBenchRecall(env *Env) *cobra.Command {
	var f recallFlags
	c := plain(&cobra.Command{
		Use: "recall", Short: "Measure how well the memory finds what it was told",
		Long: "Tells the memory conversations and asks it questions about them, each of which some turns answer, and says how\n" +
			"often these were among the first found. The conversations are made from a seed, the same on every machine, or read\n" +
			"from a file of the LoCoMo or the LongMemEval format. Several ways to search are compared: " + strings.Join(node.RecallSystems(), ", ") + ".\n\n" +
			"any_at_5 is the share of the questions of which a turn of evidence was among the first five, all_at_5 that of those\n" +
			"of which all were; the session measures count the conversations instead of the turns.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return benchRecall(cmd.Context(), env, &f) },
	})
	c.Flags().Uint64Var(&f.seed, "seed", 1, "make the conversations from this `number`")
	c.Flags().IntVar(&f.worlds, "worlds", 2, "make this `number` of worlds, each about 3000 turns")
	c.Flags().IntVar(&f.persons, "persons", 0, "`number` of persons of a world (default 52)")
	c.Flags().IntVar(&f.sessions, "sessions", 0, "`number` of conversations of a world (default 260)")
	c.Flags().IntVar(&f.questions, "questions", 60, "ask at most this `number` of questions of each type of a world")
	c.Flags().IntVar(&f.limit, "limit", 50, "look at this `number` of turns found")
	c.Flags().StringSliceVar(&f.systems, "systems", nil, "measure these `systems`, separated by commas (default: all)")
	c.Flags().StringVar(&f.split, "split", string(recall.HeldOut), "`half` of the language to make worlds of: held_out, tuning or both")
	c.Flags().StringVar(&f.locomo, "locomo", "", "ask the questions of this `file` of the LoCoMo format")
	c.Flags().StringVar(&f.longMemEval, "longmemeval", "", "ask the questions of this `file` of the LongMemEval format")
	c.Flags().BoolVar(&f.markdown, "markdown", false, "print Markdown, with intervals that hold the mean with 95 % confidence")
	return c
}

// A recallReport is what bench recall prints.
type recallReport struct {
	*recall.Report
	// Comparisons hold hybrid against each of the other systems, question by question.
	Comparisons []recall.Comparison `json:"comparisons,omitempty"`
}

func benchRecall(ctx context.Context, env *Env, f *recallFlags) (err error) {
	switch {
	case f.limit < 10 || f.limit > 1000:
		return errUsage("--limit %d is not between 10 and 1000", f.limit)
	case f.questions < 1:
		return errUsage("--questions %d asks none", f.questions)
	case f.locomo != "" && f.longMemEval != "":
		return errUsage("--locomo and --longmemeval do not go together").WithHint("run the command once for each file")
	case f.markdown && env.flags.output != "table":
		return errUsage("--markdown and --output %s do not go together", env.flags.output)
	}
	worlds, name, done, err := f.read(env)
	if err != nil {
		return err
	}
	defer done()
	o := node.RecallOptions{Worlds: worlds, Name: name, Systems: f.systems, Questions: f.questions, Limit: f.limit}
	over := func() {}
	if terminal(env.Stderr) && env.getenv("TERM") != "dumb" {
		o.Progress, over = recallProgress(env.Stderr)
	}
	report, err := node.RunRecall(ctx, o)
	over()
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // whatever was being done was given up
	}
	if err != nil {
		return err
	}
	all := recallReport{Report: report}
	if all.Comparisons, err = compared(report); err != nil {
		return err
	}
	if f.markdown {
		return writeRecallMarkdown(env.Stdout, &all)
	}
	if env.flags.output == "table" {
		return writeRecallTable(env.Stdout, &all)
	}
	return env.Print(all, nil)
}

// read returns the worlds that the flags ask for.
func (f *recallFlags) read(env *Env) (worlds iter.Seq2[recall.World, error], name string, done func(), err error) {
	path, reader := f.locomo, recall.ReadLoCoMo
	if f.longMemEval != "" {
		path, reader = f.longMemEval, recall.ReadLongMemEval
	}
	if path != "" {
		file, err := os.Open(env.path(path))
		if err != nil {
			return nil, "", nil, caxton.Errorf(caxton.NotFound, "path_not_found", "%s cannot be read", path).WithCause(err)
		}
		return reader(path, file), filepath.Base(path), func() { _ = file.Close() }, nil
	}
	cfg := recall.GeneratorConfig{Seed: f.seed, Worlds: f.worlds, Persons: f.persons, Sessions: f.sessions, PerType: f.questions}
	if f.split != "both" {
		cfg.Splits = []recall.Split{recall.Split(f.split)}
	}
	return recall.Generate(cfg), fmt.Sprintf("worlds of seed %d", f.seed), func() {}, nil
}

// recallProgress returns what writes one line about how far a benchmark is, over and over, and
// what takes it away.
func recallProgress(w io.Writer) (told func(recall.Progress), over func()) {
	const erase = "\r\x1b[K"
	told = func(p recall.Progress) {
		_, _ = fmt.Fprintf(w, "%sworld %d, %s: %d turns told, %d of %d questions asked", erase, p.Worlds, p.System, p.Turns, p.Questions, p.Of)
	}
	return told, func() { _, _ = io.WriteString(w, erase) }
}

// compared holds hybrid against the other systems.
func compared(r *recall.Report) (all []recall.Comparison, err error) {
	if _, err := r.System(node.RecallHybrid); caxton.KindOf(err) == caxton.NotFound {
		return nil, nil
	}
	for _, s := range r.Systems {
		if s.Name == node.RecallHybrid {
			continue
		}
		for _, m := range recall.Measures() {
			c, err := r.Compare(node.RecallHybrid, s.Name, m)
			if err != nil {
				return nil, err
			}
			all = append(all, c...)
		}
	}
	return all, nil
}

// overall returns the comparisons of all types together, and those of one type in which hybrid
// loses by more than chance.
func overall(all []recall.Comparison) (shown []recall.Comparison) {
	for _, c := range all {
		if c.Type == "" && c.Measure == recall.AllAt10 || c.Loses() {
			shown = append(shown, c)
		}
	}
	return shown
}

func writeRecallTable(w io.Writer, r *recallReport) error {
	if _, err := fmt.Fprintf(w, "%s: %d worlds, %d turns, %d questions\n\n", r.Dataset, r.Worlds, r.Turns, r.Questions); err != nil {
		return err
	}
	if err := r.WriteTable(w); err != nil {
		return err
	}
	for _, c := range overall(r.Comparisons) {
		kind := string(c.Type)
		if kind == "" {
			kind = "all"
		}
		_, err := fmt.Fprintf(w, "%s against %s, %s, %s: better on %d of %d questions, worse on %d, %+.3f (p %.3g)\n",
			c.System, c.Baseline, kind, c.Measure, c.Wins, c.Questions, c.Losses, c.Difference, c.P)
		if err != nil {
			return err
		}
	}
	return nil
}

func writeRecallMarkdown(w io.Writer, r *recallReport) error {
	if _, err := fmt.Fprintf(w, "%s: %d worlds, %d turns, %d questions.\n\n", r.Dataset, r.Worlds, r.Turns, r.Questions); err != nil {
		return err
	}
	if err := r.WriteMarkdown(w); err != nil {
		return err
	}
	shown := overall(r.Comparisons)
	if len(shown) == 0 {
		return nil
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return recall.WriteComparisons(w, shown)
}
