package builtin_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
	"github.com/caxton/caxton/internal/tool/builtin"
	"github.com/caxton/caxton/internal/tool/tooltest"
)

type csvData struct {
	Rows    int
	Columns []struct {
		Name, Type               string
		Count, Missing, Distinct int
		Min, Max                 any
		Mean                     *float64
	}
	Delimiter, Encoding string
	Header              bool
	Sample              [][]string
	Warnings            []string
}

func parseCSV(t *testing.T, res tool.Result) csvData {
	t.Helper()
	var d csvData
	if err := json.Unmarshal(res.Data, &d); err != nil {
		t.Fatalf("Data cannot be read: %v\n%s", err, res.Data)
	}
	return d
}

func TestCSVText(t *testing.T) {
	s := newSet(t, builtin.Config{})
	tests := []struct{ name, data, want string }{
		{
			"weather", "date,rain,wind,weather,ok\n2012-01-01,0.0,4.7,drizzle,true\n2012-01-02,10.9,4.5,rain,false\n2012-01-03,,2.3,rain,true\n",
			`3 data rows, 5 columns
date: date, min 2012-01-01, max 2012-01-03, missing 0
rain: number, min 0, mean 5.45, max 10.9, missing 1
wind: number, min 2.3, mean 3.83333, max 4.7, missing 0
weather: text, distinct 2, missing 0, values: rain (2), drizzle (1)
ok: boolean, distinct 2, missing 0, values: true (2), false (1)
delimiter ",", encoding utf-8, names are in the header row
first 3 rows:
date,rain,wind,weather,ok
2012-01-01,0.0,4.7,drizzle,true`,
		},
		{
			"no header", "1;2,5\n3;4,25\n",
			`2 data rows, 2 columns
column_1: integer, min 1, mean 2, max 3, missing 0
column_2: number, min 2.5, mean 3.375, max 4.25, missing 0
delimiter ";", encoding utf-8, there is no header row, so columns are numbered`,
		},
		{"one row", "a,b\n1,x\n", "1 data row, 2 columns\na: integer, min 1, mean 1, max 1, missing 0\nb: text, distinct 1, missing 0, values: x (1)\n"},
		{"nothing", "", "0 data rows, 0 columns\n"},
		{"only a header", "name,age\n", "0 data rows, 2 columns\nname: empty, missing 0\nage: empty, missing 0\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := must(t, s, "csv_parser", args{"data": tt.data}, tool.Call{}).Text
			want := strings.Replace(tt.want, "date,rain,wind,weather,ok\n2012-01-01,0.0", "2012-01-01,0.0", 1)
			if !strings.HasPrefix(got, want) {
				t.Errorf("csv_parser(%q) =\n%s\nwant\n%s", tt.data, got, want)
			}
		})
	}
}

