package recall

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caxton/caxton"
)

// A Report is what came of a Run.
type Report struct {
	Dataset   string          `json:"dataset"`
	Worlds    int             `json:"worlds"`
	Turns     int             `json:"turns"`
	Questions int             `json:"questions"`
	Skipped   int             `json:"skipped"` // questions of a file that were left out
	Systems   []*SystemReport `json:"systems"`
}

// A SystemReport is how one system did.
type SystemReport struct {
	Name           string  `json:"name"`
	TurnsPerSecond float64 `json:"turns_per_second,omitempty"` // added; 0 when another system had added them
	SearchP50      float64 `json:"search_p50_ms"`
	SearchP99      float64 `json:"search_p99_ms"`
	Rows           []Row   `json:"rows"`

	outcomes []outcome
}

// A Row holds the means of the questions of one type in one split.
type Row struct {
	Split     Split            `json:"split,omitempty"`
	Type      Type             `json:"type"` // "" for all types
	Questions int              `json:"questions"`
	Means     map[Measure]Mean `json:"measures"`
}

// A slot is a set of questions that has a row: a split and a type, "" for all of them.
type slot struct {
	split Split
	kind  Type
}

// has reports whether an outcome belongs into the slot.
func (s slot) has(o outcome) bool {
	return s.split == o.split && (s.kind == "" || s.kind == o.kind)
}

// slots returns the sets that outcomes fall into: by split the types in their order, types
// of files by name after those, and last all together.
func slots(outcomes []outcome) []slot {
	seen := map[slot]bool{}
	var splits []Split
	var others []Type
	for _, o := range outcomes {
		if !slices.Contains(splits, o.split) {
			splits = append(splits, o.split)
		}
		if !slices.Contains(Types(), o.kind) && !slices.Contains(others, o.kind) {
			others = append(others, o.kind)
		}
		seen[slot{o.split, o.kind}] = true
	}
	slices.Sort(others)
	var out []slot
	for _, s := range splits {
		for _, t := range append(Types(), others...) {
			if seen[slot{s, t}] {
				out = append(out, slot{s, t})
			}
		}
		out = append(out, slot{s, ""})
	}
	return out
}

// values returns the scores of a measure of the outcomes in a slot that have it.
func values(outcomes []outcome, s slot, m Measure) []float64 {
	var out []float64
	for _, o := range outcomes {
		if v, ok := o.scores[m]; ok && s.has(o) {
			out = append(out, v)
		}
	}
	return out
}

func summary(name string, t *tally) *SystemReport {
	r := &SystemReport{Name: name, outcomes: t.outcomes}
	if t.adding > 0 {
		r.TurnsPerSecond = float64(t.added) / t.adding.Seconds()
	}
	slices.Sort(t.searches)
	if n := len(t.searches); n > 0 {
		ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
		r.SearchP50, r.SearchP99 = ms(t.searches[n/2]), ms(t.searches[n*99/100])
	}
	for _, s := range slots(t.outcomes) {
		row := Row{Split: s.split, Type: s.kind, Means: map[Measure]Mean{}}
		for _, o := range t.outcomes {
			if s.has(o) {
				row.Questions++
			}
		}
		for _, m := range Measures() {
			if v := values(t.outcomes, s, m); len(v) > 0 {
				row.Means[m] = mean(v)
			}
		}
		r.Rows = append(r.Rows, row)
	}
	return r
}

// System returns the report of the system of that name.
func (r *Report) System(name string) (*SystemReport, error) {
	for _, s := range r.Systems {
		if s.Name == name {
			return s, nil
		}
	}
	return nil, caxton.Errorf(caxton.NotFound, "recall_system_not_found", "no system %q was measured", name)
}

// Row returns the row of a split and a type, "" for all types.
func (s *SystemReport) Row(split Split, t Type) (Row, bool) {
	i := slices.IndexFunc(s.Rows, func(r Row) bool { return r.Split == split && r.Type == t })
	if i < 0 {
		return Row{}, false
	}
	return s.Rows[i], true
}

