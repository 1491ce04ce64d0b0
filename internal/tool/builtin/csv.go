package builtin

import (
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
	"github.com/caxton/caxton/internal/tree"
)

// CSVConfig bounds csv_parser.
type CSVConfig struct {
	MaxSize caxton.Size // of one table; default 10 MiB
}

const (
	sampleRows    = 5
	maxSampleRows = 50
	maxCell       = 80 // bytes of a cell in a sample
	maxWarnings   = 20
)

type csvParser struct {
	spec tool.Spec
	cfg  CSVConfig
}

type csvArgs struct {
	Data      *string  `json:"data,omitempty" jsonschema:"The table itself, as text. Give either data or from."`
	From      string   `json:"from,omitempty" jsonschema:"Id of an earlier tool call whose full result is the table."`
	Delimiter string   `json:"delimiter,omitempty" jsonschema:"What separates fields: one character, or the word comma, semicolon, tab or pipe. Detected unless given."`
	Header    *bool    `json:"header,omitempty" jsonschema:"Whether the first row holds the names of the columns. Detected unless given."`
	Columns   []string `json:"columns,omitempty" jsonschema:"Report only the columns of these names."`
	Limit     *int     `json:"limit,omitempty" jsonschema:"How many rows to show as a sample, 5 unless given."`
	Encoding  string   `json:"encoding,omitempty" jsonschema:"Character encoding such as utf-8, utf-16le, windows-1252 or shift_jis. Detected unless given."`
}

// csvResult is the Data of csv_parser.
type csvResult struct {
	Rows      int         `json:"rows"` // without the header
	Columns   []csvColumn `json:"columns"`
	Delimiter string      `json:"delimiter"`
	Encoding  string      `json:"encoding"`
	Header    bool        `json:"header"`
	Sample    [][]string  `json:"sample,omitempty"`
	Warnings  []string    `json:"warnings,omitempty"`
}

// csvColumn describes a column. Min and Max are whole numbers, numbers, or dates as they
// stand in the table, by Type.
type csvColumn struct {
	Name           string     `json:"name"`
	Type           string     `json:"type"`  // integer, number, boolean, date, text or empty
	Count          int        `json:"count"` // cells with a value
	Missing        int        `json:"missing"`
	Distinct       int        `json:"distinct"`                  // different values
	DistinctCapped bool       `json:"distinct_capped,omitempty"` // there are more than Distinct
	Min            any        `json:"min,omitempty"`
	Mean           *float64   `json:"mean,omitempty"`
	Max            any        `json:"max,omitempty"`
	Values         []csvValue `json:"values,omitempty"` // all of them, most frequent first, when there are few
}

type csvValue struct {
	Value string `json:"value"`
	Count int    `json:"count"`
}

func newCSV(cfg Config) (tool.Tool, error) {
	c := &csvParser{cfg: cfg.CSV}
	c.cfg.MaxSize = positive(c.cfg.MaxSize, 10*caxton.MiB)
	var err error
	c.spec, err = specOf[csvArgs]("csv_parser",
		"Read a table of comma, semicolon, tab or pipe separated values and describe it: the number of rows and columns, and for each column its type, "+
			"minimum, mean and maximum, or its distinct values, and how many values are missing; then some sample rows. "+
			"All rows are read, so the figures are exact. Pass the table as data, or the id of the call that fetched it as from.",
		func(p map[string]*jsonschema.Schema) {
			p["limit"].Minimum, p["limit"].Maximum = new(0.0), new(float64(maxSampleRows))
			p["delimiter"].MaxLength = new(9)
		})
	c.spec.Idempotent = true
	return c, err
}

// Spec describes the tool.
func (c *csvParser) Spec() tool.Spec { return c.spec }

// Call describes a table.
func (c *csvParser) Call(ctx context.Context, call tool.Call) (tool.Result, error) {
	var a csvArgs
	if err := decode(c.spec.Name, call.Args, &a); err != nil {
		return tool.Result{}, err
	}
	if err := either(c.spec.Name, a.Data != nil, a.From); err != nil {
		return tool.Result{}, err
	}
	var raw []byte
	if a.Data != nil {
		raw = []byte(*a.Data)
	} else {
		var err error
		if raw, err = earlier(ctx, call, a.From); err != nil {
			return tool.Result{}, err
		}
	}
	if err := tooLarge("the table", len(raw), c.cfg.MaxSize, "tools.csv_parser.max_size"); err != nil {
		return tool.Result{}, err
	}
	form := csvForm{header: a.Header, encoding: a.Encoding, samples: sampleRows}
	if a.Limit != nil {
		form.samples = min(max(*a.Limit, 0), maxSampleRows)
	}
	var err error
	if form.delimiter, err = parseDelimiter(a.Delimiter); err != nil {
		return tool.Result{}, err
	}
	t, err := readTable(ctx, raw, form)
	if err != nil {
		return tool.Result{}, err
	}
	if err := t.choose(a.Columns); err != nil {
		return tool.Result{}, err
	}
	data := t.result()
	encoded, err := encode(data)
	if err != nil {
		return tool.Result{}, err
	}
	return tool.Result{Text: data.text(), Data: encoded}, nil
}

