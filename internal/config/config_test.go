package config_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/config"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata")

// loadText loads one file called name in a directory of its own.
func loadText(t *testing.T, name, text string, o config.Options) (*config.Loaded, error) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if err := os.WriteFile(filepath.Join(o.Dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Path, o.Explicit = name, true
	return config.Load(o)
}

// mustLoad is loadText for what has no fault.
func mustLoad(t *testing.T, name, text string, o config.Options) *config.Loaded {
	t.Helper()
	l, err := loadText(t, name, text, o)
	if err != nil {
		t.Fatalf("Load: %v\n%s", err, text)
	}
	return l
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

// report prints what differs from the defaults, for golden files.
func report(l *config.Loaded) []byte {
	var b bytes.Buffer
	for _, s := range l.Effective() {
		if s.Origin != "default" {
			fmt.Fprintf(&b, "%s = %s (%s)\n", s.Key, s.Value, s.Origin)
		}
	}
	for _, key := range l.Inert() {
		fmt.Fprintf(&b, "no effect: %s\n", key)
	}
	for _, w := range l.Warnings {
		fmt.Fprintln(&b, w)
	}
	return b.Bytes()
}

func hostname() (string, error) { return "node-1.example.com", nil }

// TestLoadSamples holds what every sample of the guides means.
func TestLoadSamples(t *testing.T) {
	t.Chdir(filepath.Join("testdata", "samples"))
	paths, err := filepath.Glob("*.*ml")
	if err != nil || len(paths) != 19 {
		t.Fatalf("Glob = %d files, %v, want 19", len(paths), err)
	}
	for _, path := range paths {
		t.Run(path, func(t *testing.T) {
			o := config.Options{Path: path, Explicit: true, Hostname: hostname}
			switch path {
			case "production.toml":
				o.Environ = []string{"JWT_SECRET=secret"}
			case "memory-neo4j.yaml":
				o.Environ = []string{"NEO4J_PASSWORD=secret"}
			}
			l, err := config.Load(o)
			if err != nil {
				t.Fatalf("Load(%s): %v", path, err)
			}
			golden(t, strings.TrimSuffix(path, filepath.Ext(path))+".golden", report(l))
		})
	}
	t.Run("caxton.env", func(t *testing.T) {
		text, err := os.ReadFile("caxton.env")
		if err != nil {
			t.Fatal(err)
		}
		env := []string{"HOSTNAME=x"}
		for line := range strings.Lines(string(text)) {
			// The file that the sample names is a sample itself.
			env = append(env, strings.TrimSpace(strings.Replace(line, "/opt/caxton/config/", "", 1)))
		}
		l, err := config.Load(config.Options{Environ: env})
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "caxton-env.golden", report(l))
	})
}

// TestLoadFaults holds the exact words and places of what is said about faulty settings. An
// archive holds a file, perhaps the environment and flags, and the errors.
func TestLoadFaults(t *testing.T) {
	paths, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(paths) < 30 {
		t.Fatalf("Glob = %d files, %v, want at least 30", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			o := config.Options{Hostname: hostname, CheckFiles: true, Flags: map[string]string{}}
			file := a.Files[0]
			for _, f := range a.Files[1:] {
				for line := range strings.Lines(string(f.Data)) {
					key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
					switch f.Name {
					case "env":
						o.Environ = append(o.Environ, key+"="+value)
					case "flags":
						o.Flags[key] = value
					}
				}
			}
			_, err = loadText(t, file.Name, string(file.Data), o)
			e, ok := err.(*caxton.Error) //nolint:errorlint // Load promises this very type
			if !ok || e.Kind != caxton.Invalid && e.Kind != caxton.Malformed || e.Hint == "" || len(e.Issues) == 0 {
				t.Fatalf("Load = %v, want an *Error with a hint and issues", err)
			}
			lines := strings.Count(string(file.Data), "\n") + 1
			var got strings.Builder
			fmt.Fprintf(&got, "%s: %s\n", e.Code, e.Message)
			for _, i := range e.Issues {
				fmt.Fprintln(&got, i)
				if i.Warning || i.Line > lines || (i.Line == 0) != (i.Path == "") || (i.Line == 0) != (i.Column == 0) {
					t.Errorf("issue %+v is a warning or points nowhere", i)
				}
				if strings.Contains(i.String(), "hunter2") {
					t.Errorf("issue %v shows a secret", i)
				}
			}
			last := &a.Files[len(a.Files)-1]
			if last.Name != "errors" {
				t.Fatalf("the last part is %q, want errors", last.Name)
			}
			if *update {
				last.Data = []byte(got.String())
				if err := os.WriteFile(path, txtar.Format(a), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(last.Data), got.String()); diff != "" {
				t.Errorf("errors differ (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLoadPrecedence lays the same setting over itself from all sides.
func TestLoadPrecedence(t *testing.T) {
	const file = "logging:\n  level: warn\n"
	tests := []struct {
		name  string
		file  string
		env   []string
		flags map[string]string
		level string
		from  string
	}{
		{"nothing", "", nil, nil, "info", "default"},
		{"RUST_LOG", "", []string{"RUST_LOG=caxton=trace,debug"}, nil, "debug", "env RUST_LOG"},
		{"RUST_LOG for one part only", "", []string{"RUST_LOG=caxton=debug"}, nil, "info", "default"},
		{"file over RUST_LOG", file, []string{"RUST_LOG=debug"}, nil, "warn", "file caxton.yaml:2"},
		{"environment over file", file, []string{"CAXTON_LOG_LEVEL=error"}, nil, "error", "env CAXTON_LOG_LEVEL"},
		{"canonical variable", file, []string{"CAXTON_LOGGING_LEVEL=error"}, nil, "error", "env CAXTON_LOGGING_LEVEL"},
		{"variable of another spelling", file, []string{"CAXTON_OBSERVABILITY_LOG_LEVEL=error"}, nil, "error", "env CAXTON_OBSERVABILITY_LOG_LEVEL"},
		{"empty variable", file, []string{"CAXTON_LOG_LEVEL="}, nil, "warn", "file caxton.yaml:2"},
		{"flag over environment", file, []string{"CAXTON_LOG_LEVEL=error"}, map[string]string{"logging.level": "debug"}, "debug", "flag --log-level"},
		{"flag of another spelling", file, nil, map[string]string{"observability.log_level": "debug"}, "debug", "flag --set observability.log_level"},
		{"word in capitals", "logging:\n  level: WARNING\n", nil, nil, "warn", "file caxton.yaml:2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := mustLoad(t, "caxton.yaml", tt.file, config.Options{Environ: tt.env, Flags: tt.flags})
			if got := l.Config.Logging.Level; got != tt.level {
				t.Errorf("level = %q, want %q", got, tt.level)
			}
			if got := l.Origin("logging.level"); got != tt.from {
				t.Errorf("Origin = %q, want %q", got, tt.from)
			}
		})
	}
}

// values returns everything that l says, without where it comes from.
func values(l *config.Loaded) map[string]string {
	m := make(map[string]string)
	for _, s := range l.Effective() {
		m[s.Key] = s.Value
	}
	return m
}

// TestLoadEqualMeaning holds spellings against each other that must mean the same.
func TestLoadEqualMeaning(t *testing.T) {
	tests := []struct {
		name  string
		texts map[string]string // by file name; the keys begin with a number to tell them apart
		flags map[string]string // a further way to say it
	}{
		{"address of the API", map[string]string{
			"1.yaml": "server:\n  host: 0.0.0.0\n  port: 8080\n",
			"2.toml": "[networking]\nbind_address = \"0.0.0.0:8080\"\n",
			"3.json": `{"server": {"api_addr": ":8080"}}`,
		}, map[string]string{"server.api_addr": "0.0.0.0:8080"}},
		{"IPv6 address of the API", map[string]string{
			"1.yaml": "server:\n  host: '::1'\n  port: 9000\n",
			"2.toml": "[networking]\nbind_address = \"[::1]:9000\"\n",
		}, nil},
		{"address of the metrics", map[string]string{
			"1.yaml": "server: {host: 10.0.0.1}\nobservability:\n  metrics_port: 9191\n",
			"2.yaml": "server: {host: 10.0.0.1}\nmonitoring:\n  metrics_port: '9191'\n",
			"3.toml": "[networking]\nmetrics_address = \"10.0.0.1:9191\"\nbind_address = \"10.0.0.1:8080\"\n",
			"4.yaml": "server: {host: 10.0.0.1}\nobservability: {metrics_address: 9191}\n",
			"5.yaml": "server: {host: 10.0.0.1}\nobservability: {metrics_address: 10.0.0.1:9191}\nmonitoring: {metrics_port: 9191}\n",
		}, map[string]string{"server.host": "10.0.0.1", "observability.metrics_port": "9191"}},
		{"Qdrant", map[string]string{
			"1.yaml": "memory:\n  qdrant: {url: 'http://qdrant:6333', collection: c, vector_size: 384}\n",
			"2.yaml": "memory:\n  qdrant_config: {url: 'http://qdrant:6333', collection: c, vector_size: 384}\n",
		}, map[string]string{"memory.qdrant.url": "http://qdrant:6333", "memory.qdrant.collection": "c"}},
		{"flat and nested cluster", map[string]string{
			"1.toml": "[coordination]\nbind_addr = \"0.0.0.0:7946\"\nadvertise_addr = \"a:7946\"\nseeds = [\"b:7946\", \"c:7946\"]\ngossip_interval = \"300ms\"\nprobe_interval = \"2s\"\n",
			"2.yaml": "coordination:\n  cluster: {bind_addr: 0.0.0.0:7946, advertise_addr: a:7946, seeds: [b:7946, c:7946], gossip_interval: 300ms, probe_interval: 2s}\n",
			"3.yaml": "cluster: {bind_addr: 0.0.0.0:7946, advertise_addr: a:7946, seeds: [b:7946, c:7946], gossip_interval: 300ms, probe_interval: 2s}\n",
		}, map[string]string{"cluster.bind_addr": "0.0.0.0:7946", "cluster.advertise_addr": "a:7946", "cluster.seeds": "b:7946, c:7946", "cluster.gossip_interval": "300ms", "cluster.probe_interval": "2s"}},
		{"partition at three levels", map[string]string{
			"1.yaml": "partition: {strategy: custom, decisions: [{condition: nodes == 1, action: local-only}]}\n",
			"2.yaml": "coordination: {partition: {strategy: custom, decisions: [{condition: nodes == 1, action: local-only}]}}\n",
			"3.yaml": "cluster: {partition: {strategy: custom, decisions: [{condition: nodes == 1, action: local-only}]}}\n",
		}, nil},
		{"bare gossip", map[string]string{
			"1.yaml": "gossip_interval: 500ms\ngossip_fanout: 5\n",
			"2.yaml": "coordination: {cluster: {gossip_interval: 500ms, gossip_fanout: 5}}\n",
		}, map[string]string{"gossip_interval": "500ms", "gossip_fanout": "5"}},
		{"transport at two levels", map[string]string{
			"1.yaml": "transport: {type: tcp, max_streams: 7}\n",
			"2.yaml": "coordination: {transport: {type: TCP, max_streams: '7'}}\n",
		}, nil},
		{"security, flat and nested", map[string]string{
			"1.toml": "[security]\nauth_enabled = true\njwt_secret = \"s\"\njwt_expiry = \"60m\"\ncors_enabled = true\ncors_origins = [\"https://a.example\"]\nrate_limit_enabled = true\nrate_limit_per_second = 5\n[networking]\ntls_enabled = true\ntls_cert_path = \"c\"\ntls_key_path = \"k\"\n",
			"2.yaml": "security:\n  authentication: {enabled: true, jwt_secret: s, token_expiry: 1h}\n  cors: {allowed_origins: ['https://a.example']}\n  rate_limiting: {requests_per_minute: 300}\n  tls: {enabled: true, cert_file: c, key_file: k}\n",
		}, nil},
		{"logging", map[string]string{
			"1.toml": "[observability]\nlog_level = \"debug\"\nlog_format = \"json\"\nlog_file = \"f\"\nlog_rotation = \"daily\"\nlog_retention_days = 7\n",
			"2.yaml": "logging: {level: debug, format: json, file: f, rotation: daily, retention_days: 7}\n",
		}, nil},
		{"sizes", map[string]string{
			"1.yaml": "runtime: {wasm_memory_limit: 512MB, memory_limit: 1.5GiB, cpu_quota: '8.0'}\nmemory: {sqlite_config: {cache_size: 2048}}\n",
			"2.json": `{"wasm": {"memory_limit": 536870912}, "server": {"memory_limit": "1536MB", "cpu_quota": 8}, "memory": {"sqlite_config": {"cache_size": "2MB"}}}`,
			"3.toml": "[wasm]\nmemory_limit = \"0.5g\"\n[server]\nmemory_limit = \"1536 MiB\"\ncpu_quota = 8\n[memory.sqlite_config]\ncache_size = -2048\n",
		}, nil},
		{"both spellings, equal", map[string]string{
			"1.yaml": "networking: {request_timeout: 1m}\nserver: {request_timeout: 60s}\n",
			"2.yaml": "server: {request_timeout: 60s}\n",
		}, nil},
		{"strategy", map[string]string{
			"1.yaml": "messaging: {capability_routing: {strategy: load_balance}}\n",
			"2.yaml": "messaging: {strategy: Round_Robin}\n",
		}, map[string]string{"messaging.strategy": "load_balanced"}},
		{"nothing at all", map[string]string{
			"1.yaml": "", "2.toml": "# only a comment\n", "3.json": "{}", "4.yaml": "server:\nnetworking:\nruntime: {}\ncoordination:\n  cluster:\n",
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var want map[string]string
			for _, name := range []string{"1.yaml", "1.toml", "2.yaml", "2.toml", "2.json", "3.yaml", "3.toml", "3.json", "4.yaml", "5.yaml"} {
				text, ok := tt.texts[name]
				if !ok {
					continue
				}
				got := values(mustLoad(t, name, text, config.Options{}))
				if want == nil {
					want = got
				} else if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s means something else (-first +this):\n%s", name, diff)
				}
			}
			if tt.flags == nil {
				return
			}
			l, err := config.Load(config.Options{Dir: t.TempDir(), SystemDir: t.TempDir(), Flags: tt.flags})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, values(l)); diff != "" {
				t.Errorf("the flags mean something else (-first +flags):\n%s", diff)
			}
		})
	}
}

// TestAliases walks the table: every spelling is taken, and sets what it says.
func TestAliases(t *testing.T) {
	l := mustLoad(t, "caxton.yaml", "", config.Options{})
	defaults := make(map[string]string)
	for _, s := range l.Effective() {
		defaults[s.Key] = s.Value
	}
	seen := make(map[string]bool)
	for _, a := range config.Aliases() {
		t.Run(a.From+" to "+a.To, func(t *testing.T) {
			if _, ok := defaults[a.From]; ok {
				t.Errorf("%s is a canonical key too", a.From)
			}
			if seen[a.From+" "+a.To] {
				t.Errorf("%s is in the table twice", a.From)
			}
			seen[a.From+" "+a.To] = true
			to := a.To
			if _, ok := defaults[to]; !ok { // a table: take a key of it
				for _, s := range l.Effective() {
					if rest, ok := strings.CutPrefix(s.Key, a.To+"."); ok && strings.Contains(" max_streams quorum_size node_id url uri ", " "+rest+" ") {
						to = s.Key
					}
				}
				if to == a.To {
					t.Fatalf("%s is neither a setting nor a table of settings", a.To)
				}
			}
			from := a.From + strings.TrimPrefix(to, a.To)
			value := map[string]string{
				"networking.bind_address": "10.1.2.3:1234", "server.bind_address": "10.1.2.3:1234", "server.api_addr": "10.1.2.3:1234",
				"observability.metrics_port": "1234", "monitoring.metrics_port": "1234",
				"security.rate_limiting.requests_per_minute": "600",
			}[from]
			if value == "" {
				value = sampleValue(to, defaults[to])
			}
			flags := map[string]string{from: value}
			switch to { // these ask for others
			case "security.tls.enabled":
				flags["security.tls.cert_file"], flags["security.tls.key_file"] = "c", "k"
			}
			got, err := config.Load(config.Options{Dir: t.TempDir(), SystemDir: t.TempDir(), Flags: flags})
			if err != nil {
				t.Fatalf("Load(%v): %v", flags, err)
			}
			if origin := got.Origin(to); origin == "default" || !strings.HasPrefix(origin, "flag ") {
				t.Errorf("Load(%s = %s): %s comes from %q", from, value, to, origin)
			}
			for _, s := range got.Effective() {
				if s.Key == to && s.Value == defaults[to] {
					t.Errorf("Load(%s = %s): %s is still %q", from, value, to, s.Value)
				}
			}
		})
	}
}

// sampleValue returns a value for key that is not its default.
func sampleValue(key, standard string) string {
	switch {
	case standard == "true":
		return "false"
	case standard == "false":
		return "true"
	case strings.HasSuffix(key, "journal_mode"):
		return "DELETE"
	case key == "logging.rotation":
		return "daily"
	case key == "logging.level":
		return "error"
	case key == "logging.format":
		return "json"
	case key == "messaging.strategy":
		return "priority"
	case strings.HasSuffix(key, "_threshold"), strings.HasSuffix(key, "_rate"):
		return "0.5"
	case strings.HasSuffix(key, "hosts"):
		return "a.example,b.example"
	case strings.HasSuffix(key, "origins"):
		return "https://a.example"
	case strings.HasSuffix(key, "url"), strings.HasSuffix(key, "uri"):
		return "http://a.example:1"
	case strings.HasSuffix(key, "_timeout"), strings.HasSuffix(key, "_time"), strings.HasSuffix(key, "interval"), strings.HasSuffix(key, "_expiry"):
		return "77s"
	case strings.HasSuffix(key, "_addr"), strings.HasSuffix(key, "_address"), key == "cluster.seeds":
		return "10.9.8.7:77"
	case strings.HasSuffix(key, "_limit"), strings.HasSuffix(key, "_size"), strings.HasSuffix(key, "_response_size"):
		return "77777"
	case strings.HasSuffix(key, "file"), strings.HasSuffix(key, "path"), strings.HasSuffix(key, "header"), strings.HasSuffix(key, "secret"), key == "llm.model", key == "cluster.node_id", strings.HasSuffix(key, "methods"), key == "tools.allowed":
		return "word"
	}
	return "77"
}