// Compare holds a system against a baseline: by split and type, question by question.
func (r *Report) Compare(system, baseline string, m Measure) ([]Comparison, error) {
	a, err := r.System(system)
	if err != nil {
		return nil, err
	}
	b, err := r.System(baseline)
	if err != nil {
		return nil, err
	}
	var out []Comparison
	for _, s := range slots(a.outcomes) {
		// Both were asked the same questions in the same order.
		va, vb := values(a.outcomes, s, m), values(b.outcomes, s, m)
		if len(va) == 0 {
			continue
		}
		c := Comparison{System: system, Baseline: baseline, Split: s.split, Type: s.kind, Measure: m, Questions: len(va)}
		for i := range va {
			switch {
			case va[i] > vb[i]:
				c.Wins++
			case va[i] < vb[i]:
				c.Losses++
			}
		}
		c.Difference = average(va) - average(vb)
		c.P = signTest(c.Wins, c.Losses)
		out = append(out, c)
	}
	return out, nil
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// named returns the words for a type, or for all.
func named(t Type) string {
	if t == "" {
		return "all"
	}
	return string(t)
}

// header returns the first cells of a table of the systems.
func header(measures []Measure) []string {
	h := []string{"split", "type", "questions", "system"}
	for _, m := range measures {
		h = append(h, string(m))
	}
	return h
}

// cells returns the lines of a table: for each set of questions a line for each system.
// interval adds the bounds of the mean.
func (r *Report) cells(measures []Measure, interval bool) [][]string {
	var out [][]string
	if len(r.Systems) == 0 {
		return nil
	}
	for i, row := range r.Systems[0].Rows {
		for _, s := range r.Systems {
			line := []string{string(row.Split), named(row.Type), fmt.Sprint(row.Questions), s.Name}
			for _, m := range measures {
				v, ok := s.Rows[i].Means[m]
				switch {
				case !ok:
					line = append(line, "-")
				case interval:
					line = append(line, fmt.Sprintf("%.3f (%.3f-%.3f)", v.Value, v.Low, v.High))
				default:
					line = append(line, fmt.Sprintf("%.3f", v.Value))
				}
			}
			out = append(out, line)
		}
	}
	return out
}

// WriteTable writes the given measures, all of them when none is given, for people to read.
func (r *Report) WriteTable(w io.Writer, measures ...Measure) error {
	if len(measures) == 0 {
		measures = Measures()
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range append([][]string{header(measures)}, r.cells(measures, false)...) {
		if _, err := fmt.Fprintln(tw, strings.Join(line, "\t")); err != nil {
			return err
		}
	}
	for _, s := range r.Systems {
		added := ""
		if s.TurnsPerSecond > 0 {
			added = fmt.Sprintf("%.0f turns/s added, ", s.TurnsPerSecond)
		}
		if _, err := fmt.Fprintf(tw, "%s: %ssearch P50 %.2f ms, P99 %.2f ms\n", s.Name, added, s.SearchP50, s.SearchP99); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// WriteMarkdown writes the given measures with their intervals as a Markdown table, all of
// them when none is given.
func (r *Report) WriteMarkdown(w io.Writer, measures ...Measure) error {
	if len(measures) == 0 {
		measures = Measures()
	}
	var b strings.Builder
	h := header(measures)
	b.WriteString("| " + strings.Join(h, " | ") + " |\n|" + strings.Repeat(" --- |", len(h)) + "\n")
	for _, line := range r.cells(measures, true) {
		b.WriteString(strings.ReplaceAll("| "+strings.Join(line, " | ")+" |", "|  |", "| - |") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteComparisons writes a Markdown table of comparisons.
func WriteComparisons(w io.Writer, all []Comparison) error {
	var b strings.Builder
	b.WriteString("| split | type | measure | system | baseline | wins | losses | difference | p |\n|" + strings.Repeat(" --- |", 9) + "\n")
	for _, c := range all {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %d | %d | %+.3f | %.3g |\n",
			c.Split, named(c.Type), c.Measure, c.System, c.Baseline, c.Wins, c.Losses, c.Difference, c.P)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
