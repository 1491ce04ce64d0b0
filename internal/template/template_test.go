package template_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/template"
)

func values() map[string]any {
	return map[string]any{
		"name": "Ada", "empty": "", "zero": int64(0), "half": 0.5, "million": 1e6, "yes": true, "no": false, "nothing": nil,
		"user":  map[string]any{"name": "Bo", "mail": "<bo@example.org>"},
		"rows":  []any{map[string]any{"x": int64(1)}, map[string]any{"x": int64(2), "name": "own"}},
		"words": []string{"a", "b"},
		"grid":  []any{[]any{"p", "q"}, []any{"r"}},
		"none":  []any{},
	}
}

func TestExecute(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"text", "plain } text { here }}", "plain } text { here }}"},
		{"value", "Hello {{name}}, {{ name }}!", "Hello Ada, Ada!"},
		{"path", "{{user.name}} {{rows.1.x}}", "Bo 2"},
		{"absent", "[{{x}}{{user.x}}{{name.x}}{{rows.9}}{{nothing}}]", "[]"},
		{"forms", "{{zero}} {{half}} {{million}} {{yes}}", "0 0.5 1000000 true"},
		{"json", "{{user}} {{words}}", `{"mail":"<bo@example.org>","name":"Bo"} ["a","b"]`},
		{"escaped", `\{{name}} {{name}}`, "{{name}} Ada"},
		{"if", "{{#if name}}a{{/if}}{{#if empty}}b{{/if}}{{#if zero}}c{{/if}}{{#if no}}d{{/if}}{{#if none}}e{{/if}}{{#if x}}f{{/if}}{{#if rows}}g{{/if}}{{#if yes}}h{{/if}}", "agh"},
		{"else", "{{#if x}}a{{else}}b{{/if}}", "b"},
		{"each", "{{#each words}}{{@index}}{{this}},{{/each}}", "0a,1b,"},
		{"each of tables", "{{#each rows}}{{x}}{{this.x}}{{name}} {{/each}}", "11Ada 22own "},
		{"each of nothing", "{{#each none}}a{{else}}b{{/each}}{{#each x}}c{{/each}}", "b"},
		{"each of one", "{{#each name}}<{{this}}>{{/each}}", "<Ada>"},
		{"nested", "{{#each grid}}{{#each this}}{{this}}{{#if this}}.{{/if}}{{/each}};{{/each}}", "p.q.;r.;"},
		{"this outside of a loop", "[{{this}}{{@index}}]", "[]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tpl, err := template.Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tpl.Execute(values())
			if err != nil || got != tt.want {
				t.Errorf("Execute(%q) = %q, %v; want %q", tt.text, got, err, tt.want)
			}
		})
	}
}

func TestParseFaults(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"not closed", "é\né {{name", "2:3: {{ is never closed"},
		{"not closed before another", "{{name {{x}}", "1:1: {{ is never closed"},
		{"empty", "a {{ }}", "1:3: {{}} is not the name of a value"},
		{"default", "{{NAME:x}}", "1:1: {{NAME:x}} is not the name of a value"},
		{"dots", "{{a..b}}", "1:1: {{a..b}} is not the name of a value"},
		{"unknown block", "{{#unless x}}{{/unless}}", "1:1: {{#unless}} is not a block"},
		{"block without name", "{{#if}}{{/if}}", "1:1: {{#if}} needs the name of a value"},
		{"block not closed", "a\n{{#each x}}b", "2:1: {{#each}} is never closed"},
		{"wrong end", "{{#if x}}\n  {{/each}}", "2:3: {{/each}} where {{/if}} is needed"},
		{"end without block", "a {{/if}}", "1:3: {{/if}} without a block"},
		{"else without block", "{{else}}", "1:1: {{else}} without a block"},
		{"second else", "{{#if x}}{{else}}{{else}}{{/if}}", "1:18: a second {{else}} in one block"},
		{"too deep", strings.Repeat("{{#if x}}", 17) + strings.Repeat("{{/if}}", 17), "1:145: more than 16 blocks inside each other"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := template.Parse(tt.text)
			var fault *template.Error
			if !errors.As(err, &fault) || fault.Error() != tt.want || fault.Hint == "" {
				t.Fatalf("Parse(%q) = %v, want %q and a hint", tt.text, err, tt.want)
			}
			line, column, err := template.Check(tt.text)
			if caxton.KindOf(err) != caxton.Invalid || line != fault.Line || column != fault.Column {
				t.Errorf("Check(%q) = %d, %d, %v; want what Parse says", tt.text, line, column, err)
			}
		})
	}
	if line, column, err := template.Check("{{name}}"); line != 0 || column != 0 || err != nil {
		t.Errorf("Check of a good template = %d, %d, %v; want nothing", line, column, err)
	}
}

