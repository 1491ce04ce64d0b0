package tree_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

type limits struct {
	Size caxton.Size     `key:"size" min:"1KB" max:"1GB" default:"10MB" doc:"How large."`
	Wait caxton.Duration `key:"wait" min:"1s"`
	Std  time.Duration   `key:"std" max:"1h"`
}

type base struct {
	Note string `key:"note"`
}

type config struct {
	base
	Name    string              `key:"name" required:"true" max:"8" example:"name: x"`
	Level   string              `key:"level" oneof:"low,high" default:"low"`
	Port    int                 `key:"port" alias:"tcp_port,tcp" min:"1" max:"65535" default:"8080"`
	Ratio   float64             `key:"ratio" min:"0" max:"1"`
	Maybe   *float64            `key:"maybe"`
	On      bool                `key:"on"`
	Small   int8                `key:"small"`
	Words   []string            `key:"words" oneof:"a,b" max:"3"`
	Skill   caxton.Capability   `key:"skill"`
	Skills  []caxton.Capability `key:"skills"`
	At      time.Time           `key:"at"`
	Any     any                 `key:"any"`
	Limits  limits              `key:"limits"`
	Pointer *limits             `key:"pointer"`
	ByName  map[string]limits   `key:"by_name"`
	List    []limits            `key:"list"`
	Later   map[string]any      `key:"later" inert:"true"`
	Ignored chan int
	Never   chan int `key:"-"`
}

func TestDecode(t *testing.T) {
	half := 0.5
	tests := []struct {
		name   string
		format tree.Format
		text   string
		want   config
	}{
		{
			"scalars", tree.YAML, "name: x\nlevel: HIGH\nport: '80'\nratio: 1\nmaybe: 0.5\non: yes\nsmall: -3\nnote: n\n",
			config{base: base{"n"}, Name: "x", Level: "high", Port: 80, Ratio: 1, Maybe: &half, On: true, Small: -3},
		},
		{"alias", tree.YAML, "name: x\ntcp: 1\n", config{Name: "x", Port: 1}},
		{"number as text", tree.YAML, "name: 1.10\n", config{Name: "1.10"}},
		{"whole float", tree.JSON, `{"name": "x", "port": 80.0}`, config{Name: "x", Port: 80}},
		{"nulls", tree.YAML, "name: x\nport:\nlimits: ~\nwords:\n", config{Name: "x"}},
		{
			"tables", tree.TOML, "name = 'x'\n[limits]\nsize = 2048\nwait = '90s'\nstd = '1h'\n[pointer]\nsize = '1.5MB'\n[by_name.a]\nwait = '1d'\n[[list]]\n[[list]]\nstd = '2m'\n",
			config{
				Name: "x", Limits: limits{2048, caxton.Duration(90 * time.Second), time.Hour}, Pointer: &limits{Size: caxton.MiB * 3 / 2},
				ByName: map[string]limits{"a": {Wait: caxton.Duration(24 * time.Hour)}}, List: []limits{{}, {Std: 2 * time.Minute}},
			},
		},
		{"any", tree.JSON, `{"name": "x", "any": {"a": [1, 2.5, null, "b"]}}`, config{Name: "x", Any: map[string]any{"a": []any{int64(1), 2.5, nil, "b"}}}},
		{"time", tree.TOML, "name = 'x'\nat = 2024-05-01T10:00:00Z\n", config{Name: "x", At: time.Date(2024, 5, 1, 10, 0, 0, 0, time.UTC)}},
		{"words", tree.YAML, "name: x\nwords: [A, b]\n", config{Name: "x", Words: []string{"a", "b"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, issues := tree.Parse(tt.format, "f", []byte(tt.text))
			if len(issues) > 0 {
				t.Fatal(issues)
			}
			var got config
			if issues := tree.Decode(n, &got, tree.DecodeOptions{Path: "f"}); len(issues) > 0 {
				t.Fatalf("Decode(%q): %v", tt.text, issues)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(config{}, caxton.Capability{})); diff != "" {
				t.Errorf("Decode(%q) differs (-want +got):\n%s", tt.text, diff)
			}
		})
	}
}

func TestDecodeKeepsDefaults(t *testing.T) {
	got := config{Port: 8080, Limits: limits{Size: 7}, Pointer: &limits{Size: 8}}
	if issues := tree.Decode(mustParse(t, "name: x\nlimits: {wait: 1s}\npointer: {wait: 2s}\n"), &got, tree.DecodeOptions{}); len(issues) > 0 {
		t.Fatal(issues)
	}
	if got.Port != 8080 || got.Limits.Size != 7 || got.Pointer.Size != 8 || got.Pointer.Wait != caxton.Duration(2*time.Second) {
		t.Errorf("Decode = %+v, want the values set before to stay", got)
	}
}

func TestDecodeFaults(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"missing", "port: 1\n", "f:1:1: name is missing (for example name: x)"},
		{"empty", "name: ' '\n", "f:1:1: name is empty (for example name: x)"},
		{"unknown", "name: x\nprot: 1\n", "f:2:1: unknown key prot (did you mean port?)"},
		{"unknown that belongs below", "name: x\nsize: 1\n", "f:2:1: unknown key size"},
		{"unknown below, belongs above", "name: x\nlimits: {tcp_port: 1}\n", "f:2:10: unknown key limits.tcp_port (it belongs at the top level of the document)"},
		{"unknown, few known", "name: x\nlimits: {colour: 1}\n", "f:2:10: unknown key limits.colour (known here: size, wait, std)"},
		{"twice by alias", "name: x\nport: 1\ntcp: 2\n", "f:3:1: tcp is given twice: here and in line 2 (they mean the same; keep port)"},
		{"too long", "name: xxxxxxxxx\n", "f:1:7: name has 9 characters; at most 8 are allowed"},
		{"one of", "name: x\nlevel: hihg\n", `f:2:8: level must be low or high, not "hihg" (did you mean high?)`},
		{"one of, in a list", "name: x\nwords: [a, c]\n", `f:2:12: words[1] must be a or b, not "c" (did you mean a?)`},
		{"range", "name: x\nport: 0\n", "f:2:7: port must be 1 to 65535, not 0"},
		{"range of float", "name: x\nratio: 1.01\n", "f:2:8: ratio must be 0 to 1, not 1.01"},
		{"range of size", "name: x\nlimits: {size: 2GB}\n", `f:2:16: limits.size must be 1KB to 1GB, not "2GB"`},
		{"range of duration", "name: x\nlimits: {wait: 1ms, std: 2h}\n", "f:2:16: limits.wait must be at least 1s, not \"1ms\"\nf:2:26: limits.std must be at most 1h, not \"2h\""},
		{"small", "name: x\nsmall: 300\n", "f:2:8: small must be a smaller number, not 300"},
		{
			"wrong types", "name: [x]\nport: a\nratio: {}\non: 2\nwords: a\nlimits: 1\nby_name: []\nlist: [1]\nskill: [a]\nlevel: true\n",
			"f:1:7: name must be text, not a list\nf:2:7: port must be a whole number, not \"a\"\nf:3:8: ratio must be a number, not a table\n" +
				"f:4:5: on must be true or false, not 2\nf:5:8: words must be a list, not \"a\" (write it like [one, two])\n" +
				"f:6:9: limits must be a table of keys and values, not 1\nf:7:10: by_name must be a table of keys and values, not a list\n" +
				"f:8:8: list[0] must be a table of keys and values, not 1\nf:9:8: skill must be text, not a list\nf:10:8: level must be text, not true (put it in quotes)",
		},
		{
			"text forms", "name: x\nskill: A\nlimits: {size: big, wait: 3, std: soon}\nat: noon\n",
			"f:2:8: skill: \"A\" is not a capability name (write it like data-analysis)\nf:3:16: limits.size: \"big\" is not a size (write it like 512KB, 10MB or 1.5GiB)\n" +
				"f:3:27: limits.wait: \"3\" is not a duration (write it like 500ms, 30s, 1h30m or 30d)\nf:3:35: limits.std: \"soon\" is not a duration (write it like 500ms, 30s, 1h30m or 30d)\n" +
				"f:4:5: at: parsing time \"noon\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"noon\" as \"2006\"",
		},
		{"empty entry", "name: x\nskills: [a, ~]\n", "f:2:13: skills[1] is empty (remove the entry or write a value)"},
		{"too many", "name: x\nwords: [a, a, a, a]\n", "f:2:8: words has 4 entries; at most 3 are allowed"},
		{"root is a list", "[a]\n", "f:1:1: the document must be a table of keys and values, not a list"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c config
			got := lines(tree.Decode(mustParse(t, tt.text), &c, tree.DecodeOptions{Path: "f"}))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Decode(%q) differs (-want +got):\n%s", tt.text, diff)
			}
		})
	}
}

