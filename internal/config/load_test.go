package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/config"
)

// write makes the files of a directory; the content of each says where the server listens.
func write(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		text := "server:\n  port: 1234\n"
		switch filepath.Ext(name) {
		case ".toml":
			text = "[server]\nport = 1234\n"
		case ".json":
			text = `{"server": {"port": 1234}}`
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLoadFinds says which file is read. Names are below the working directory, and below
// the system's directory where they begin with etc/.
func TestLoadFinds(t *testing.T) {
	tests := []struct {
		name     string
		files    []string
		path     string
		explicit bool
		env      []string
		want     string // the file, "" for none
		warning  string // part of the only warning
		kind     caxton.Kind
	}{
		{name: "none"},
		{name: "YAML here", files: []string{"caxton.yaml"}, want: "caxton.yaml"},
		{name: "TOML here", files: []string{"caxton.toml"}, want: "caxton.toml"},
		{name: "JSON here", files: []string{"caxton.json"}, want: "caxton.json"},
		{name: "two here", files: []string{"caxton.toml", "caxton.yaml"}, want: "caxton.yaml", warning: "caxton.toml is not"},
		{name: "here before the system's", files: []string{"etc/caxton.yaml", "caxton.toml"}, want: "caxton.toml"},
		{name: "the system's", files: []string{"etc/caxton.yaml"}, want: "etc/caxton.yaml"},
		{name: "the system's by its other name", files: []string{"etc/config.yaml"}, want: "etc/config.yaml"},
		{name: "a directory of that name", files: []string{"caxton.yaml/"}},
		{name: "the variable", files: []string{"caxton.yaml", "x/other.toml"}, env: []string{"CAXTON_CONFIG_PATH=x/other.toml"}, want: "x/other.toml"},
		{name: "the other variable", files: []string{"x/other.toml"}, env: []string{"CAXTON_CONFIG=x/other.toml"}, want: "x/other.toml"},
		{name: "the flag before the variable", files: []string{"a.yaml", "b.yaml"}, path: "a.yaml", explicit: true, env: []string{"CAXTON_CONFIG_PATH=b.yaml"}, want: "a.yaml"},
		{name: "an extension that says nothing", files: []string{"a.conf"}, path: "a.conf", explicit: true, want: "a.conf"},
		{name: "missing, not asked for", files: []string{"x/other.yaml"}, path: "x/a.yaml"},
		{name: "missing, one other there", files: []string{"x/caxton.yaml", "x/readme.txt", "x/.hidden.yaml"}, path: "x/config.yaml", explicit: true, want: "x/caxton.yaml", warning: "x/config.yaml does not exist"},
		{name: "missing by the variable, one other there", files: []string{"x/caxton.yaml"}, env: []string{"CAXTON_CONFIG_PATH=x/config.yaml"}, want: "x/caxton.yaml", warning: "is used"},
		{name: "missing, two others there", files: []string{"x/a.yaml", "x/b.toml"}, path: "x/config.yaml", explicit: true, kind: caxton.NotFound},
		{name: "missing, nothing there", files: []string{"x/"}, path: "x/config.yaml", explicit: true, kind: caxton.NotFound},
		{name: "missing with its directory", path: "x/config.yaml", explicit: true, kind: caxton.NotFound},
		{name: "a directory", files: []string{"x/"}, path: "x", explicit: true, kind: caxton.Malformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, tt.files...)
			o := config.Options{Path: tt.path, Explicit: tt.explicit, Environ: tt.env, Dir: dir, SystemDir: filepath.Join(dir, "etc")}
			l, err := config.Load(o)
			if kind := caxton.KindOf(err); kind != tt.kind {
				t.Fatalf("Load: kind %q (%v), want %q", kind, err, tt.kind)
			}
			if err != nil {
				var e *caxton.Error
				if !errors.As(err, &e) || e.Hint == "" || !strings.HasPrefix(e.Code, "config_") {
					t.Errorf("Load: %+v has no hint or another code", e)
				}
				return
			}
			if got := filepath.ToSlash(strings.TrimPrefix(l.Path, dir+string(filepath.Separator))); got != tt.want {
				t.Errorf("Load read %q, want %q", got, tt.want)
			}
			port := 8080
			if tt.want != "" {
				port = 1234
			}
			if l.Config.Server.Port != port {
				t.Errorf("port = %d, want %d", l.Config.Server.Port, port)
			}
			switch {
			case tt.warning == "" && len(l.Warnings) > 0:
				t.Errorf("warnings: %v", l.Warnings)
			case tt.warning != "" && (len(l.Warnings) != 1 || !strings.Contains(l.Warnings[0].String(), tt.warning)):
				t.Errorf("warnings: %v, want one with %q", l.Warnings, tt.warning)
			}
		})
	}
}

func TestLoadUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("nothing is unreadable for this user")
	}
	dir := t.TempDir()
	write(t, dir, "caxton.yaml")
	if err := os.Chmod(filepath.Join(dir, "caxton.yaml"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(config.Options{Dir: dir}); caxton.KindOf(err) != caxton.Forbidden {
		t.Errorf("Load: %v, want Forbidden", err)
	}
}

func TestLoadExpands(t *testing.T) {
	env := []string{"NAME=world", "EMPTY=", "DOLLAR=$NAME", "PORT=8888", "ON=true"}
	tests := []struct{ name, in, want string }{
		{"whole value", "${NAME}", "world"},
		{"part", "a-${NAME}.b", "a-world.b"},
		{"twice", "${NAME}${NAME}", "worldworld"},
		{"empty", "x${EMPTY}", "x"},
		{"default for a missing one", "${MISSING:-there}", "there"},
		{"default for an empty one", "${EMPTY:-there}", "there"},
		{"default not needed", "${NAME:-there}", "world"},
		{"empty default", "x${MISSING:-}", "x"},
		{"dollar sign", "a$$b", "a$b"},
		{"escaped variable", "$${NAME}", "${NAME}"},
		{"dollar before a variable", "$$${NAME}", "$world"},
		{"dollar alone", "a$b$", "a$b$"},
		{"value is not looked through", "${DOLLAR}", "$NAME"},
		{"HOSTNAME", "${HOSTNAME}:1", "node-1.example.com:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := mustLoad(t, "caxton.toml", "[logging]\nfile = '"+tt.in+"'\n", config.Options{Environ: env, Hostname: hostname})
			if got := l.Config.Logging.File; got != tt.want {
				t.Errorf("%s became %q, want %q", tt.in, got, tt.want)
			}
		})
	}
	t.Run("numbers, switches and lists", func(t *testing.T) {
		l := mustLoad(t, "caxton.yaml", "server: {port: '${PORT}'}\nagents: {watch: '${OFF:-false}'}\ntools: {allowed: ['${NAME}']}\n", config.Options{Environ: env})
		if l.Config.Server.Port != 8888 || l.Config.Agents.Watch || !cmp.Equal(l.Config.Tools.Allowed, []string{"world"}) {
			t.Errorf("Config = %+v, %+v, %+v", l.Config.Server, l.Config.Agents, l.Config.Tools)
		}
	})
	t.Run("HOSTNAME of the environment", func(t *testing.T) {
		l := mustLoad(t, "caxton.yaml", "cluster: {node_id: '${HOSTNAME}'}\n", config.Options{Environ: []string{"HOSTNAME=here"}, Hostname: hostname})
		if got := l.Config.Cluster.NodeID; got != "here" {
			t.Errorf("node_id = %q, want here", got)
		}
	})
	t.Run("no host name", func(t *testing.T) {
		_, err := loadText(t, "caxton.yaml", "cluster: {node_id: '${HOSTNAME}'}\n", config.Options{Hostname: func() (string, error) { return "", errors.New("none") }})
		if caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("Load: %v, want Invalid", err)
		}
	})
	t.Run("flags and variables are taken as they are", func(t *testing.T) {
		l := mustLoad(t, "caxton.yaml", "", config.Options{Environ: []string{"CAXTON_LOG_FILE=$$x"}, Flags: map[string]string{"server.data_dir": "${NAME}"}})
		if l.Config.Logging.File != "$$x" || l.Config.Server.DataDir != "${NAME}" {
			t.Errorf("file = %q, data_dir = %q", l.Config.Logging.File, l.Config.Server.DataDir)
		}
	})
}

func TestLoadSecretFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"key": "hunter2\n", "empty": "\n", "large": strings.Repeat("x", 70_000)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name, text string
		env        []string
		check      bool
		want       string // part of the error, "" for none
		key        string
	}{
		{"read, without its line break", "llm: {provider: openai, api_key_file: key}", nil, true, "", "hunter2"},
		{"absolute", "llm: {provider: openai, api_key_file: '" + filepath.Join(dir, "key") + "'}", nil, true, "", "hunter2"},
		{"not read", "llm: {provider: openai, api_key_file: nowhere}", nil, false, "", ""},
		{"missing", "llm: {provider: openai, api_key_file: nowhere}", nil, true, "there is no file nowhere", ""},
		{"empty", "llm: {provider: openai, api_key_file: empty}", nil, true, "is empty", ""},
		{"too long", "llm: {provider: openai, api_key_file: large}", nil, true, "too long", ""},
		{"a directory", "llm: {provider: openai, api_key_file: .}", nil, true, "cannot be read", ""},
		{"value of the environment over the file", "llm: {provider: openai, api_key_file: nowhere}", []string{"CAXTON_LLM_API_KEY=k"}, true, "", "k"},
		{"file of the environment over the value", "llm: {provider: openai, api_key: k}", []string{"CAXTON_LLM_API_KEY_FILE=key"}, true, "", "hunter2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := loadText(t, "caxton.yaml", tt.text, config.Options{Dir: dir, Environ: tt.env, CheckFiles: tt.check})
			if tt.want != "" {
				if caxton.KindOf(err) != caxton.Invalid || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("Load: %v, want Invalid with %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := l.Config.LLM.APIKey; got != tt.key {
				t.Errorf("api_key = %q, want %q", got, tt.key)
			}
			for _, s := range l.Effective() {
				if strings.Contains(s.Value, "hunter2") || s.Secret && s.Key == "llm.api_key" && tt.key != "" && s.Value != "********" {
					t.Errorf("Effective shows a secret: %+v", s)
				}
			}
			if strings.Contains(string(l.YAML()), "hunter2") {
				t.Error("YAML shows a secret")
			}
		})
	}
	t.Run("of a provider", func(t *testing.T) {
		l := mustLoad(t, "caxton.yaml", "llm: {providers: {local.one: {kind: openai, api_key_file: key}}}", config.Options{Dir: dir, CheckFiles: true})
		if got := l.Config.LLM.Providers["local.one"].APIKey; got != "hunter2" {
			t.Errorf("api_key = %q, want hunter2", got)
		}
	})
}

