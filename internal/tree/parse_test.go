package tree_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

// places lists every entry of a document with the places of its key and its value.
func places(n *tree.Node) []string {
	var got []string
	n.Walk(func(path string, f *tree.Field) bool {
		got = append(got, fmt.Sprintf("%s %d:%d %d:%d %v", path, f.Line, f.Column, f.Node.Line, f.Node.Column, f.Node.Value))
		return true
	})
	return got
}

func TestParsePlaces(t *testing.T) {
	tests := []struct {
		name   string
		format tree.Format
		text   string
		want   []string
	}{
		{"yaml", tree.YAML, "a: 1\nb:\n  - x: true\n    é: 'y'\n  - {z: null, ü: 2.5}\n", []string{
			"a 1:1 1:4 1", "b 2:1 3:3 <nil>", "b[0].x 3:5 3:8 true", "b[0].é 4:5 4:8 y", "b[1].z 5:6 5:9 <nil>", "b[1].ü 5:15 5:18 2.5",
		}},
		{"yaml with odd line breaks", tree.YAML, "a: 1\rb: 2\u2028c: 3\nd: 4\n", []string{
			"a 1:1 1:4 1", "b 1:6 1:9 2", "c 1:11 1:14 3", "d 2:1 2:4 4",
		}},
		{"yaml anchors", tree.YAML, "a: &x {k: 1, l: 2}\nb: *x\nc:\n  <<: *x\n  l: 3\n", []string{
			"a 1:1 1:4 <nil>", "a.k 1:8 1:11 1", "a.l 1:14 1:17 2", "b 2:1 1:4 <nil>", "b.k 1:8 1:11 1", "b.l 1:14 1:17 2",
			"c 3:1 4:3 <nil>", "c.l 5:3 5:6 3", "c.k 1:8 1:11 1",
		}},
		{"byte order mark", tree.YAML, "\ufeffa: 1\n", []string{"a 1:1 1:4 1"}},
		{"carriage returns", tree.YAML, "a: 1\r\nb: 2\r\n", []string{"a 1:1 1:4 1", "b 2:1 2:4 2"}},
		{"toml", tree.TOML, "a = 1\nb.c = 'é' # no\n\"d.e\" = \"x\"\n[t]\nx = [[1, 2], # yes, [\n {y = 0x1F, z.w = true}]\n[[l]]\nm = 1\n[[l]]\nm = 1979-05-27T07:32:00Z\n[l.n]\no = 1_000.5\n", []string{
			"a 1:1 1:5 1", "b 2:1 2:1 <nil>", "b.c 2:3 2:7 é", "\"d.e\" 3:1 3:9 x", "t 4:2 4:2 <nil>", "t.x 5:1 5:5 <nil>",
			"t.x[1].y 6:3 6:7 31", "t.x[1].z 6:13 6:13 <nil>", "t.x[1].z.w 6:15 6:19 true",
			"l 7:3 7:3 <nil>", "l[0].m 8:1 8:5 1", "l[1].m 10:1 10:5 1979-05-27T07:32:00Z", "l[1].n 11:4 11:4 <nil>", "l[1].n.o 12:1 12:5 1000.5",
		}},
		{"json", tree.JSON, "{\"a\": 1,\n \"é\": [ {\"b\" : null},\n  \"x\" ], \"c\":-2e2}", []string{
			"a 1:2 1:7 1", "é 2:2 2:7 <nil>", "é[0].b 2:10 2:16 <nil>", "c 3:10 3:14 -200",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, issues := tree.Parse(tt.format, "f", []byte(tt.text))
			if len(issues) > 0 {
				t.Fatalf("Parse(%q): %v", tt.text, issues)
			}
			if diff := cmp.Diff(tt.want, places(n)); diff != "" {
				t.Errorf("Parse(%q) differs (-want +got):\n%s", tt.text, diff)
			}
		})
	}
}