func TestDecodeOptions(t *testing.T) {
	n := mustParse(t, "name: x\nlater: {a: 1}\nold: 9\nqqqqqqqq: 1\n")
	n.Move("old", "limits.std")
	n.Set("port", tree.NewString("zero", "TCP_PORT"))
	var c config
	var inert []string
	got := lines(tree.Decode(n, &c, tree.DecodeOptions{
		Path: "f", Prefix: "top", UnknownHint: "see the manual",
		Inert: func(key string, _ tree.Field) { inert = append(inert, key) },
	}))
	want := `f: top.port must be a whole number, not "zero" (from TCP_PORT)` + "\n" +
		`f:3:6: top.limits.std: "9" is not a duration (write it like 500ms, 30s, 1h30m or 30d)` + "\n" +
		"f:4:1: unknown key top.qqqqqqqq (see the manual)"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Decode differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"top.later"}, inert); diff != "" {
		t.Errorf("inert keys differ (-want +got):\n%s", diff)
	}
}

func TestSchema(t *testing.T) {
	b, err := json.Marshal(tree.Schema(&config{}))
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	schema, err := s.Resolve(nil)
	if err != nil {
		t.Fatalf("Resolve(%s): %v", b, err)
	}
	tests := []struct {
		text string
		want bool
	}{
		{`{"name": "x", "level": "low", "tcp": 5, "limits": {"size": "2MB"}, "later": {"b": 1}, "note": "n"}`, true},
		{`{}`, false},
		{`{"name": "xxxxxxxxx"}`, false},
		{`{"name": "x", "level": "medium"}`, false},
		{`{"name": "x", "port": 0}`, false},
		{`{"name": "x", "limits": {"size": "big"}}`, false},
		{`{"name": "x", "by_name": {"a": {"b": 1}}}`, false},
		{`{"name": "x", "words": ["c"]}`, false},
	}
	for _, tt := range tests {
		var v any
		if err := json.Unmarshal([]byte(tt.text), &v); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); (err == nil) != tt.want {
			t.Errorf("Validate(%s) = %v, want valid %t", tt.text, err, tt.want)
		}
	}
	p := s.Properties["port"]
	if string(p.Default) != "8080" || s.Properties["tcp"].Description != "Another spelling of port." || !s.Properties["tcp"].Deprecated {
		t.Errorf("properties of port = %s", b)
	}
}
