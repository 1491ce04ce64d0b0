package builtin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/caxton/caxton"
)

const (
	maxColumns  = 1000
	headRecords = 20       // records that decide about the header
	headBytes   = 64 << 10 // text that decides about the delimiter
	checkEvery  = 4096     // rows between looks at the context
)

// A csvForm is what the caller knows of a table's form; zero fields are detected.
type csvForm struct {
	delimiter rune
	header    *bool
	encoding  string
	samples   int // rows to keep
}

// A table is what one pass over the rows found out. It keeps a bounded number of rows and
// values, however long the table is.
type table struct {
	delimiter  rune
	encoding   string
	header     bool
	columns    []*column
	rows       int
	sample     [][]string
	samples    int
	warnings   []string
	unreported int // ragged rows beyond those in warnings
	budget     int // values that columns may still remember
}

// readTable reads a whole table. Text whose quotes are not as RFC 4180 has them is read again
// with lenient quotes, and a warning says where the first fault is.
func readTable(ctx context.Context, raw []byte, form csvForm) (*table, error) {
	text, err := newCSVText(raw, form.encoding)
	if err != nil {
		return nil, err
	}
	if form.delimiter == 0 {
		form.delimiter = text.separator
	}
	if form.delimiter == 0 {
		form.delimiter, _ = detectDelimiter(text.head())
	}
	t, err := text.read(ctx, form, false)
	var fault *csv.ParseError
	if errors.As(err, &fault) {
		at := fmt.Sprintf("line %d: a quote is not where quotes may be; from there on the table was read leniently, so rows may be joined or split", fault.Line)
		if t, err = text.read(ctx, form, true); err == nil {
			t.warnings = append(t.warnings, at)
		}
	}
	if errors.As(err, &fault) { // lenient reading accepts all quotes; nothing is known that gets here
		return nil, caxton.Errorf(caxton.Malformed, "csv_malformed", "line %d: the table cannot be read: %v", fault.Line, fault.Err).WithCause(err)
	}
	if err != nil {
		return nil, err
	}
	t.warnings = append(text.warnings, t.warnings...)
	return t, nil
}

// A csvText is the text of a table in its encoding.
type csvText struct {
	raw       []byte
	name      string                       // of the encoding
	decoder   func() transform.Transformer // nil for UTF-8
	separator rune                         // from a first line "sep=;", which is left out
	warnings  []string
}

// newCSVText finds out the encoding by name, by byte order mark, or by trying.
func newCSVText(raw []byte, name string) (*csvText, error) {
	c := &csvText{raw: raw, name: "utf-8"}
	if name != "" {
		enc, err := htmlindex.Get(name)
		if err != nil {
			return nil, caxton.Errorf(caxton.Invalid, "encoding_unknown", "%.80q is not a known encoding", name).
				WithHint("use utf-8, utf-16le, utf-16be, windows-1252, iso-8859-15, shift_jis or another label of the WHATWG Encoding Standard").WithCause(err)
		}
		if c.name, err = htmlindex.Name(enc); err != nil {
			c.name = strings.ToLower(name)
		}
		c.decoder = func() transform.Transformer { return unicode.BOMOverride(enc.NewDecoder()) }
	} else if err := c.detectEncoding(); err != nil {
		return nil, err
	}
	c.unifyLines()
	c.cutSeparator()
	return c, nil
}

func (c *csvText) detectEncoding() error {
	utf16 := func(name string, order unicode.Endianness) {
		c.name = name
		c.decoder = func() transform.Transformer { return unicode.UTF16(order, unicode.UseBOM).NewDecoder() }
	}
	littleEndian, bigEndian := wide(c.raw)
	switch {
	case bytes.HasPrefix(c.raw, []byte("\xef\xbb\xbf")):
		c.raw = c.raw[3:]
	case bytes.HasPrefix(c.raw, []byte{0xff, 0xfe}), littleEndian:
		utf16("utf-16le", unicode.LittleEndian)
		return nil
	case bytes.HasPrefix(c.raw, []byte{0xfe, 0xff}), bigEndian:
		utf16("utf-16be", unicode.BigEndian)
		return nil
	}
	if bytes.IndexByte(c.raw[:min(len(c.raw), headBytes)], 0) >= 0 {
		return caxton.Errorf(caxton.Malformed, "csv_binary", "this is not a table but a binary file").
			WithHint("pass a table as text; a spreadsheet file must be exported as CSV first")
	}
	if !utf8.Valid(c.raw) {
		c.name = "windows-1252"
		c.decoder = func() transform.Transformer { return charmap.Windows1252.NewDecoder() }
		c.warnings = append(c.warnings, "the text is not valid UTF-8 and was read as windows-1252; pass encoding if letters look wrong")
	}
	return nil
}

