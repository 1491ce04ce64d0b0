package httpd

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/agentfile"
)

// Modules knows what the modules of agents take. node provides it.
type Modules interface {
	// Use returns what the module of an agent took since the start, or nil when it has none.
	Use(id caxton.AgentID) *api.ModuleUse
	// Bounds returns what the module of a definition runs under, and what it may do.
	Bounds(def *caxton.Definition) (caxton.ResourceLimits, []string)
	// Imports returns what the module of a definition wants of the server, or nothing when it
	// is not at work.
	Imports(def *caxton.Definition) []caxton.ModuleImport
}

// moduleBody is how large the body of a deployment may be: a module as base64, and its
// definition.
func (s *Server) moduleBody() int64 {
	if s.cfg.MaxModule < 0 {
		return s.cfg.MaxBody
	}
	return max(s.cfg.MaxBody, s.cfg.MaxModule/3*4+2<<20)
}

// moduleOf returns the module of a definition as it is sent, or nil.
func moduleOf(def *caxton.Definition) *api.Module {
	if !def.IsModule() {
		return nil
	}
	m := &def.Module
	out := &api.Module{SHA256: m.SHA256, Size: int64(m.Size), Contract: m.Contract, File: m.File}
	for _, d := range m.Dirs {
		out.Directories = append(out.Directories, api.ModuleDirectory(d))
	}
	return out
}

// bounded adds what the module runs under.
func (s *Server) bounded(m *api.Module, def *caxton.Definition) *api.Module {
	if m == nil {
		return nil
	}
	limits, grants := s.deps.Modules.Bounds(def)
	m.Limits, m.Grants = limitsFrom(limits), grants
	return m
}

func limitsFrom(l caxton.ResourceLimits) *api.ModuleLimits {
	return &api.ModuleLimits{
		MaxMemoryBytes: int64(l.MaxMemoryBytes), MaxFuel: l.MaxFuel, MaxExecutionTime: l.MaxExecutionTime.Milliseconds(), MaxMessageSize: int64(l.MaxMessageSize),
	}
}

// reported is a module with what was found out before its deployment.
func reported(def *caxton.Definition, r *caxton.ModuleReport) *api.Module {
	if r == nil {
		return nil
	}
	m := cmp.Or(moduleOf(def), &api.Module{})
	m.SHA256, m.Size, m.Contract, m.Functions, m.Exports = r.SHA256, int64(r.Size), r.Contract, r.Functions, r.Exports
	m.Limits, m.Grants = limitsFrom(r.Limits), r.Grants
	m.Imports = importsOf(r.Imports)
	return m
}

func importsOf(is []caxton.ModuleImport) []api.ModuleImport {
	var out []api.ModuleImport
	for _, i := range is {
		out = append(out, api.ModuleImport(i))
	}
	return out
}

// moduleFrom takes the module out of a JSON body, and leaves the definition. The body is the
// definition with the key wasm_module, or definition is its text.
func moduleFrom(body map[string]json.RawMessage, req *caxton.DeployRequest) error {
	var text string
	if err := json.Unmarshal(body["wasm_module"], &text); err != nil {
		return caxton.Errorf(caxton.Malformed, "wasm_module_malformed", "wasm_module is not a text").WithHint("send the module as base64").WithCause(err)
	}
	var err error
	if req.Module, err = decode64(text); err != nil {
		return err
	}
	delete(body, "wasm_module")
	if definitionText(body, req) {
		return nil
	}
	if _, ok := body["type"]; !ok {
		body["type"] = json.RawMessage(`"` + caxton.WASMAgent + `"`)
	}
	req.Text, err = json.MarshalIndent(body, "", "  ") // its keys are sorted: the same body is the same text
	req.Format = agentfile.JSONFormat
	return err
}

func decode64(text string) ([]byte, error) {
	text = strings.Join(strings.Fields(text), "") // base64 without -w0 breaks lines
	if text == "" {
		return nil, caxton.Errorf(caxton.Malformed, "wasm_module_empty", "wasm_module is empty").WithHint("send the module as base64; where a command makes it, look that its file is there")
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		data, err = base64.RawStdEncoding.DecodeString(text)
	}
	if err != nil {
		return nil, caxton.Errorf(caxton.Malformed, "wasm_module_malformed", "wasm_module is not base64").WithHint("encode it with base64 -w0, or send multipart/form-data").WithCause(err)
	}
	return data, nil
}