func TestCSVForms(t *testing.T) {
	s := newSet(t, builtin.Config{})
	wide := func(text string, bom bool, order func(hi, lo byte) []byte) string {
		var b []byte
		if bom {
			text = "\uFEFF" + text
		}
		for _, u := range utf16.Encode([]rune(text)) {
			b = append(b, order(byte(u>>8), byte(u))...)
		}
		return string(b)
	}
	le := func(hi, lo byte) []byte { return []byte{lo, hi} }
	be := func(hi, lo byte) []byte { return []byte{hi, lo} }
	tests := []struct {
		name, data string
		args       args
		rows       int
		delimiter  string
		encoding   string
		header     bool
		columns    string // name:type, ...
		warnings   int
	}{
		{"commas", "a,b\n1,2\n3,4\n", nil, 2, ",", "utf-8", true, "a:integer b:integer", 0},
		{"semicolons", "a;b\n1,5;2\n3,5;4\n", nil, 2, ";", "utf-8", true, "a:number b:integer", 0},
		{"tabs", "a\tb\n1\tx, y\n3\tz\n", nil, 2, "\t", "utf-8", true, "a:integer b:text", 0},
		{"pipes", "a|b\n1|2\n", nil, 1, "|", "utf-8", true, "a:integer b:integer", 0},
		{"one column", "a\n1\n2\n", nil, 2, ",", "utf-8", true, "a:integer", 0},
		{"carriage returns", "a,b\r\n1,2\r\n", nil, 1, ",", "utf-8", true, "a:integer b:integer", 0},
		{"only carriage returns", "a,b\r1,2\r3,4\r", nil, 2, ",", "utf-8", true, "a:integer b:integer", 0},
		{"no newline at the end", "a,b\n1,2", nil, 1, ",", "utf-8", true, "a:integer b:integer", 0},
		{"quotes and newlines inside", "a,b\n\"x \"\"y\"\"\n z, w\",2\n", nil, 1, ",", "utf-8", true, "a:text b:integer", 0},
		{"blank lines", "a,b\n\n1,2\n\n\n3,4\n", nil, 2, ",", "utf-8", true, "a:integer b:integer", 0},
		{"a byte order mark", "\uFEFFa,b\n1,2\n", nil, 1, ",", "utf-8", true, "a:integer b:integer", 0},
		{"UTF-16 little endian", wide("name;n\nJürgen;1\n", true, le), nil, 1, ";", "utf-16le", true, "name:text n:integer", 0},
		{"UTF-16 big endian", wide("name;n\nJürgen;1\n", true, be), nil, 1, ";", "utf-16be", true, "name:text n:integer", 0},
		{"UTF-16 without a mark", wide("name;n\nabc;1\n", false, le), nil, 1, ";", "utf-16le", true, "name:text n:integer", 0},
		{"Windows-1252", "name,n\nJ\xfcrgen,1\n", nil, 1, ",", "windows-1252", true, "name:text n:integer", 1},
		{"a named encoding", "name,n\nJ\xfcrgen,1\n", args{"encoding": "latin1"}, 1, ",", "windows-1252", true, "name:text n:integer", 0},
		{"a sep line", "sep=;\na;b\n1;2\n", nil, 1, ";", "utf-8", true, "a:integer b:integer", 0},
		{"a named delimiter", "a:b,c\n1:2,3\n", args{"delimiter": ":"}, 1, ":", "utf-8", true, "a:integer b,c:text", 0},
		{"a delimiter by its word", "a b\tc\n1\t2\n", args{"delimiter": "tab"}, 1, "\t", "utf-8", true, "a b:integer c:integer", 0},
		{"all text", "name,city\nAnna,Oslo\nBert,Rome\n", nil, 2, ",", "utf-8", true, "name:text city:text", 0},
		{"all numbers", "1,2\n3,4\n", nil, 2, ",", "utf-8", false, "column_1:integer column_2:integer", 0},
		{"years as names", "country,1990,1991\nNorway,1.5,2\nItaly,3,4\n", args{"header": true}, 2, ",", "utf-8", true, "country:text 1990:number 1991:integer", 0},
		{"no header by argument", "a,b\n1,2\n", args{"header": false}, 2, ",", "utf-8", false, "column_1:text column_2:text", 0},
		{"names that occur twice", "a,a,\n1,2,3\n", nil, 1, ",", "utf-8", true, "a:integer a_2:integer column_3:integer", 1},
		{"ragged rows", "a,b\n1,2\n3\n4,5,6\n7,8\n", nil, 4, ",", "utf-8", true, "a:integer b:integer", 2},
		{"a delimiter at the end of rows", "a,b\n1,2,\n3,4\n5,6\n", nil, 3, ",", "utf-8", true, "a:integer b:integer", 0},
		{"row names without a name", "x,y\nr1,1,2\nr2,3,4\n", nil, 2, ",", "utf-8", true, "x:text y:integer column_3:integer", 0},
		{"a stray quote", "a,b\n1,2\nx\"y,3\n4,5\n", nil, 3, ",", "utf-8", true, "a:text b:integer", 1},
		{"chosen columns", "a,b,c\n1,x,2\n", args{"columns": []string{"c", "a"}}, 1, ",", "utf-8", true, "c:integer a:integer", 0},
		{"not available", "a,b,c\n1,NA,NA\nNaN,2024-01-01,y\n3,n/a,x\n", nil, 3, ",", "utf-8", true, "a:integer b:date c:text", 0},
		{"leading zeros", "zip,n\n01234,1\n00501,2\n", nil, 2, ",", "utf-8", true, "zip:text n:integer", 0},
		{"thousands separators", "a,b\n\"1,000\",1\n\"2,000\",2\n", nil, 2, ",", "utf-8", true, "a:text b:integer", 0},
		{"truth values", "a,b,c\nyes,t,f\nno,f,f\n", nil, 2, ",", "utf-8", true, "a:boolean b:boolean c:text", 0},
		{"day first", "d\n31/12/2024\n1/2/2024\n", nil, 2, ",", "utf-8", true, "d:date", 0},
		{"month or day first", "d\n1/2/2024\n3/4/2024\n", nil, 2, ",", "utf-8", true, "d:date", 1},
		{"month names", "symbol,date\nMSFT,Jan 1 2000\nMSFT,Feb 1 2000\n", nil, 2, ",", "utf-8", true, "symbol:text date:date", 0},
		{"times", "t\n2024-01-01T10:00:00Z\n2023-05-05T10:00:00+02:00\n", nil, 2, ",", "utf-8", true, "t:date", 0},
		{"exponents and signs", "x\n1e3\n-2.5E-3\n+4\n.5\n", nil, 4, ",", "utf-8", true, "x:number", 0},
		{"not numbers", "x,y\n0x10,1_000\nInfinity,2_000\n", nil, 2, ",", "utf-8", true, "x:text y:text", 0},
		{"huge whole numbers", "x\n9223372036854775807\n9223372036854775808\n", nil, 2, ",", "utf-8", true, "x:number", 0},
		{"almost a number", "x\n" + strings.Repeat("1\n", 20) + "oops\n", nil, 21, ",", "utf-8", true, "x:text", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := args{"from": "c1"}
			maps.Copy(a, tt.args)
			d := parseCSV(t, must(t, s, "csv_parser", a, tool.Call{Results: tooltest.Results{"c1": tt.data}}))
			var columns []string
			for _, c := range d.Columns {
				columns = append(columns, c.Name+":"+c.Type)
				if c.Count+c.Missing != d.Rows {
					t.Errorf("column %s: count %d + missing %d is not rows %d", c.Name, c.Count, c.Missing, d.Rows)
				}
			}
			if got := strings.Join(columns, " "); got != tt.columns {
				t.Errorf("columns = %s, want %s", got, tt.columns)
			}
			if d.Rows != tt.rows || d.Delimiter != tt.delimiter || d.Encoding != tt.encoding || d.Header != tt.header {
				t.Errorf("rows %d, delimiter %q, encoding %s, header %t; want %d, %q, %s, %t",
					d.Rows, d.Delimiter, d.Encoding, d.Header, tt.rows, tt.delimiter, tt.encoding, tt.header)
			}
			if len(d.Warnings) != tt.warnings {
				t.Errorf("warnings = %q, want %d", d.Warnings, tt.warnings)
			}
		})
	}
}