// wide reports whether text without a byte order mark looks like UTF-16: every other byte
// of its beginning is zero, and the bytes between are not.
func wide(b []byte) (littleEndian, bigEndian bool) {
	b = b[:min(len(b), 1024)&^1]
	var zeros [2]int
	for i, c := range b {
		if c == 0 {
			zeros[i%2]++
		}
	}
	most := len(b) / 2 * 8 / 10
	if len(b) < 8 {
		return false, false
	}
	return zeros[1] > most && zeros[0] == 0, zeros[0] > most && zeros[1] == 0
}

// unifyLines turns the line ends of very old systems, a carriage return alone, into
// newlines.
func (c *csvText) unifyLines() {
	if strings.HasPrefix(c.name, "utf-16") || bytes.IndexByte(c.raw, '\n') >= 0 || bytes.IndexByte(c.raw, '\r') < 0 {
		return
	}
	c.raw = bytes.ReplaceAll(c.raw, []byte{'\r'}, []byte{'\n'})
}

// cutSeparator takes the line "sep=;" off, with which spreadsheets tell the delimiter.
func (c *csvText) cutSeparator() {
	line, rest, ok := bytes.Cut(c.raw, []byte{'\n'})
	line = bytes.TrimRight(line, "\r")
	if !ok || len(line) != 5 || !bytes.EqualFold(line[:4], []byte("sep=")) {
		return
	}
	if r, err := parseDelimiter(string(line[4:])); err == nil {
		c.separator, c.raw = r, rest
	}
}

// reader returns the text in UTF-8.
func (c *csvText) reader() io.Reader {
	if c.decoder == nil {
		return bytes.NewReader(c.raw)
	}
	return transform.NewReader(bytes.NewReader(c.raw), c.decoder())
}

// head returns the beginning of the text, without the last line when the text goes on.
func (c *csvText) head() string {
	b, _ := io.ReadAll(io.LimitReader(c.reader(), headBytes)) // the decoders here replace what they cannot read
	if len(b) == headBytes {
		if i := bytes.LastIndexByte(b, '\n'); i > 0 {
			b = b[:i+1]
		}
	}
	return string(b)
}

// A fit says how well a delimiter explains a text.
type fit struct {
	records int
	fields  int     // that most records have
	share   float64 // of records that have so many; less when the first is another
	typed   float64 // share of the first cells that are numbers, dates or truth values
}

// better reports whether f explains a text better than g.
func (f fit) better(g fit) bool {
	return cmp.Or(cmp.Compare(f.share, g.share), cmp.Compare(f.typed, g.typed), cmp.Compare(f.fields, g.fields)) > 0
}

// detectDelimiter returns the delimiter that cuts most records into the same number of
// fields, two or more; of equally good ones the one that leaves more numbers whole, then the
// one that makes more fields. A comma is what a table of one column gets.
func detectDelimiter(head string) (rune, fit) {
	best, delimiter := fit{}, ','
	for _, d := range []rune{',', ';', '\t', '|'} {
		f := fitOf(head, d)
		if f.fields > 1 && f.better(best) {
			best, delimiter = f, d
		}
	}
	return delimiter, best
}

func fitOf(head string, delimiter rune) fit {
	r := csv.NewReader(strings.NewReader(head))
	r.Comma, r.FieldsPerRecord, r.LazyQuotes, r.ReuseRecord = delimiter, -1, true, true
	var f fit
	first, counts := 0, map[int]int{}
	cells, typed := 0, 0
	for f.records < 200 {
		rec, err := r.Read()
		if err != nil {
			break
		}
		if f.records++; f.records == 1 {
			first = len(rec)
		}
		counts[len(rec)]++
		if f.records <= headRecords {
			cells += len(rec)
			for _, cell := range rec[:min(len(rec), headRecords)] {
				if sort := sortOf(cell); sort != typeText && sort != typeEmpty {
					typed++
				}
			}
		}
	}
	f.typed = float64(typed) / float64(max(cells, 1))
	for n, times := range counts {
		if times > counts[f.fields] || times == counts[f.fields] && n > f.fields {
			f.fields = n
		}
	}
	if f.records > 0 {
		f.share = float64(counts[f.fields]) / float64(f.records)
	}
	if first != f.fields {
		f.share /= 2
	}
	return f
}

// looksLikeCSV reports whether text of no declared type is a table: three records or more,
// all of the same two or more fields, none of them as long as a sentence.
func looksLikeCSV(body []byte) bool {
	text, err := newCSVText(body[:min(len(body), headBytes)], "")
	if err != nil {
		return false
	}
	head := text.head()
	if len(body) > headBytes {
		head = head[:strings.LastIndexByte(head, '\n')+1]
	}
	_, f := detectDelimiter(head)
	return f.records >= 3 && f.share == 1 && len(head)/(f.records*f.fields) < 60
}