func TestLoadEnvironment(t *testing.T) {
	tests := []struct {
		name    string
		env     string
		key     string // a setting
		want    string // its value
		from    string // where it comes from; "" for the variable
		warning string // part of the only warning
	}{
		{"any setting", "CAXTON_TOOLS_HTTP_CLIENT_MAX_REDIRECTS=2", "tools.http_client.max_redirects", "2", "", ""},
		{"list", "CAXTON_TOOLS_ALLOWED=http_client, clock", "tools.allowed", `["http_client","clock"]`, "", ""},
		{"list as in YAML", `CAXTON_TOOLS_ALLOWED=[http_client, "clock"]`, "tools.allowed", `["http_client","clock"]`, "", ""},
		{"empty list", "CAXTON_TOOLS_ALLOWED=[]", "tools.allowed", "[]", "", ""},
		{"list of numbers", "CAXTON_OBSERVABILITY_HISTOGRAM_BUCKETS=0.1,1", "observability.histogram_buckets", "[0.1,1]", "", ""},
		{"old table", "CAXTON_RUNTIME_MAX_AGENTS=7", "agents.max_agents", "7", "", ""},
		{"key of an old table", "CAXTON_COORDINATION_CLUSTER_NODE_ID=n", "cluster.node_id", "n", "", ""},
		{"bare old key", "CAXTON_GOSSIP_FANOUT=9", "cluster.gossip_fanout", "9", "", ""},
		{"old address", "CAXTON_NETWORKING_BIND_ADDRESS=[::]:99", "server.port", "99", "", ""},
		{"short address", "CAXTON_API_ADDR=0.0.0.0:99", "server.host", "0.0.0.0", "", ""},
		{"CAXTON_HOST", "CAXTON_HOST=0.0.0.0", "observability.metrics_address", "0.0.0.0:9090", "default", ""},
		{"CAXTON_PORT", "CAXTON_PORT=99", "server.port", "99", "", ""},
		{"CAXTON_METRICS_ENABLED", "CAXTON_METRICS_ENABLED=off", "observability.metrics_enabled", "false", "", ""},
		{"CAXTON_MEMORY_BACKEND", "CAXTON_MEMORY_BACKEND=qdrant", "memory.backend", "qdrant", "", "memory is embedded"},
		{"QDRANT_URL", "QDRANT_URL=http://qdrant:6333", "memory.qdrant.url", "http://qdrant:6333", "", ""},
		{"JWT_SECRET", "JWT_SECRET=s", "security.authentication.jwt_secret", "********", "", ""},
		{"OTLP_ENDPOINT", "OTLP_ENDPOINT=http://jaeger:14268/api/traces", "observability.otlp_endpoint", "http://jaeger:14268/api/traces", "", ""},
		{"OPENAI_API_KEY is the provider's", "OPENAI_API_KEY=s", "llm.api_key", "", "default", ""},
		{"a provider", "CAXTON_LLM_PROVIDERS_OPENAI_BASE_URL=http://127.0.0.1:1/v1", "llm.providers.openai.base_url", "http://127.0.0.1:1/v1", "", ""},
		{"a provider with the longest key", "CAXTON_LLM_PROVIDERS_OPENAI_API_KEY_FILE=f", "llm.providers.openai.api_key_file", "f", "", ""},
		{"a provider of the file", "CAXTON_LLM_PROVIDERS_MY_LOCAL_MODEL=m", "llm.providers.my-local.model", "m", "", ""},
		{"not a setting", "CAXTON_VERSION=v0.2.0", "", "", "", ""},
		{"nor are these", "CAXTON_SERVER=http://localhost:1", "", "", "", ""},
		{"RUST_BACKTRACE", "RUST_BACKTRACE=1", "", "", "", ""},
		{"somebody else's", "PORT=99", "server.port", "8080", "default", ""},
		{"of a Kubernetes service", "CAXTON_PORT=tcp://10.0.0.1:8080", "server.port", "8080", "default", ""},
		{"of a Kubernetes service's port", "CAXTON_PORT_8080_TCP_ADDR=10.0.0.1", "server.port", "8080", "default", ""},
		{"of a Kubernetes service's host", "CAXTON_SERVICE_HOST=10.0.0.1", "server.host", "127.0.0.1", "default", ""},
		{"unknown", "CAXTON_SERVER_PROT=99", "server.port", "8080", "default", "did you mean CAXTON_SERVER_PORT?"},
		{"unknown, like nothing", "CAXTON_XYZZY=99", "", "", "", "CAXTON_XYZZY is not known"},
		{"unknown of a provider", "CAXTON_LLM_PROVIDERS_OPENAI_XYZZY=1", "", "", "", "is not known"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := mustLoad(t, "caxton.yaml", "llm: {providers: {my-local: {kind: openai}}}\n", config.Options{Environ: []string{tt.env, "malformed", "=x"}})
			if tt.key != "" {
				if got := values(l)[tt.key]; got != tt.want {
					t.Errorf("%s = %q, want %q", tt.key, got, tt.want)
				}
				from := tt.from
				if name, _, _ := strings.Cut(tt.env, "="); from == "" {
					from = "env " + name
				}
				if got := l.Origin(tt.key); got != from {
					t.Errorf("Origin(%s) = %q, want %q", tt.key, got, from)
				}
			}
			switch {
			case tt.warning == "" && len(l.Warnings) > 0:
				t.Errorf("warnings: %v", l.Warnings)
			case tt.warning != "" && (len(l.Warnings) != 1 || !strings.Contains(l.Warnings[0].String(), tt.warning)):
				t.Errorf("warnings: %v, want one with %q", l.Warnings, tt.warning)
			}
		})
	}
}