func TestParseValues(t *testing.T) {
	tests := []struct {
		name   string
		format tree.Format
		text   string
		want   any
	}{
		{"yaml empty", tree.YAML, "", map[string]any{}},
		{"yaml comment only", tree.YAML, "# nothing\n", map[string]any{}},
		{"yaml null", tree.YAML, "~\n", map[string]any{}},
		{"toml empty", tree.TOML, "\n", map[string]any{}},
		{"json empty", tree.JSON, " \n", map[string]any{}},
		{
			"yaml scalars", tree.YAML, "[yes, true, 12, 1_000, 0x10, 1.5, 1e3, 2024-05-01, '7', ~, !!str 8, 99999999999999999999]\n",
			[]any{"yes", true, int64(12), int64(1000), int64(16), 1.5, 1000.0, "2024-05-01", "7", nil, "8", 1e20},
		},
		{"yaml blocks", tree.YAML, "a: |\n  x\n  y\nb: >-\n  x\n  y\n", map[string]any{"a": "x\ny\n", "b": "x y"}},
		{"yaml keys that are no text", tree.YAML, "1: a\ntrue: b\n", map[string]any{"1": "a", "true": "b"}},
		{"yaml merges", tree.YAML, "x: &x {a: 1}\ny: &y {a: 2, b: 2}\nz:\n  <<: [*x, *y]\n  c: 3\n", map[string]any{
			"x": map[string]any{"a": int64(1)}, "y": map[string]any{"a": int64(2), "b": int64(2)}, "z": map[string]any{"a": int64(1), "b": int64(2), "c": int64(3)},
		}},
		{"toml strings", tree.TOML, "a = '''\nx\ny'''\nb = \"\\u00e9\\n\"\n", map[string]any{"a": "x\ny", "b": "é\n"}},
		{"toml numbers", tree.TOML, "a = +0\nb = -1_0\nc = 0b11\nd = 1e2\n", map[string]any{"a": int64(0), "b": int64(-10), "c": int64(3), "d": 100.0}},
		{"json large numbers", tree.JSON, "[9223372036854775807, 9223372036854775808]", []any{int64(9223372036854775807), 9223372036854775808.0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, issues := tree.Parse(tt.format, "f", []byte(tt.text))
			if len(issues) > 0 {
				t.Fatalf("Parse(%q): %v", tt.text, issues)
			}
			if diff := cmp.Diff(tt.want, n.Plain()); diff != "" {
				t.Errorf("Parse(%q) differs (-want +got):\n%s", tt.text, diff)
			}
		})
	}
}

