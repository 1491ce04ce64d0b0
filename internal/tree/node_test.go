package tree_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/caxton/caxton/internal/tree"
)

func mustParse(t *testing.T, text string) *tree.Node {
	t.Helper()
	n, issues := tree.Parse(tree.YAML, "f", []byte(text))
	if len(issues) > 0 {
		t.Fatalf("Parse(%q): %v", text, issues)
	}
	return n
}

func TestSplitJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfN(rapid.OneOf(rapid.String(), rapid.StringMatching(`[a."\[\]\\]{0,4}`)), 1, 4).Draw(t, "keys")
		if got := tree.Split(tree.Join(keys...)); !cmp.Equal(got, keys) {
			t.Fatalf("Split(Join(%q)) = %q", keys, got)
		}
	})
	if got := tree.Split(`a."b.c".d`); !cmp.Equal(got, []string{"a", "b.c", "d"}) {
		t.Errorf("Split = %q", got)
	}
	if got := tree.Join("a", "", "b c"); got != `a."".b c` {
		t.Errorf("Join = %q", got)
	}
}

func TestLookup(t *testing.T) {
	n := mustParse(t, "a:\n  b.c: {d: 1}\nl: [{e: 2}]\n")
	tests := []struct {
		path string
		want any // nil for no entry
	}{
		{`a."b.c".d`, int64(1)},
		{"a.b.c.d", nil},
		{"a.x", nil},
		{"l.e", nil},
		{"", nil},
	}
	for _, tt := range tests {
		f := n.Lookup(tt.path)
		var got any
		if f != nil {
			got = f.Node.Value
		}
		if got != tt.want {
			t.Errorf("Lookup(%q) = %v, want %v", tt.path, got, tt.want)
		}
	}
}

func TestSet(t *testing.T) {
	tests := []struct {
		name, before, path string
		ok                 bool
		want               any
	}{
		{"replace", "a: {b: 1}", "a.b", true, map[string]any{"a": map[string]any{"b": "x"}}},
		{"add", "a: {b: 1}", "a.c", true, map[string]any{"a": map[string]any{"b": int64(1), "c": "x"}}},
		{"make tables", "", "a.b.c", true, map[string]any{"a": map[string]any{"b": map[string]any{"c": "x"}}}},
		{"below nothing", "a:", "a.b", true, map[string]any{"a": map[string]any{"b": "x"}}},
		{"below text", "a: y", "a.b.c", false, map[string]any{"a": "y"}},
		{"no path", "a: y", "", false, map[string]any{"a": "y"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := mustParse(t, tt.before)
			if ok := n.Set(tt.path, tree.NewString("x", "test")); ok != tt.ok {
				t.Errorf("Set(%q) = %t, want %t", tt.path, ok, tt.ok)
			}
			if diff := cmp.Diff(tt.want, n.Plain()); diff != "" {
				t.Errorf("Set(%q) differs (-want +got):\n%s", tt.path, diff)
			}
		})
	}
}

func TestMove(t *testing.T) {
	tests := []struct {
		name, before, from, to string
		moved                  bool
		clashes                []string
		want                   any
	}{
		{"rename", "a: 1", "a", "b", true, nil, map[string]any{"b": int64(1)}},
		{"into a new table", "a: 1", "a", "b.c", true, nil, map[string]any{"b": map[string]any{"c": int64(1)}}},
		{"out of a table", "a: {b: 1}", "a.b", "c", true, nil, map[string]any{"c": int64(1)}},
		{"out of a table with more", "a: {b: 1, d: 2}", "a.b", "c", true, nil, map[string]any{"a": map[string]any{"d": int64(2)}, "c": int64(1)}},
		{"merge tables", "a: {b: 1}\nc: {d: 2}", "a", "c", true, nil, map[string]any{"c": map[string]any{"d": int64(2), "b": int64(1)}}},
		{"clash", "a: 1\nb: 2", "a", "b", true, []string{"b"}, map[string]any{"b": int64(2)}},
		{"clash in tables", "a: {x: 1, y: 1}\nb: {y: 2}", "a", "b", true, []string{"b.y"}, map[string]any{"b": map[string]any{"x": int64(1), "y": int64(2)}}},
		{"clash below text", "a: 1\nb: 2", "a", "b.c", true, []string{"b.c"}, map[string]any{"b": int64(2)}},
		{"over nothing", "a: 1\nb:", "a", "b", true, nil, map[string]any{"b": int64(1)}},
		{"absent", "a: 1", "x", "b", false, nil, map[string]any{"a": int64(1)}},
		{"to itself", "a: 1", "a", "a", false, nil, map[string]any{"a": int64(1)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := mustParse(t, tt.before)
			moved, clashes := n.Move(tt.from, tt.to)
			if moved != tt.moved {
				t.Errorf("Move(%q, %q) = %t, want %t", tt.from, tt.to, moved, tt.moved)
			}
			var paths []string
			for _, c := range clashes {
				paths = append(paths, c.Path)
				if c.Old.Line == 0 || c.New.Line == 0 {
					t.Errorf("clash %q without places: %+v", c.Path, c)
				}
			}
			if diff := cmp.Diff(tt.clashes, paths); diff != "" {
				t.Errorf("Move(%q, %q): clashes differ (-want +got):\n%s", tt.from, tt.to, diff)
			}
			if diff := cmp.Diff(tt.want, n.Plain()); diff != "" {
				t.Errorf("Move(%q, %q) differs (-want +got):\n%s", tt.from, tt.to, diff)
			}
		})
	}
}

func TestMoveKeepsPlaces(t *testing.T) {
	n := mustParse(t, "x: 0\nold:\n  deep: 1\n")
	n.Move("old", "new.place")
	f := n.Lookup("new.place.deep")
	if f == nil || f.Line != 3 || f.Column != 3 || f.Alias != "old.deep" || f.Node.Column != 9 {
		t.Errorf("Lookup after Move = %+v, want 3:3, written as old.deep", f)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"max_agents", "max_tokens", "name", "tools", "data-analysis"}
	tests := []struct{ word, want string }{
		{"max_agent", "max_agents"},
		{"maxTokens", "max_tokens"},
		{"nmae", "name"},
		{"NAME", "name"},
		{"tool", "tools"},
		{"data_analysis", "data-analysis"},
		{"colour", ""},
		{"", ""},
		{"xy", ""},
	}
	for _, tt := range tests {
		if got := tree.Nearest(tt.word, known); got != tt.want {
			t.Errorf("Nearest(%q) = %q, want %q", tt.word, got, tt.want)
		}
	}
}