// read goes through the table once.
func (c *csvText) read(ctx context.Context, form csvForm, lenient bool) (*table, error) {
	r := csv.NewReader(c.reader())
	r.Comma, r.FieldsPerRecord, r.LazyQuotes, r.ReuseRecord = form.delimiter, -1, lenient, true
	t := &table{delimiter: form.delimiter, encoding: c.name, samples: form.samples, budget: 100_000}
	var head [][]string
	var lines []int
	for n := 0; ; n++ {
		if n%checkEvery == 0 && ctx.Err() != nil {
			return nil, fmt.Errorf("reading the table: %w", ctx.Err())
		}
		rec, err := r.Read()
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return nil, fmt.Errorf("reading the table: %w", err)
		}
		line := 0
		if !end {
			line, _ = r.FieldPos(0)
		}
		switch begun := t.columns != nil; {
		case begun && !end:
			t.add(rec, line)
		case !end: // the form is not known before the first records are
			head, lines = append(head, slices.Clone(rec)), append(lines, line)
		}
		if t.columns == nil && (end || len(head) == headRecords) {
			if err := t.begin(head, lines, form.header); err != nil {
				return nil, err
			}
		}
		if end {
			return t, nil
		}
	}
}

// begin decides about the header and the columns by the first records, and adds them.
func (t *table) begin(head [][]string, lines []int, header *bool) error {
	t.columns = []*column{}
	if len(head) == 0 {
		return nil
	}
	if t.header = header != nil && *header; header == nil {
		t.header = hasHeader(head)
	}
	width, counts := 0, map[int]int{}
	for _, rec := range head {
		if n := len(rec); n > maxColumns {
			return caxton.Errorf(caxton.TooLarge, "csv_too_wide", "the table has %d columns, the limit is %d", n, maxColumns).
				WithHint("if it has fewer, pass the delimiter")
		}
		counts[len(rec)]++
	}
	for n, times := range counts {
		if times > counts[width] || times == counts[width] && n > width {
			width = n
		}
	}
	var names []string
	if t.header {
		names, head, lines = head[0], head[1:], lines[1:]
		width = max(width, len(names))
	}
	t.name(names, width)
	for i, rec := range head {
		t.add(rec, lines[i])
	}
	return nil
}

// name makes the columns, each with a name of its own.
func (t *table) name(names []string, width int) {
	used := make(map[string]bool, width)
	for i := range width {
		name := ""
		if i < len(names) {
			name = cut(strings.TrimSpace(names[i]), 200)
		}
		if name == "" {
			name = fmt.Sprintf("column_%d", i+1)
		}
		if used[name] {
			base := name
			for n := 2; used[name]; n++ {
				name = fmt.Sprintf("%s_%d", base, n)
			}
			t.warn(fmt.Sprintf("the name %q occurs twice; the column %d is called %q here", base, i+1, name))
		}
		used[name] = true
		t.columns = append(t.columns, newColumn(name, t.delimiter == ';', &t.budget))
	}
}

// add takes one row in.
func (t *table) add(rec []string, line int) {
	t.rows++
	surplus := false
	for i, cell := range rec {
		if i < len(t.columns) {
			t.columns[i].add(cell, t.rows)
		} else if cell != "" {
			surplus = true
		}
	}
	for i := len(rec); i < len(t.columns); i++ {
		t.columns[i].missing++
	}
	if len(rec) < len(t.columns) || surplus {
		t.warn(fmt.Sprintf("row %d (line %d) has %s, not %d", t.rows, line, count(len(rec), "field"), len(t.columns)))
	}
	if len(t.sample) < t.samples {
		row := make([]string, min(len(rec), len(t.columns)))
		for i := range row {
			row[i] = cut(rec[i], maxCell)
			if len(row[i]) < len(rec[i]) {
				row[i] += "…"
			}
		}
		t.sample = append(t.sample, row)
	}
}

func (t *table) warn(text string) {
	if len(t.warnings) < maxWarnings {
		t.warnings = append(t.warnings, text)
	} else {
		t.unreported++
	}
}

// hasHeader guesses whether the first of some records holds names: all its cells are words,
// and they differ; or below one of them there are only numbers, dates or truth values.
func hasHeader(head [][]string) bool {
	first, body := head[0], head[1:]
	seen := make(map[string]bool, len(first))
	words := true
	for _, cell := range first {
		name := strings.ToLower(strings.TrimSpace(cell))
		if sortOf(name) != typeText || seen[name] {
			words = words && name == "" // an unnamed column is no reason against a header
		}
		seen[name] = true
	}
	if seen[""] && len(first) == 1 {
		return false
	}
	if words {
		return true
	}
	for i, cell := range first {
		if sortOf(cell) != typeText {
			continue
		}
		values := 0
		for _, rec := range body {
			if i >= len(rec) || sortOf(rec[i]) == typeEmpty {
				continue
			}
			if values++; sortOf(rec[i]) == typeText {
				values = -len(body)
			}
		}
		if values > 0 {
			return true
		}
	}
	return false
}