// TestVariables walks the table: what sets something names a setting.
func TestVariables(t *testing.T) {
	known := make(map[string]bool)
	for _, s := range mustLoad(t, "caxton.yaml", "llm: {providers: {openai: {}, anthropic: {}}}", config.Options{}).Effective() {
		known[s.Key] = true
	}
	for _, a := range config.Aliases() {
		known[a.From] = true
	}
	for _, v := range config.Variables() {
		if v.Key != "" && !known[v.Key] {
			t.Errorf("%s sets %s, which is no setting", v.Name, v.Key)
		}
		if v.Key == "" && v.Note == "" {
			t.Errorf("%s does nothing", v.Name)
		}
	}
}

func TestLoadWarnings(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"bbr", "transport: {congestion_control: bbr}", "caxton.yaml:1:33: warning: bbr is not available for QUIC here; cubic is used"},
		{"cuda", "memory:\n  embedding_config:\n    model_device: CUDA", "caxton.yaml:3:19: warning: cuda is not available here; cpu is used"},
		{"journal mode", "coordination: {journal_mode: delete}", "caxton.yaml:1:30: warning: the journal mode is always WAL; DELETE is not used"},
		{"trace", "logging: {level: trace}", "caxton.yaml:1:18: warning: trace is not told apart from debug; debug is used"},
		{"wait longer than requests", "messaging: {wait_timeout: 2m}", "caxton.yaml:1:27: warning: messaging.wait_timeout (2m) is longer than server.request_timeout (1m), which ends the wait (raise server.request_timeout)"},
		{"message larger than requests", "server: {max_body_size: 512KB}", "caxton.yaml:1:25: warning: messaging.max_message_size (1MiB) is more than server.max_body_size (512KiB) lets through (raise server.max_body_size)"},
		{"WAL", "coordination: {journal_mode: wal}", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, w := range mustLoad(t, "caxton.yaml", tt.text, config.Options{}).Warnings {
				got = append(got, w.String())
			}
			if strings.Join(got, "\n") != tt.want {
				t.Errorf("warnings = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLoadSwitchesOn(t *testing.T) {
	tests := []struct {
		name, text string
		key        string
		want       string
	}{
		{"cluster by its address", "coordination: {bind_addr: '0.0.0.0:7946'}", "cluster.enabled", "true"},
		{"cluster by its seeds", "cluster: {seeds: ['a:1']}", "cluster.enabled", "true"},
		{"cluster switched off", "cluster: {seeds: ['a:1'], enabled: false}", "cluster.enabled", "false"},
		{"cluster only tuned", "gossip_interval: 1s", "cluster.enabled", "false"},
		{"rate by its number", "security: {rate_limiting: {requests_per_minute: 60}}", "security.rate_limiting.enabled", "true"},
		{"rate switched off", "security: {rate_limit_per_second: 5, rate_limit_enabled: false}", "security.rate_limiting.enabled", "false"},
		{"origins", "security: {cors: {allowed_origins: ['*']}}", "security.cors.enabled", "true"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := values(mustLoad(t, "caxton.yaml", tt.text, config.Options{}))[tt.key]; got != tt.want {
				t.Errorf("%s = %s, want %s", tt.key, got, tt.want)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	tests := []struct{ name, text, api, metrics, admin string }{
		{"defaults", "", "127.0.0.1:8080", "127.0.0.1:9090", ""},
		{"everybody", "server: {host: 0.0.0.0}", "0.0.0.0:8080", "0.0.0.0:9090", ""},
		{"IPv6", "server: {host: '::1', port: 0}", "[::1]:0", "[::1]:9090", ""},
		{"IPv6 in brackets", "server: {host: '[::1]'}", "[::1]:8080", "[::1]:9090", ""},
		{"all given", "server: {admin_address: '127.0.0.1:8081'}\nobservability: {metrics_address: '10.0.0.1:9'}", "127.0.0.1:8080", "10.0.0.1:9", "127.0.0.1:8081"},
		{"no metrics", "observability: {enable_metrics: false}", "127.0.0.1:8080", "", ""},
		{"any free port", "server: {port: 0}\nobservability: {metrics_port: 0}", "127.0.0.1:0", "127.0.0.1:0", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := mustLoad(t, "caxton.yaml", tt.text, config.Options{}).Config
			if c.APIAddr() != tt.api || c.MetricsAddr() != tt.metrics || c.AdminAddr() != tt.admin {
				t.Errorf("addresses %q, %q, %q; want %q, %q, %q", c.APIAddr(), c.MetricsAddr(), c.AdminAddr(), tt.api, tt.metrics, tt.admin)
			}
		})
	}
}

func TestLLMLookup(t *testing.T) {
	c := mustLoad(t, "caxton.yaml", `
llm:
  provider: local
  model: big
  api_key: k
  timeout: 5s
  ollama_url: http://box:11434/
  fallback: [ollama, builtin]
  providers:
    local: {kind: openai, base_url: http://127.0.0.1:8000/v1, max_retries: 0}
    tape: {kind: scripted, file: tape.yaml, timeout: 1s}
    anthropic: {model: small}
`, config.Options{}).Config.LLM
	none, two := 0, 2
	tests := []struct {
		name string
		want config.Provider
		ok   bool
	}{
		{"local", config.Provider{Kind: "openai", Model: "big", BaseURL: "http://127.0.0.1:8000/v1", APIKey: "k", Timeout: c.Timeout, MaxRetries: &none}, true},
		{"tape", config.Provider{Kind: "scripted", File: "tape.yaml", Timeout: c.Providers["tape"].Timeout, MaxRetries: &two}, true},
		{"anthropic", config.Provider{Kind: "anthropic", Model: "small", Timeout: c.Timeout, MaxRetries: &two}, true},
		{"ollama", config.Provider{Kind: "ollama", BaseURL: "http://box:11434/v1", Timeout: c.Timeout, MaxRetries: &two}, true},
		{"builtin", config.Provider{Kind: "builtin", Timeout: c.Timeout, MaxRetries: &two}, true},
		{"auto", config.Provider{}, false},
		{"nobody", config.Provider{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := c.Lookup(tt.name)
			if ok != tt.ok {
				t.Fatalf("Lookup = %v, want %v", ok, tt.ok)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Lookup differs (-want +got):\n%s", diff)
			}
		})
	}
	for _, tt := range []struct{ name, text, provider, key, model, file string }{
		{"a key alone is for openai", "llm: {api_key: k, model: m}", "openai", "k", "m", ""},
		{"nobody else has it", "llm: {api_key: k, model: m}", "anthropic", "", "", ""},
		{"a file alone is for scripted", "llm: {file: f}", "scripted", "", "", "f"},
		{"the kind that is named", "llm: {provider: anthropic, api_key: k}", "anthropic", "k", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			llm := mustLoad(t, "caxton.yaml", tt.text, config.Options{}).Config.LLM
			if p, ok := llm.Lookup(tt.provider); !ok || p.APIKey != tt.key || p.Model != tt.model || p.File != tt.file {
				t.Errorf("Lookup(%s) = %+v, %v", tt.provider, p, ok)
			}
		})
	}
	want := []string{"anthropic", "builtin", "local", "ollama", "openai", "scripted", "tape"}
	if diff := cmp.Diff(want, c.Names()); diff != "" {
		t.Errorf("Names differ (-want +got):\n%s", diff)
	}
}

// TestPasswordsOfURLs: a password in an address is shown to nobody, and is there for who uses it.
func TestPasswordsOfURLs(t *testing.T) {
	const address = "http://me:hunter2@collector:4318"
	l := mustLoad(t, "caxton.yaml", "observability: {otlp_endpoint: '"+address+"'}\nmemory: {embedding_config: {base_url: '"+address+"'}}\n"+
		"tools: {mcp_servers: {files: {url: '"+address+"'}}}\n", config.Options{Dir: t.TempDir()})
	if l.Config.Observability.OTLPEndpoint != address {
		t.Errorf("otlp_endpoint = %s", l.Config.Observability.OTLPEndpoint)
	}
	shown := string(l.YAML())
	for _, s := range l.Effective() {
		shown += s.Key + "=" + s.Value + "\n"
	}
	if strings.Contains(shown, "hunter2") || strings.Count(shown, "http://me:xxxxx@collector:4318") != 6 {
		t.Errorf("what is shown:\n%s", shown)
	}
}