// parseDelimiter reads the argument of that name; 0 means to detect it.
func parseDelimiter(s string) (rune, error) {
	switch strings.ToLower(s) {
	case "":
		return 0, nil
	case "comma":
		return ',', nil
	case "semicolon":
		return ';', nil
	case "tab", `\t`:
		return '\t', nil
	case "pipe":
		return '|', nil
	}
	r, size := utf8.DecodeRuneInString(s)
	if size != len(s) || r == utf8.RuneError || strings.ContainsRune("\"\r\n\x00", r) {
		return 0, caxton.Errorf(caxton.Invalid, "arguments_invalid", "%q is not a delimiter", s).
			WithHint("pass one character, such as ; or |, or the word tab")
	}
	return r, nil
}

// choose keeps only the named columns, in the order of names; no names keep all.
func (t *table) choose(names []string) error {
	if len(names) == 0 {
		return nil
	}
	known := make([]string, len(t.columns))
	at := make(map[string]int, len(t.columns))
	for i, c := range t.columns {
		known[i], at[c.name] = c.name, i
	}
	indexes := make([]int, 0, len(names))
	for _, name := range names {
		i, ok := at[name]
		if !ok {
			err := caxton.Errorf(caxton.NotFound, "column_not_found", "the table has no column %.80q", name)
			if near := tree.Nearest(name, known); near != "" {
				return err.WithHint("did you mean %q?", near)
			}
			return err.WithHint("it has: %s", cut(strings.Join(known, ", "), 1000))
		}
		indexes = append(indexes, i)
	}
	columns := make([]*column, 0, len(indexes))
	for _, i := range indexes {
		columns = append(columns, t.columns[i])
	}
	for n, row := range t.sample {
		chosen := make([]string, 0, len(indexes))
		for _, i := range indexes {
			if i < len(row) {
				chosen = append(chosen, row[i])
			} else {
				chosen = append(chosen, "")
			}
		}
		t.sample[n] = chosen
	}
	t.columns = columns
	return nil
}

// result puts what was found into its public form.
func (t *table) result() csvResult {
	r := csvResult{
		Rows: t.rows, Columns: make([]csvColumn, 0, len(t.columns)), Delimiter: string(t.delimiter),
		Encoding: t.encoding, Header: t.header, Sample: t.sample, Warnings: t.warnings,
	}
	for _, c := range t.columns {
		described, warning := c.describe()
		r.Columns = append(r.Columns, described)
		if warning != "" {
			r.Warnings = append(r.Warnings, warning)
		}
	}
	if more := t.unreported; more > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%d more rows have too few or too many fields", more))
	}
	return r
}

// text is what a model reads: the size in the first line, then a line for each column.
func (r csvResult) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s\n", count(r.Rows, "data row"), count(len(r.Columns), "column"))
	for _, c := range r.Columns {
		fmt.Fprintf(&b, "%s: %s", oneLine(c.Name), c.Type)
		switch c.Type {
		case typeInteger, typeNumber:
			fmt.Fprintf(&b, ", min %s, mean %s, max %s", printNumber(c.Min), printMean(*c.Mean), printNumber(c.Max))
		case typeDate:
			fmt.Fprintf(&b, ", min %v, max %v", c.Min, c.Max)
		case typeText, typeBoolean:
			more := ""
			if c.DistinctCapped {
				more = "+"
			}
			fmt.Fprintf(&b, ", distinct %d%s", c.Distinct, more)
		}
		fmt.Fprintf(&b, ", missing %d", c.Missing)
		for i, v := range c.Values {
			sep := ", values: "
			if i > 0 {
				sep = ", "
			}
			fmt.Fprintf(&b, "%s%s (%d)", sep, oneLine(cut(v.Value, 40)), v.Count)
		}
		b.WriteByte('\n')
	}
	header := "names are in the header row"
	if !r.Header {
		header = "there is no header row, so columns are numbered"
	}
	fmt.Fprintf(&b, "delimiter %q, encoding %s, %s\n", r.Delimiter, r.Encoding, header)
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	if len(r.Sample) > 0 {
		fmt.Fprintf(&b, "first %s:\n", count(len(r.Sample), "row"))
		w := csv.NewWriter(&b) // into memory: it cannot fail
		for _, row := range r.Sample {
			_ = w.Write(row)
		}
		w.Flush()
	}
	return strings.TrimRight(b.String(), "\n")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// printNumber prints a minimum or maximum as exactly as it was read.
func printNumber(v any) string {
	f, ok := v.(float64)
	if !ok {
		return fmt.Sprint(v)
	}
	return printFloat(f, -1)
}

// printMean prints a mean, rounded to six significant digits or two decimals, whichever is
// more.
func printMean(f float64) string {
	magnitude := 0.0
	if f != 0 {
		magnitude = math.Floor(math.Log10(math.Abs(f)))
	}
	return printFloat(f, max(2, 5-int(magnitude)))
}

// printFloat prints f with so many decimals, -1 for as many as needed; very large and very
// small numbers with an exponent.
func printFloat(f float64, decimals int) string {
	if size := max(f, -f); size != 0 && (size < 1e-3 || size >= 1e15) {
		if decimals >= 0 {
			return strconv.FormatFloat(f, 'g', 6, 64)
		}
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', decimals, 64)
	if decimals > 0 {
		s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}