func TestCSVDecodes(t *testing.T) {
	s := newSet(t, builtin.Config{})
	d := parseCSV(t, must(t, s, "csv_parser", args{"from": "c1"}, tool.Call{Results: tooltest.Results{"c1": "name,n\nJ\xfcrgen,1\n"}}))
	if diff := cmp.Diff([][]string{{"Jürgen", "1"}}, d.Sample); diff != "" {
		t.Errorf("sample (-want +got):\n%s", diff)
	}
}

func TestCSVRaggedRowsAreNamed(t *testing.T) {
	s := newSet(t, builtin.Config{})
	d := parseCSV(t, must(t, s, "csv_parser", args{"data": "a,b\n\"x\ny\",2\n3\n"}, tool.Call{}))
	if diff := cmp.Diff([]string{"row 2 (line 4) has 1 field, not 2"}, d.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	many := parseCSV(t, must(t, s, "csv_parser", args{"data": "a,b\n1,2\n3,4\n" + strings.Repeat("5\n", 100), "header": true, "delimiter": ","}, tool.Call{}))
	if n := len(many.Warnings); n > 25 || !strings.Contains(many.Warnings[n-1], "more rows") {
		t.Errorf("%d warnings, last %q, want few and one that counts the rest", n, many.Warnings[n-1])
	}
}

func TestCSVRefuses(t *testing.T) {
	s := newSet(t, builtin.Config{CSV: builtin.CSVConfig{MaxSize: 100}})
	earlier := tooltest.Results{"big": strings.Repeat("1,2\n", 26), "zip": "PK\x03\x04\x00\x00\x00", "wide": "a" + strings.Repeat(",", 99)}
	tests := []struct {
		name string
		args args
		kind caxton.Kind
		code string
		text string // in message or hint
	}{
		{"neither data nor from", args{}, caxton.Invalid, "arguments_invalid", "from"},
		{"both", args{"data": "a", "from": "big"}, caxton.Invalid, "arguments_invalid", "either"},
		{"too large", args{"from": "big"}, caxton.TooLarge, "input_too_large", "tools.csv_parser.max_size"},
		{"binary", args{"from": "zip"}, caxton.Malformed, "csv_binary", "exported as CSV"},
		{"an unknown result", args{"from": "c9"}, caxton.NotFound, "result_not_found", "c9"},
		{"an unknown column", args{"data": "name,n\nx,1\n", "columns": []string{"nme"}}, caxton.NotFound, "column_not_found", `"name"`},
		{"an unknown encoding", args{"data": "a", "encoding": "klingon"}, caxton.Invalid, "encoding_unknown", "klingon"},
		{"a delimiter of two characters", args{"data": "a", "delimiter": "::"}, caxton.Invalid, "arguments_invalid", "one character"},
		{"a quote as delimiter", args{"data": "a", "delimiter": `"`}, caxton.Invalid, "arguments_invalid", "delimiter"},
		{"a sample of 2.0 rows", args{"data": "a", "limit": json.RawMessage("2.0")}, caxton.Invalid, "arguments_invalid", "whole number"},
		{"a sample too long", args{"data": "a", "limit": 51}, caxton.Invalid, "arguments_invalid", "at most 50"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := run(t.Context(), t, s, "csv_parser", tt.args, tool.Call{Results: earlier})
			wantError(t, err, tt.kind, tt.code, tt.text)
		})
	}
	_, err := run(t.Context(), t, newSet(t, builtin.Config{}), "csv_parser", args{"data": strings.Repeat(",", 1000) + "\n"}, tool.Call{})
	wantError(t, err, caxton.TooLarge, "csv_too_wide")
	_, err = run(t.Context(), t, newSet(t, builtin.Config{}), "csv_parser", args{"from": "x"}, tool.Call{})
	wantError(t, err, caxton.NotFound, "result_not_found")
}