// definitionText takes the text of a definition out of a JSON body, when it has one.
func definitionText(body map[string]json.RawMessage, req *caxton.DeployRequest) bool {
	for _, key := range []string{"definition", "content", "config"} {
		var text string
		if raw, ok := body[key]; ok && json.Unmarshal(raw, &text) == nil {
			req.Text = []byte(text)
			_ = json.Unmarshal(body["format"], &req.Format) // absent or wrong: told from the text
			return true
		}
	}
	return false
}

// formFrom reads a deployment out of a form: the module is a file called wasm_module, module
// or file; the definition is a file or a text called definition, or every field is a key of it.
func formFrom(contentType string, raw []byte, req *caxton.DeployRequest) error {
	malformed := func(err error) error {
		return caxton.Errorf(caxton.Malformed, "form_malformed", "the form cannot be read").WithHint("send multipart/form-data, as curl -F does").WithCause(err)
	}
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return malformed(err)
	}
	fields := map[string]json.RawMessage{}
	r := multipart.NewReader(bytes.NewReader(raw), params["boundary"])
	for {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return malformed(err)
		}
		data, err := io.ReadAll(p)
		if err != nil {
			return malformed(err)
		}
		switch name := p.FormName(); name {
		case "wasm_module", "module", "file":
			if p.FileName() == "" && name == "module" { // the key of a definition
				fields[name] = caxton.TextContent(string(data))
				continue
			}
			if req.Module, err = formModule(p.FileName(), data); err != nil {
				return err
			}
		case "definition":
			req.Text, req.Format = data, ""
			if p.FileName() != "" {
				req.Format = agentfile.Format(filepath.Base(p.FileName()), data)
			}
		default:
			fields[name] = formValue(name, string(data), fields[name])
		}
	}
	if req.Text != nil {
		if len(fields) > 0 {
			return caxton.Errorf(caxton.Malformed, "form_malformed", "the form has a definition, and fields besides").WithHint("say everything in the definition, or leave it out")
		}
		return nil
	}
	if req.Module == nil && fields["module"] == nil && fields["system_prompt"] == nil {
		return caxton.Errorf(caxton.Malformed, "wasm_module_missing", "the form has no module: no file wasm_module").
			WithHint("send it too, as curl -F wasm_module=@agent.wasm does; an agent without one has a field system_prompt")
	}
	if _, ok := fields["type"]; !ok && req.Module != nil {
		fields["type"] = json.RawMessage(`"` + caxton.WASMAgent + `"`)
	}
	req.Text, err = json.MarshalIndent(fields, "", "  ")
	req.Format = agentfile.JSONFormat
	return err
}

// formModule returns the module in a part of a form: a file as it is, a text as base64.
func formModule(file string, data []byte) ([]byte, error) {
	if file == "" {
		return decode64(string(data))
	}
	if len(data) == 0 {
		return nil, caxton.Errorf(caxton.Malformed, "wasm_module_empty", "the file %.100q of the form is empty", file).
			WithHint("send the module, as curl -F wasm_module=@agent.wasm does")
	}
	return data, nil
}

// formValue returns the value of a field: lists may be written with commas or as several
// fields, tables and numbers as JSON.
func formValue(name, text string, before json.RawMessage) json.RawMessage {
	if slices.Contains([]string{"capabilities", "tools", "tags"}, name) && !strings.HasPrefix(strings.TrimSpace(text), "[") {
		var list []string
		_ = json.Unmarshal(before, &list) // nothing before the first field
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
		b, err := json.Marshal(list)
		if err != nil {
			return caxton.TextContent(text)
		}
		return b
	}
	if t := strings.TrimSpace(text); (strings.HasPrefix(t, "{") || strings.HasPrefix(t, "[") || name == "priority" || name == "critical" || name == "memory_enabled") && json.Valid([]byte(t)) {
		return json.RawMessage(t)
	}
	return caxton.TextContent(text)
}
