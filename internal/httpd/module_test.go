package httpd_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/httpd"
)

// aModule begins like one; nothing here looks further.
const aModule = "\x00asm\x01\x00\x00\x00 and what follows"

// runbook is the body of the runbook's sample, as a shell makes it.
const runbook = `{
    "name": "custom-algorithm-agent",
    "wasm_module": "%s",
    "resource_limits": {
      "max_memory_bytes": 10485760,
      "max_fuel": 1000000,
      "max_execution_time_ms": 5000
    }
  }`

// a part of a form.
type part struct{ name, file, data string }

// formOf returns a form and its type.
func formOf(t *testing.T, parts ...part) (contentType, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		begin := func() (io.Writer, error) { return w.CreateFormField(p.name) }
		if p.file != "" {
			begin = func() (io.Writer, error) { return w.CreateFormFile(p.name, p.file) }
		}
		dst, err := begin()
		if err == nil {
			_, err = io.WriteString(dst, p.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.String()
}

// TestModuleBodies holds what becomes of a module in each form that it may be sent in.
func TestModuleBodies(t *testing.T) {
	coded := base64.StdEncoding.EncodeToString([]byte(aModule))
	fields, form := formOf(t, part{"wasm_module", "agent.wasm", aModule}, part{"name", "", "custom-algorithm-agent"}, part{"resource_limits", "", `{"max_fuel": 1000000}`})
	defined, definition := formOf(t, part{"file", "agent.wasm", aModule}, part{"definition", "agent.md", "---\nname: custom-algorithm-agent\n---\n"})
	text, inText := formOf(t, part{"wasm_module", "", coded}, part{"name", "", "custom-algorithm-agent"})
	tests := []struct {
		name, contentType, body string
		want                    []string // in the definition
	}{
		{"the runbook's", "application/json", fmt.Sprintf(runbook, coded), []string{`"type": "wasm"`, `"name": "custom-algorithm-agent"`, `"max_memory_bytes": 10485760`, `"max_fuel": 1000000`, `"max_execution_time_ms": 5000`}},
		{"without padding", "application/json", fmt.Sprintf(runbook, strings.TrimRight(coded, "=")), []string{`"type": "wasm"`}},
		{"with broken lines", "application/json", fmt.Sprintf(runbook, coded[:10]+`\n`+coded[10:]), []string{`"type": "wasm"`}},
		{"without a content type", "", fmt.Sprintf(runbook, coded), []string{`"type": "wasm"`}},
		{"with the text of a definition", "application/json", `{"wasm_module": "` + coded + `", "definition": "---\nname: custom-algorithm-agent\n---\n"}`, []string{"name: custom-algorithm-agent"}},
		{"a form of fields", fields, form, []string{`"type": "wasm"`, `"name": "custom-algorithm-agent"`, `"max_fuel": 1000000`}},
		{"a form with a definition", defined, definition, []string{"name: custom-algorithm-agent"}},
		{"base64 in a form", text, inText, []string{`"type": "wasm"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _, o := newServer(t, httpd.Config{})
			if w := post(s, tt.contentType, tt.body); w.Code != 201 {
				t.Fatalf("%d %s, want 201", w.Code, w.Body)
			}
			if string(o.last.Module) != aModule {
				t.Errorf("the module is %q", o.last.Module)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(o.last.Text), want) {
					t.Errorf("the definition is %s, and lacks %s", o.last.Text, want)
				}
			}
			if strings.Contains(string(o.last.Text), "wasm_module") {
				t.Errorf("the definition has the module in it: %s", o.last.Text)
			}
		})
	}
}

// TestModuleFaults holds that each fault of a body with a module is told by status, code and
// hint, and that nothing is deployed.
func TestModuleFaults(t *testing.T) {
	coded := base64.StdEncoding.EncodeToString([]byte(aModule))
	fields, form := formOf(t, part{"name", "", "a"})
	twice, both := formOf(t, part{"wasm_module", "agent.wasm", aModule}, part{"definition", "", "---\nname: a\n---\n"}, part{"name", "", "b"})
	bad, broken := formOf(t, part{"wasm_module", "", "no base64!"}, part{"name", "", "a"})
	empty, nothing := formOf(t, part{"wasm_module", "agent.wasm", ""}, part{"name", "", "a"})
	tests := []struct {
		name, contentType, body string
		status                  int
		code, hint              string
	}{
		{"broken base64", "application/json", fmt.Sprintf(runbook, coded[:8]+"!"), 400, "wasm_module_malformed", "base64 -w0"},
		{"the wrong alphabet", "application/json", fmt.Sprintf(runbook, "____"), 400, "wasm_module_malformed", "base64 -w0"},
		{"an empty command substitution", "application/json", fmt.Sprintf(runbook, ""), 400, "wasm_module_empty", "base64"},
		{"null", "application/json", `{"name": "a", "wasm_module": null}`, 400, "wasm_module_empty", "base64"},
		{"a number", "application/json", `{"name": "a", "wasm_module": 7}`, 400, "wasm_module_malformed", "base64"},
		{"too large", "application/json", fmt.Sprintf(runbook, strings.Repeat("AAAA", 1_000_000)), 413, "request_too_large", "max_module_size"},
		{"a module too large in a body that is not", "application/json", fmt.Sprintf(runbook, strings.Repeat("AAAA", 400_000)), 413, "module_too_large", "max_module_size"},
		{"a form too large", fields, form + strings.Repeat("x", 4_000_000), 413, "request_too_large", "max_module_size"},
		{"a form without the module", fields, form, 400, "wasm_module_missing", "curl -F wasm_module=@"},
		{"a form with both", twice, both, 400, "form_malformed", "leave it out"},
		{"a form with broken base64", bad, broken, 400, "wasm_module_malformed", "base64"},
		{"a form with an empty file", empty, nothing, 400, "wasm_module_empty", "curl -F wasm_module=@"},
		{"a form without its boundary", "multipart/form-data", form, 400, "form_malformed", "curl -F"},
		{"a form that is cut off", fields, form[:len(form)-20], 400, "form_malformed", "curl -F"},
		{"the module by itself", "application/wasm", aModule, 400, "content_type_unknown", "multipart/form-data"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _, o := newServer(t, httpd.Config{MaxModule: 1 << 20, MaxBody: 1 << 20})
			w := post(s, tt.contentType, tt.body)
			var b api.ErrorBody
			if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil {
				t.Fatalf("%d %s: %v", w.Code, w.Body, err)
			}
			if w.Code != tt.status || b.Error.Code != tt.code || !strings.Contains(b.Error.Hint, tt.hint) || b.Error.Message == "" {
				t.Errorf("%d %+v, want %d %s with a hint of %q", w.Code, b.Error, tt.status, tt.code, tt.hint)
			}
			if o.deployed != 0 {
				t.Error("something was deployed")
			}
		})
	}
}

func post(s *httpd.Server, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/api/v1/agents", strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// TestModuleInOpenAPI holds that the document says how a module is sent.
func TestModuleInOpenAPI(t *testing.T) {
	s, _, _ := newServer(t, httpd.Config{})
	var doc struct {
		Paths map[string]map[string]struct {
			RequestBody struct {
				Content map[string]struct {
					Schema struct {
						Properties map[string]struct{ Type, Format, ContentEncoding string }
					}
				}
			}
			Responses map[string]any
		}
	}
	if err := json.Unmarshal(call(s, "GET", "/api/openapi.json", "").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	for path, method := range map[string]string{"/api/v1/agents": "post", "/api/v1/agents/{agent}": "put"} {
		op := doc.Paths[path][method]
		json := op.RequestBody.Content["application/json"].Schema.Properties
		form := op.RequestBody.Content["multipart/form-data"].Schema.Properties
		if m := json["wasm_module"]; m.Type != "string" || m.ContentEncoding != "base64" {
			t.Errorf("%s %s: wasm_module is %+v", method, path, m)
		}
		if m := form["wasm_module"]; m.Type != "string" || m.Format != "binary" {
			t.Errorf("%s %s: wasm_module of the form is %+v", method, path, m)
		}
		if json["name"].Type != "string" || json["definition"].Type != "string" || json["resource_limits"].Type != "object" {
			t.Errorf("%s %s: the keys are %+v", method, path, json)
		}
		for _, status := range []string{"400", "409", "413", "422"} {
			if op.Responses[status] == nil {
				t.Errorf("%s %s says nothing of %s", method, path, status)
			}
		}
	}
}

// TestBrokenModuleOfTheClient sends what no client of ours does to the route that it uses.
func TestBrokenModuleOfTheClient(t *testing.T) {
	s, _, _ := newServer(t, httpd.Config{})
	if w := call(s, "POST", "/api/v1/agents/deploy", `{"definition": "x", "wasm_module": "no base64!"}`); w.Code != 422 || !strings.Contains(w.Body.String(), "illegal base64 data at input byte 2") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