// TestCSVStopsInTheMiddle ends the context while the rows are read: the body comes from a
// Results that ends it.
func TestCSVStopsInTheMiddle(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	results := resultsFunc(func() string { cancel(); return "a\n1\n" })
	_, err := run(ctx, t, newSet(t, builtin.Config{}), "csv_parser", args{"from": "x"}, tool.Call{Results: results})
	wantError(t, err, caxton.Canceled, "tool_canceled")
}

type resultsFunc func() string

func (f resultsFunc) Result(context.Context, string) ([]byte, string, error) {
	return []byte(f()), "text/csv", nil
}

func TestCSVFiguresAreExact(t *testing.T) {
	s := newSet(t, builtin.Config{})
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.OneOf(
			rapid.Float64Range(-1e6, 1e6),
			rapid.Float64Range(-1e300, 1e300),
			rapid.Map(rapid.IntRange(-1000, 1000), func(n int) float64 { return float64(n) }),
		), 1, 200).Draw(t, "values")
		var b strings.Builder
		b.WriteString("x\n")
		total, low, high := new(big.Rat), math.Inf(1), math.Inf(-1)
		size := 0.0
		for _, v := range values {
			fmt.Fprintf(&b, "%g\n", v)
			total.Add(total, new(big.Rat).SetFloat64(v))
			low, high, size = min(low, v), max(high, v), max(size, math.Abs(v))
		}
		want, _ := total.Quo(total, big.NewRat(int64(len(values)), 1)).Float64()
		raw, err := json.Marshal(args{"data": b.String(), "header": true})
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.Run(context.Background(), "csv_parser", tool.Call{Args: raw})
		if err != nil {
			t.Fatal(err)
		}
		var d csvData
		if err := json.Unmarshal(res.Data, &d); err != nil {
			t.Fatal(err)
		}
		c := d.Columns[0]
		if c.Count != len(values) || c.Min != low || c.Max != high {
			t.Fatalf("count %d, min %v, max %v, want %d, %v, %v", c.Count, c.Min, c.Max, len(values), low, high)
		}
		// The error is measured against the mean, or where values cancel out, against what a
		// float can tell apart at the size of the values.
		if diff := math.Abs(*c.Mean - want); diff > 1e-9*math.Abs(want) && diff > 1e-30*size {
			t.Fatalf("mean %v, want %v", *c.Mean, want)
		}
	})
}