func TestExecuteBounds(t *testing.T) {
	list := make([]any, 1000)
	for i := range list {
		list[i] = "x"
	}
	tests := []struct {
		name, text string
		values     map[string]any
	}{
		{"output", "{{#each l}}{{t}}{{/each}}", map[string]any{"l": list, "t": strings.Repeat("y", 2000)}},
		{"steps", "{{#each l}}{{#each l}}{{#each l}}{{x}}{{/each}}{{/each}}{{/each}}", map[string]any{"l": list}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tpl, err := template.Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tpl.Execute(tt.values); caxton.KindOf(err) != caxton.TooLarge {
				t.Errorf("Execute = %v, want TooLarge", err)
			}
		})
	}
}

func TestVariables(t *testing.T) {
	tpl, err := template.Parse("{{b}}{{#if a.x}}{{b}}{{else}}{{c}}{{/if}}{{#each l}}{{this}}{{this.y}}{{@index}}{{/each}}")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a.x", "b", "c", "l"}, tpl.Variables()); diff != "" {
		t.Errorf("Variables differ (-want +got):\n%s", diff)
	}
}

// TestPlainText holds that text without braces stays as it is, and that escaped braces
// come out as braces.
func TestPlainText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.ReplaceAll(rapid.String().Draw(t, "text"), "{", "(")
		tpl, err := template.Parse(text + `\{{` + text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tpl.Execute(nil); err != nil || got != text+"{{"+text {
			t.Fatalf("Execute = %q, %v; want %q", got, err, text+"{{"+text)
		}
	})
}

// FuzzParse holds for any text that Parse comes back, that its fault is inside of the text,
// and that Execute ends within its bounds.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"{{name}}", "{{#if a}}b{{else}}c{{/if}}", "{{#each rows}}{{this.x}}{{/each}}", `\{{`, "{{#each a}}", "{{", "}}", "{{#if x}}{{/each}}", "{{@index}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tpl, err := template.Parse(text)
		if fault, ok := errors.AsType[*template.Error](err); ok {
			rows := strings.Split(text, "\n")
			if fault.Line < 1 || fault.Line > len(rows) || fault.Column < 1 || fault.Column > len(rows[fault.Line-1])+1 {
				t.Errorf("fault %v is outside of the text", fault)
			}
			return
		}
		if err != nil {
			t.Fatalf("Parse(%q) = %v, want an *Error", text, err)
		}
		tpl.Variables()
		if out, err := tpl.Execute(values()); err == nil && len(out) > template.MaxOutput {
			t.Errorf("Execute wrote %d bytes", len(out))
		}
	})
}

func ExampleTemplate_Execute() {
	t, err := template.Parse("{{#each plants}}- {{name}}{{#if dry}}: water it{{/if}}\n{{/each}}")
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := t.Execute(map[string]any{"plants": []any{
		map[string]any{"name": "fern", "dry": true},
		map[string]any{"name": "cactus"},
	}})
	fmt.Print(text, err)
	// Output:
	// - fern: water it
	// - cactus
	// <nil>
}