func TestParseFaults(t *testing.T) {
	deep := strings.Repeat("[", 70) + strings.Repeat("]", 70)
	laughs := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		laughs += fmt.Sprintf("a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i+1, i+1, i, i, i, i, i, i, i, i, i, i)
	}
	tests := []struct {
		name   string
		format tree.Format
		text   string
		want   string // issues, by lines
	}{
		{"tab", tree.YAML, "a:\n\tb: 1\n", "f:2:1: a tab is used for indentation (indent with spaces)"},
		{"tab after spaces", tree.YAML, "a:\n  \tb: 1\n", "f:2:3: a tab is used for indentation (indent with spaces)"},
		{"unclosed quote", tree.YAML, "a: \"b\nc: \"d\"\n", `f:1:4: the quoted text is never closed (close it with ")`},
		{"unclosed quote at the end", tree.YAML, "a: 'b\n", "f:1:4: the quoted text is never closed (close it with ')"},
		{"unclosed quote in a list", tree.YAML, "a: [b, 'c]\nd: e\n", "f:1:8: the quoted text is never closed (close it with ')"},
		{"text after quote", tree.YAML, "a: 'it's'\n", "f:1:8: text follows after the closing quote (put all of it in quotes, and write quotes inside of it differently)"},
		{"bracket", tree.YAML, "a: [b, {c: d\n", "f:1:8: { is never closed (close it with })"},
		{"wrong bracket", tree.YAML, "a: [b}\n", "f:1:6: } closes [ of line 1 (close it with ])"},
		{"text after bracket", tree.YAML, "a: [b] c\n", "f:1:8: text follows after the closing bracket (remove it, or put the value in quotes)"},
		{"colon in value", tree.YAML, "é: b: c\n", "f:1:5: a colon inside a value (put the value in quotes; if a new key was meant, check its indentation)"},
		{"deeper key", tree.YAML, "a: b\n  c: d\n", "f:2:4: a colon inside a value (put the value in quotes; if a new key was meant, check its indentation)"},
		{"no colon", tree.YAML, "a: b\nc\nd: e\n", `f:2:1: "c" is neither a key nor part of a value (write key: value, or indent it to go on with the text above)`},
		{"no space after colon", tree.YAML, "a:b\nc: d\n", "f:1:2: a space is missing after the colon (write a: b)"},
		{"indentation", tree.YAML, "a:\n    b: 1\n  c: 2\n", "f:3:3: the indentation matches no line above (align it with the lines it belongs to)"},
		{"list on the line of its key", tree.YAML, "a: - b\n", "f:1:4: a list cannot begin on the line of its key (put the list on the next line, or write [one, two])"},
		{"key in a list", tree.YAML, "- a\nb: c\n", "f:2:1: a key stands among the entries of a list (begin the line with - , or align it with the key that the list belongs to)"},
		{"at sign", tree.YAML, "a: @b\n", "f:1:4: a text cannot begin with @ (put it in quotes)"},
		{"escape", tree.YAML, "a: \"\\q\"\n", `f:1:5: \q is not an escape (write \\ for a backslash, or use single quotes)`},
		{"unknown alias", tree.YAML, "a: *b\n", "f:1:4: the alias *b stands for nothing (mark what it stands for with &b, or put the text in quotes)"},
		{"tag", tree.YAML, "a: !b c\n", "f:1:4: the tag !b is not known (remove the tag)"},
		{"binary", tree.YAML, "a: !!binary aGk=\n", "f:1:4: the tag !!binary is not known (remove the tag)"},
		{"tag that does not fit", tree.YAML, "a: !!int b\n", `f:1:4: "b" is not a whole number in range (put it in quotes if it is meant as text)`},
		{"second document", tree.YAML, "a: 1\n---\nb: 2\n", "f:3:1: a second YAML document begins here (keep one document and remove the line ---)"},
		{"repeated keys", tree.YAML, "a: 1\nb:\n  c: 1\n  c: 2\na: 3\n", "f:4:3: b.c is given twice: here and in line 3 (keep one of them)\nf:5:1: a is given twice: here and in line 1 (keep one of them)"},
		{"key that is a list", tree.YAML, "? [a]\n: b\n", "f:1:3: a key must be text (write key: value; put { } or [ ] in quotes if they are meant literally)"},
		{"not a number", tree.YAML, "a: .nan\n", `f:1:4: ".nan" is not a finite number (put it in quotes if it is meant as text)`},
		{"alias of itself", tree.YAML, "a: &x [*x]\n", "f:1:8: the alias *x contains itself (write out what it stands for)"},
		{"merge of text", tree.YAML, "a:\n  <<: b\n", "f:2:7: << must be followed by an alias of a table (write <<: *name, where &name marks a table)"},
		{"many laughs", tree.YAML, laughs, "f:5:45: aliases make the document grow by more than 100000 values (write out what the aliases stand for, or use fewer)"},
		{"deep yaml", tree.YAML, deep, "f:1:66: nested more than 64 levels deep (flatten the document)"},
		{"deep toml", tree.TOML, "a = " + deep, "f:1:69: nested more than 64 levels deep (flatten the document)"},
		{"deep json", tree.JSON, deep, "f:1:66: nested more than 64 levels deep (flatten the document)"},
		{"toml text ends within", tree.TOML, "\"垈", "f:1:2: unterminated basic string (check quotes, brackets and commas near here)"},
		{"toml repeated", tree.TOML, "a = 1\n[t]\nb = 1\nb = 2\n[t]\n", "f:4:1: t.b is given twice: here and in line 3 (keep one of them)\nf:5:2: t is given twice: here and in line 2 (keep one of them)"},
		{"toml table over value", tree.TOML, "a = 1\n[a.b]\n", "f:2:2: a is given twice: here and in line 1 (keep one of them)"},
		{"toml inline table extended", tree.TOML, "a = {}\na.b = 1\n", "f:2:1: a is given twice: here and in line 1 (keep one of them)"},
		{"toml list of tables over table", tree.TOML, "[a]\n[[a]]\n", "f:2:3: a is given twice: here and in line 1 (keep one of them)"},
		{"toml leading zero", tree.TOML, "a = 012\n", `f:1:5: "012" is not a value: integers cannot have leading zeroes (text must be in quotes)`},
		{"toml bad date", tree.TOML, "a = 2024-13-01\n", `f:1:10: "2024-13-01" is not a value: impossible date (text must be in quotes)`},
		{"toml table made by dotted keys", tree.TOML, "a.b = 1\n[a]\n", "f:2:2: a is given twice: here and in line 1 (keep one of them)"},
		{"toml dotted key into a table", tree.TOML, "[a.b]\n[a]\nb.c = 1\n", "f:3:1: a.b is given twice: here and in line 1 (keep one of them)"},
		{"toml underscore", tree.TOML, "a = 1__0\n", `f:1:6: "1__0" is not a value: number must have at least one digit between underscores (text must be in quotes)`},
		{"toml infinity", tree.TOML, "a = [1, inf]\n", `f:1:9: "inf" is not a finite number (text must be in quotes)`},
		{"json repeated", tree.JSON, "{\"a\": 1, \"a\": 2}", "f:1:10: a is given twice: here and in line 1 (keep one of them)"},
		{"json line break in text", tree.JSON, "{\"a\": \"b\n\"}", "f:1:9: invalid character '\\n' in string literal (close the text with a quote; write a line break in it as \\n)"},
		{"json missing comma", tree.JSON, "{\"a\": 1\n \"b\": 2}", "f:2:2: invalid character '\"' after object key:value pair (a comma may be missing before it)"},
		{"json too large number", tree.JSON, "[1e999]", "f:1:2: 1e999 is too large a number (put it in quotes if it is meant as text)"},
		{"json cut off", tree.JSON, "{\"a\": {\"b\": 1", "f:1:14: the document ends too early (close every bracket and quote)"},
		{"NUL", tree.JSON, "{\n\x00}", "f:2:1: contains a NUL character (save the file as UTF-8 text)"},
		{"not UTF-8", tree.TOML, "a = 'é\xff'", "f:1:7: not valid UTF-8 (save the file as UTF-8)"},
		{"too long", tree.JSON, strings.Repeat(" ", tree.MaxInput+1), "f:1:1: the document has 8388609 bytes; at most 8MiB are read (split it, or remove what is not needed)"},
		{"no format", "xml", "<a/>", `f:1:1: "xml" is not a format (use yaml, toml or json)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, issues := tree.Parse(tt.format, "f", []byte(tt.text))
			if diff := cmp.Diff(tt.want, lines(issues)); diff != "" {
				t.Errorf("Parse(%.80q) differs (-want +got):\n%s", tt.text, diff)
			}
		})
	}
}

func lines(issues []caxton.Issue) string {
	s := make([]string, len(issues))
	for i, issue := range issues {
		s[i] = issue.String()
	}
	return strings.Join(s, "\n")
}

// FuzzParse holds for any text that Parse comes back, that its issues and its nodes are
// inside of the text, and that a document can be walked and looked up.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"a: 1\nb: [x, {y: z}]\nc: &d |\n  e\nf: *d\n", "a:\n\tb: 1\n", "a: 'b\n", "x: &a {b: 1}\ny:\n  <<: *a\n", "- a\nb: c\n",
	} {
		f.Add("yaml", []byte(seed))
	}
	for _, seed := range []string{
		"a.b = 1\na.c = 2\n[a.d]\n[x.y]\n[x]\n[x.z]\n", "[a.b]\n[a]\nb.c = 1\n", "[[a.b]]\n[a.b.c]\n[[a.b]]\n[a.b.c]\n", "a = {b.c = 1, b.d = {}}\n",
		"a = 1\n[b.c]\nd = [1, {e = 'f'}]\n[[g]]\nh = \"\"\"\ni\"\"\"\n", "a.b = 1\na = 2\n", "a = [1, # x\n 2]\n[a]\n", "a = foo\n",
	} {
		f.Add("toml", []byte(seed))
	}
	for _, seed := range []string{`{"a": [1, 2.5, null, true, {"b": "c"}]}`, `{"a": 1,}`, `{"a": "\q"}`, `[1 2]`, "\ufeff{}"} {
		f.Add("json", []byte(seed))
	}
	f.Fuzz(func(t *testing.T, format string, data []byte) {
		n, issues := tree.Parse(tree.Format(format), "f", data)
		if n == nil && len(issues) == 0 {
			t.Fatal("Parse returned neither a document nor an issue")
		}
		rows := strings.Split(strings.TrimPrefix(string(data), "\ufeff"), "\n")
		inside := func(line, column int) bool {
			return line >= 1 && line <= len(rows) && column >= 1 && column <= len(rows[line-1])+1
		}
		for _, i := range issues {
			if !inside(i.Line, i.Column) {
				t.Errorf("issue %+v is outside of the text", i)
			}
		}
		if format == "toml" {
			// Whatever is read is TOML to others too.
			var other map[string]any
			if err := toml.Unmarshal(data, &other); err != nil && len(issues) == 0 {
				t.Errorf("Parse has no issue, but %v", err)
			}
		}
		n.Walk(func(path string, f *tree.Field) bool {
			if !inside(f.Line, f.Column) || !inside(f.Node.Line, f.Node.Column) {
				t.Errorf("%s at %d:%d, value at %d:%d, is outside of the text", path, f.Line, f.Column, f.Node.Line, f.Node.Column)
			}
			return true
		})
		if n != nil && n.Kind == tree.Map {
			for _, f := range n.Fields {
				if n.Lookup(tree.Join(f.Key)) == nil {
					t.Errorf("Lookup(Join(%q)) = nil", f.Key)
				}
			}
		}
	})
}

// TestParseLong holds that no form of text takes time beyond its length; each of these took
// minutes or more when something went over it again and again.
func TestParseLong(t *testing.T) {
	if testing.Short() {
		t.Skip("long documents")
	}
	var keys strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&keys, "k%d=1\n", i)
	}
	long := strings.Repeat("k", 1<<20)
	tests := []struct {
		name   string
		format tree.Format
		text   string
	}{
		{"toml keys", tree.TOML, keys.String()},
		{"toml tables below a long key", tree.TOML, long + " = [" + strings.Repeat("{a=1},", 100_000) + "]"},
		{"json tables below a long key", tree.JSON, `{"` + long + `":[` + strings.Repeat(`{"a":1},`, 100_000) + "1]}"},
		{"json on one line", tree.JSON, "[" + strings.Repeat("1,", 500_000) + "1]"},
		{"yaml tables below a key", tree.YAML, strings.Repeat("k", 1000) + ": [" + strings.Repeat("{a: 1},", 50_000) + "1]"},
		{"yaml repeated keys", tree.YAML, strings.Repeat("a: 1\n", 100_000)},
		{"toml repeated keys", tree.TOML, strings.Repeat("a = 1\n", 100_000)},
		{"yaml brackets", tree.YAML, strings.Repeat("[", 1<<20)},
		{"yaml list marks", tree.YAML, strings.Repeat("- ", 1<<20)},
		{"yaml question marks", tree.YAML, strings.Repeat("? ", 1<<20)},
		{"yaml lines without a key", tree.YAML, "a: 'b\n" + strings.Repeat("c\n", 100_000)},
		{"yaml lines with odd keys", tree.YAML, strings.Repeat("a:b\n", 100_000) + "c: d: e\n"},
		{"yaml odd line break and a long line", tree.YAML, "# \r[" + strings.Repeat("1,", 200_000) + "1]"},
		{"yaml carriage returns", tree.YAML, strings.Repeat("a:\r - b\r", 1000)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, issues := tree.Parse(tt.format, "f", []byte(tt.text))
			if n == nil && len(issues) == 0 || len(issues) > 100 {
				t.Errorf("Parse = %v with %d issues, want a document or up to 100 issues", n != nil, len(issues))
			}
		})
	}
}