func TestCSVPrintsEnoughDigits(t *testing.T) {
	s := newSet(t, builtin.Config{})
	tests := []struct{ cells, want string }{
		{"1234567.25\n1234568.5", "min 1234567.25, mean 1234567.88, max 1234568.5"},
		{"0.000012\n0.000013", "min 1.2e-05, mean 1.25e-05, max 1.3e-05"},
		{"-1\n1", "min -1, mean 0, max 1"},
		{"1\n2\n2", "min 1, mean 1.66667, max 2"},
		{"1e20\n3e20", "min 1e+20, mean 2e+20, max 3e+20"},
		{"9007199254740993\n9007199254740993", "min 9007199254740993, mean 9.0072e+15, max 9007199254740993"},
		{"1e308\n1.5e308\n1.7e308", "min 1e+308, mean 1.4e+308, max 1.7e+308"},
	}
	for _, tt := range tests {
		if got := must(t, s, "csv_parser", args{"data": "x\n" + tt.cells + "\n"}, tool.Call{}).Text; !strings.Contains(got, tt.want) {
			t.Errorf("csv_parser(%q) =\n%s\nwant %s", tt.cells, got, tt.want)
		}
	}
}

func TestCSVMemoryIsBounded(t *testing.T) {
	s := newSet(t, builtin.Config{})
	var b strings.Builder
	b.WriteString("id,text\n")
	for i := range 5000 {
		fmt.Fprintf(&b, "k%d,%s%d\n", i, strings.Repeat("long ", 30), i%3)
	}
	res := must(t, s, "csv_parser", args{"data": b.String()}, tool.Call{})
	d := parseCSV(t, res)
	if d.Columns[0].Distinct != 1000 || d.Columns[1].Distinct != 3 {
		t.Errorf("distinct = %d, %d, want 1000, 3", d.Columns[0].Distinct, d.Columns[1].Distinct)
	}
	if !strings.Contains(res.Text, "id: text, distinct 1000+, missing 0") {
		t.Errorf("text does not say that there are more values:\n%s", res.Text)
	}
}

func FuzzCSV(f *testing.F) {
	for _, seed := range []string{
		"a,b\n1,2\n", "a;b\n\"x\ny\";2\n", "\uFEFFa\tb\n", "\xff\xfea\x00,\x00", "a\n\n\n1", "sep=;\na;b", "\"", "a,\"b\nc", "1/2/2024\n", "\r\r\n\r",
		"x\n1e400\n-1e400\nNaN\n", ",,,\n,,\n", "a|b\n\x00|\xfe\n",
	} {
		f.Add([]byte(seed), "")
	}
	f.Add([]byte("a,b\n1,2\n"), "utf-16le")
	s := newSet(f, builtin.Config{})
	f.Fuzz(func(t *testing.T, data []byte, encoding string) {
		a := args{"from": "c1", "delimiter": ",", "header": false}
		if encoding != "" {
			a["encoding"] = encoding
		}
		res, err := run(t.Context(), t, s, "csv_parser", a, tool.Call{Results: tooltest.Results{"c1": string(data)}})
		if err != nil {
			switch kind := caxton.KindOf(err); kind { //nolint:exhaustive // all others are faults
			case caxton.Malformed, caxton.Invalid, caxton.TooLarge:
				return
			default:
				t.Fatalf("csv_parser(%q): %v", data, err)
			}
		}
		d := parseCSV(t, res)
		for _, c := range d.Columns {
			if c.Count+c.Missing != d.Rows {
				t.Errorf("csv_parser(%q): column %s has %d values and %d missing in %d rows", data, c.Name, c.Count, c.Missing, d.Rows)
			}
		}
		if d.Encoding != "utf-8" || strings.ContainsRune(string(data), '\r') || strings.HasPrefix(strings.ToLower(string(data)), "sep=") {
			return
		}
		want, ok := countRecords(strings.TrimPrefix(string(data), "\uFEFF"))
		if ok && d.Rows != want {
			t.Errorf("csv_parser(%q): %d rows, encoding/csv reads %d", data, d.Rows, want)
		}
	})
}

// countRecords counts the records of a well-formed text.
func countRecords(text string) (n int, ok bool) {
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	for {
		switch _, err := r.Read(); {
		case errors.Is(err, io.EOF):
			return n, true
		case err != nil:
			return 0, false
		}
		n++
	}
}

func BenchmarkCSV(b *testing.B) {
	var text strings.Builder
	text.WriteString("date,a,b,c\n")
	for i := range 100_000 {
		fmt.Fprintf(&text, "2024-01-%02d,%d,%d.5,word%d\n", i%28+1, i, i, i%7)
	}
	s := newSet(b, builtin.Config{})
	results := tooltest.Results{"c1": text.String()}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		must(b, s, "csv_parser", args{"from": "c1"}, tool.Call{Results: results})
	}
}
