package node_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
)

// guestModule returns a small module of the runtime's tests.
func guestModule(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("..", "wasm", "testdata", name+".wasm"))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// goModule builds an example in Go.
func goModule(tb testing.TB, name string, flags ...string) []byte {
	tb.Helper()
	return buildModule(tb, filepath.Join("..", "..", "examples", "wasm", "go"), append(flags, "./"+name)...)
}

// buildModule builds a guest in Go, in a directory.
func buildModule(tb testing.TB, dir string, args ...string) []byte {
	tb.Helper()
	if testing.Short() {
		tb.Skip("builds a Go guest, which takes seconds to compile")
	}
	out := filepath.Join(tb.TempDir(), "guest.wasm")
	cmd := exec.CommandContext(tb.Context(), "go", append([]string{"build", "-o", out}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if b, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("go %v: %v\n%s", cmd.Args, err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// send posts a body and reads the answer into out.
func send(tb testing.TB, method, url, contentType string, body []byte, want int, out any) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatal(err)
	}
	if res.StatusCode != want {
		tb.Fatalf("%s %s = %d %s, want %d", method, url, res.StatusCode, b, want)
	}
	if err := json.Unmarshal(b, out); err != nil {
		tb.Fatalf("%s: %v", b, err)
	}
}

// said asks an agent and returns what it answers as JSON.
func said(tb testing.TB, c *api.Client, to, text string) string {
	tb.Helper()
	r, err := c.Send(tb.Context(), api.Message{Receiver: to, Text: text}, 20*time.Second)
	if err != nil || r.Reply == nil {
		tb.Fatalf("%s to %s: %+v, %v", text, to, r, err)
	}
	return strings.TrimSpace(r.Reply.Performative + " " + string(r.Reply.Content))
}

// TestModuleOfTheRunbookInC deploys a program in C, small enough for a shell to hand it over
// as the runbook does.
func TestModuleOfTheRunbookInC(t *testing.T) {
	module, err := os.ReadFile(filepath.Join("..", "..", "examples", "wasm", "c", "command.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	body := runbook("my-agent", module)
	if most := 128 << 10; len(body) > most { // MAX_ARG_STRLEN of Linux
		t.Errorf("the body has %d bytes, and an argument of a command at most %d", len(body), most)
	}
	c, info, stop := run(t, t.TempDir())
	var d api.Deployment
	send(t, http.MethodPost, "http://"+info.APIAddr+"/api/v1/agents", "application/json", body, http.StatusCreated, &d)
	if got := said(t, c, "my-agent", "good day"); !strings.HasPrefix(got, `inform "your message has `) {
		t.Errorf("the answer is %s", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// runbook returns the body of the request by which the runbook deploys a module.
func runbook(name string, module []byte) []byte {
	return fmt.Appendf(nil, `{
    "name": "%s",
    "wasm_module": "%s",
    "resource_limits": {
      "max_memory_bytes": 10485760,
      "max_fuel": 1000000,
      "max_execution_time_ms": 5000
    }
  }`, name, base64.StdEncoding.EncodeToString(module))
}

// TestModuleOfTheRunbook deploys a module as the runbook's sample does: built by Go, sent as
// base64 without capabilities, under the sample's limits.
func TestModuleOfTheRunbook(t *testing.T) {
	wordcount := goModule(t, "command")
	dir := t.TempDir()
	c, info, stop := run(t, dir)
	body := runbook("custom-algorithm-agent", wordcount)
	var d api.Deployment
	send(t, http.MethodPost, "http://"+info.APIAddr+"/api/v1/agents", "application/json", body, http.StatusCreated, &d)
	if d.ID == "" || d.Status != "deployed" || d.Module == nil || d.Module.Contract != "command" || d.Module.Limits.MaxFuel != 1_000_000 || d.Module.Limits.MaxExecutionTime != 5000 {
		t.Fatalf("deployment %+v, module %+v", d, d.Module)
	}
	const want = `inform {"lines":1,"words":4}`
	if got := said(t, c, "custom-algorithm-agent", "one two three four"); got != want {
		t.Errorf("the answer is %s", got)
	}
	r, err := c.Send(t.Context(), api.Message{Capability: "custom-algorithm-agent", Text: "x"}, 20*time.Second)
	if err != nil || r.Reply == nil || string(r.Reply.Content) != `{"lines":1,"words":1}` {
		t.Errorf("by its own name as capability: %+v, %v", r, err)
	}
	l, err := c.Agents(t.Context(), api.AgentFilter{Type: "wasm"})
	if err != nil || len(l.Items) != 1 || l.Items[0].Module == nil || l.Items[0].Module.Size != int64(len(wordcount)) {
		t.Errorf("Agents = %+v, %v", l, err)
	}
	a, err := c.Agent(t.Context(), "custom-algorithm-agent")
	if err != nil || a.Module.Use == nil || a.Module.Use.Turns != 2 || a.Module.Use.Fuel < 1000 || a.Module.Use.MemoryHighWater == 0 || len(a.Module.Use.Last) != 2 {
		t.Errorf("Agent = %+v, %v", a.Module, err)
	}
	if strings.Contains(a.Text, "wasm_module") || !strings.Contains(a.Text, "resource_limits") {
		t.Errorf("the text of the version is %s", a.Text)
	}
	metrics := get(t, "http://"+info.MetricsAddr+"/metrics")
	for _, name := range []string{
		"caxton_agent_wasm_count 1", `caxton_wasm_executions_total{agent="custom-algorithm-agent",status="ok"} 2`,
		`caxton_wasm_traps_total{agent="custom-algorithm-agent"} 0`, `caxton_wasm_fuel_total{agent="custom-algorithm-agent"} `,
		`caxton_wasm_memory_high_water_bytes{agent="custom-algorithm-agent"} `, "caxton_wasm_execution_seconds_count 2",
	} {
		if !strings.Contains(metrics, "\n"+name) {
			t.Errorf("the metrics lack %s", name)
		}
	}
	send(t, http.MethodPost, "http://"+info.APIAddr+"/api/v1/agents", "application/json", body, http.StatusConflict, &struct{}{})
	if err := stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
	c, info, _ = run(t, dir) // from the cache
	if got := said(t, c, "custom-algorithm-agent", "one two three four"); got != want {
		t.Errorf("after a restart the answer is %s", got)
	}
	if err := c.RemoveAgent(t.Context(), "custom-algorithm-agent", false); err != nil {
		t.Fatal(err)
	}
	if m := get(t, "http://"+info.MetricsAddr+"/metrics"); strings.Contains(m, `agent="custom-algorithm-agent"`) {
		t.Error("the metrics of a removed agent stay")
	}
}

// form returns a form with one file and fields.
func form(tb testing.TB, name string, file []byte, fields ...string) (contentType string, body []byte) {
	tb.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	f, err := w.CreateFormFile(name, "agent.wasm")
	if err == nil {
		_, err = f.Write(file)
	}
	for i := 0; err == nil && i+1 < len(fields); i += 2 {
		err = w.WriteField(fields[i], fields[i+1])
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

func TestDeployModuleForms(t *testing.T) {
	c, info, _ := run(t, t.TempDir())
	url := "http://" + info.APIAddr + "/api/v1/agents"
	echo := guestModule(t, "echo")
	var d api.Deployment
	ct, body := form(t, "wasm_module", echo, "name", "Parrot", "capabilities", "echo, repeat", "capabilities", "parrot", "resource_limits", `{"max_fuel": 7}`, "description", "says it again")
	send(t, http.MethodPost, url, ct, body, http.StatusCreated, &d)
	if strings.Join(d.Capabilities, " ") != "echo repeat parrot" || d.Module.Limits.MaxFuel != 7 || d.Module.Contract != "reactor" {
		t.Errorf("a form of fields: %+v, %+v", d, d.Module)
	}
	if got := said(t, c, "parrot", "hello"); got != `inform "hello"` {
		t.Errorf("the answer is %s", got)
	}
	ct, body = form(t, "file", echo, "definition", "---\nname: Second\ntype: wasm\ncapabilities: [second]\n---\nText.\n")
	send(t, http.MethodPost, url, ct, body, http.StatusCreated, &d)
	if d.Slug != "second" || d.Module == nil {
		t.Errorf("a form with a definition: %+v", d)
	}
	sum := d.Module.SHA256
	send(t, http.MethodPost, url, "text/markdown", []byte("---\nname: Third\nmodule: sha256:"+sum+"\n---\n"), http.StatusCreated, &d)
	if got := said(t, c, "third", "hello"); got != `inform "hello"` {
		t.Errorf("the answer of a module the server has is %s", got)
	}
	for _, tt := range []struct {
		name, contentType string
		body              []byte
		code              string
		want              int
	}{
		{"no boundary", "multipart/form-data", body, "form_malformed", 400},
		{"cut off", ct, body[:len(body)-30], "form_malformed", 400},
	} {
		var e api.ErrorBody
		send(t, http.MethodPost, url, tt.contentType, tt.body, tt.want, &e)
		if e.Error.Code != tt.code {
			t.Errorf("%s: %+v, want %s", tt.name, e, tt.code)
		}
	}
}

// TestModuleRefusedWhole: everything that is wrong with a module is told at once, nothing of
// it is kept, and what ran before goes on.
func TestModuleRefusedWhole(t *testing.T) {
	dir := t.TempDir()
	c, _, _ := run(t, dir)
	ctx := t.Context()
	text := []byte("---\nname: Parrot\ntype: wasm\n---\n")
	if _, err := c.Deploy(ctx, api.Deploy{Text: text, Module: guestModule(t, "echo")}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		text, module string
		want         []string
	}{
		{string(text), "nothing", []string{"neither _start"}},
		{string(text), "forbidden", []string{"it imports"}},
		{"---\nname: Parrot\nmodule:\n  grants: [fly]\n  directories:\n    - {guest: /etc, host: /etc}\n---\n", "forbidden", []string{"it imports", "there is no grant", "may not see the directory"}},
	} {
		for _, only := range []bool{true, false} {
			_, err := c.Deploy(ctx, api.Deploy{Text: []byte(tt.text), Module: guestModule(t, tt.module), ValidateOnly: only})
			e, ok := err.(*caxton.Error) //nolint:errorlint // the client returns it as it is
			if !ok || e.Kind != caxton.Invalid {
				t.Fatalf("%s: %v, want Invalid", tt.module, err)
			}
			all := ""
			for _, i := range e.Issues {
				all += i.Message + "\n"
			}
			for _, w := range tt.want {
				if !strings.Contains(all, w) {
					t.Errorf("%s: issues\n%swant %q among them", tt.module, all, w)
				}
			}
		}
	}
	if _, err := c.Deploy(ctx, api.Deploy{Text: text, Module: []byte("no module")}); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("what is no module: %v", err)
	}
	if got := said(t, c, "parrot", "hello"); got != `inform "hello"` {
		t.Errorf("the answer is %s", got)
	}
	files, err := filepath.Glob(filepath.Join(dir, "data", "modules", "*.wasm"))
	if err != nil || len(files) != 1 {
		t.Errorf("files %v, %v; want the one that runs", files, err)
	}
}

// TestModulesAndConfigAgents: they talk to each other by capability, and memory and tools
// are the same for both.
func TestModulesAndConfigAgents(t *testing.T) {
	clerk := goModule(t, "reactor", "-buildmode=c-shared")
	dir := t.TempDir()
	put(t, dir, map[string]string{
		"script.yaml": `rules:
  - when: {tool_result: send_message}
    reply: "the clerk says {{result}}"
  - when: {contains: "ask the clerk"}
    tool_calls:
      - name: send_message
        arguments: {capability: filing, content: "tool calculator {\"expression\":\"6*7\"}"}
  - when: {tool_result: memory_search}
    reply: "known: {{result}}"
  - when: {contains: "what of tea"}
    tool_calls:
      - name: memory_search
        arguments: {query: tea}
  - reply: "hello from the config agent"
`,
		"agents/asker.md": `---
name: Asker
capabilities: [asking]
tools: [send_message, memory_search]
memory: {enabled: true, scope: workspace}
system_prompt: Ask.
---
`,
		"agents/clerk.md": `---
name: Clerk
capabilities: [filing]
module: clerk.wasm
tools: [send_message, memory_store, memory_search, calculator]
memory: {enabled: true, scope: workspace}
parameters: {greeting: good day}
---
`,
	})
	if err := os.WriteFile(filepath.Join(dir, "agents", "clerk.wasm"), clerk, 0o600); err != nil {
		t.Fatal(err)
	}
	model := []string{"logging.level", "info", "llm.provider", "scripted", "llm.file", filepath.Join(dir, "script.yaml")}
	c, _, stop := run(t, dir, model...)
	for _, tt := range []struct{ to, text, want string }{
		{"clerk", "greeting", `inform "good day"`},
		{"clerk", "ask asker why", "hello from the config agent"},
		{"asker", "ask the clerk", "42"},
		{"clerk", `tool calculator {"expression":"1+1"}`, "2"},
		{"clerk", `tool clock {}`, "failure"}, // its file does not list it
		{"clerk", "remember tea is drunk at noon", "inform"},
		{"clerk", "recall tea", "tea is drunk at noon"},
		{"asker", "what of tea", "tea is drunk at noon"},
		{"clerk", "count", "inform 1"},
		{"clerk", "count", "inform 2"},
		{"clerk", "note the day is fine", `inform "noted"`},
	} {
		if got := said(t, c, tt.to, tt.text); !strings.Contains(got, tt.want) {
			t.Errorf("%s to %s: %s, want %s", tt.text, tt.to, got, tt.want)
		}
	}
	ls, err := c.Logs(t.Context(), "clerk", 100, "")
	if err != nil {
		t.Fatal(err)
	}
	noted := false
	for _, l := range ls.Items {
		noted = noted || strings.Contains(fmt.Sprint(l.Attrs), "noted: the day is fine")
	}
	if !noted {
		t.Errorf("the agent's log lacks what the module logged: %+v", ls.Items)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	c, _, _ = run(t, dir, model...)
	if got := said(t, c, "clerk", "count"); got != "inform 3" {
		t.Errorf("the count after a restart: %s, want 3", got)
	}
}

// TestModuleTimer: a module that sets a timer is woken by a message from itself, which its
// export handle_timer gets, also when the server was down at that moment.
func TestModuleTimer(t *testing.T) {
	dir := t.TempDir()
	c, _, _ := run(t, dir)
	if _, err := c.Deploy(t.Context(), api.Deploy{Text: []byte("---\nname: Sleeper\nmodule: {grants: [timers, log]}\n---\n"), Module: guestModule(t, "setter")}); err != nil {
		t.Fatal(err)
	}
	said(t, c, "sleeper", "wake me")
	deadline := time.After(10 * time.Second)
	for {
		a, err := c.Agent(t.Context(), "sleeper")
		if err != nil {
			t.Fatal(err)
		}
		if a.Handled+a.Failed >= 2 { // the message, and the timer
			if a.Failed != 0 {
				t.Errorf("the timer's message failed: %+v", a)
			}
			break
		}
		select {
		case <-deadline:
			t.Fatalf("the module was not woken: %+v", a)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestDamagedModule: a module whose file is damaged is not run, the agent says so, and
// sending it again mends it.
func TestDamagedModule(t *testing.T) {
	dir := t.TempDir()
	c, _, stop := run(t, dir)
	d := api.Deploy{Text: []byte("---\nname: Parrot\ntype: wasm\n---\n"), Module: guestModule(t, "echo")}
	if _, err := c.Deploy(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "data", "modules", "*.wasm"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, _ = run(t, dir, "agents.restart_backoff_initial", "10ms", "agents.restart_backoff_max", "20ms")
	wait := func(state string) api.Agent {
		t.Helper()
		deadline := time.After(10 * time.Second)
		for {
			a, err := c.Agent(t.Context(), "parrot")
			if err != nil {
				t.Fatal(err)
			}
			if a.State == state {
				return a
			}
			select {
			case <-deadline:
				t.Fatalf("the agent is %s (%s), want %s", a.State, a.LastError, state)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	if a := wait("failed"); !strings.Contains(a.LastError, "is damaged") {
		t.Errorf("the agent says %q", a.LastError)
	}
	if _, err := c.Deploy(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	wait("running")
	if got := said(t, c, "parrot", "hello"); got != `inform "hello"` {
		t.Errorf("the answer is %s", got)
	}
}

// TestStackLimit: wasm.stack_limit is the stack of modules, and an agent that uses it up says so.
func TestStackLimit(t *testing.T) {
	c, _, _ := run(t, t.TempDir(), "wasm.stack_limit", "128KB")
	d := api.Deploy{Text: []byte("---\nname: Diver\ntype: wasm\n---\n"), Module: guestModule(t, "recursion")}
	if _, err := c.Deploy(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got := said(t, c, "diver", "hello"); !strings.HasPrefix(got, "failure ") || !strings.Contains(got, "stack of 128KiB") {
		t.Errorf("the answer is %s", got)
	}
	if _, err := load(t.TempDir(), "wasm.stack_limit", "1GB"); err == nil {
		t.Error("a stack that the engine does not have is taken")
	}
}
