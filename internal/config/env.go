package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

// A Variable is an environment variable that sets something under a name of its own. Every
// setting also has the variable CAXTON_<ROOT>_<KEY>.
type Variable struct {
	Name string // as it is in the environment
	Key  string // the setting, or "" when it sets none
	Note string // what it does otherwise, or when it counts
}

// Variables returns the environment variables with names of their own.
func Variables() []Variable {
	return []Variable{
		{"CAXTON_CONFIG_PATH", "", "names the configuration file"},
		{"CAXTON_CONFIG", "", "the same; CAXTON_CONFIG_PATH comes first"},
		{"CAXTON_SERVER", "", "for the commands: the server they talk to"},
		{"CAXTON_TOKEN", "", "for the commands: what they sign in with"},
		{"CAXTON_API_KEY", "", "for the commands: what they sign in with"},
		{"CAXTON_OUTPUT", "", "for the commands: how they print"},
		{"CAXTON_VERSION", "", "for installation scripts"},
		{"CAXTON_HOST", "server.host", ""},
		{"CAXTON_PORT", "server.port", ""},
		{"CAXTON_API_ADDR", "server.api_addr", ""},
		{"CAXTON_DATA_DIR", "server.data_dir", ""},
		{"CAXTON_AGENTS_DIR", "server.agents_dir", ""},
		{"CAXTON_LOG_LEVEL", "logging.level", ""},
		{"CAXTON_LOG_FORMAT", "logging.format", ""},
		{"CAXTON_LOG_FILE", "logging.file", ""},
		{"CAXTON_METRICS_ENABLED", "observability.metrics_enabled", ""},
		{"CAXTON_METRICS_PORT", "observability.metrics_port", ""},
		{"CAXTON_TRACING_ENABLED", "observability.tracing_enabled", ""},
		{"CAXTON_TLS_ENABLED", "security.tls.enabled", ""},
		{"CAXTON_JWT_SECRET", "security.authentication.jwt_secret", ""},
		{"CAXTON_NODE_ID", "cluster.node_id", ""},
		{"CAXTON_NODE_NAME", "cluster.node_id", ""},
		{"CAXTON_BIND_ADDR", "cluster.bind_addr", ""},
		{"QDRANT_URL", "memory.qdrant.url", "counts less than CAXTON_MEMORY_QDRANT_URL"},
		{"JWT_SECRET", "security.authentication.jwt_secret", "counts less than CAXTON_JWT_SECRET"},
		{"OTLP_ENDPOINT", "observability.otlp_endpoint", "counts less than CAXTON_OBSERVABILITY_OTLP_ENDPOINT"},
		{"OPENAI_API_KEY", "", "the key of the provider openai, where no setting gives one"},
		{"OPENAI_BASE_URL", "", "where the provider openai answers, where no setting says it"},
		{"ANTHROPIC_API_KEY", "", "the key of the provider anthropic, where no setting gives one"},
		{"RUST_LOG", "logging.level", "counts less than the file; only a level for all parts is taken"},
		{"RUST_BACKTRACE", "", "has no effect"},
	}
}

const prefix = "CAXTON_"

// kubernetes matches the variables that a Kubernetes service called caxton puts into every
// container beside it; they are no settings.
var kubernetes = regexp.MustCompile(`_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?$`)

// An environment is what Load needs of the environment variables.
type environment struct {
	vars map[string]string
}

func newEnvironment(environ []string) environment {
	env := environment{vars: make(map[string]string, len(environ))}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok && name != "" {
			env.vars[name] = value
		}
	}
	return env
}

// low returns the document of the variables that count less than the file: RUST_LOG.
func (env environment) low(root *entry) *source {
	s := &source{root: root, doc: tree.NewMap(0, 0)}
	if level := rustLevel(env.vars["RUST_LOG"]); level != "" {
		s.doc.Set("logging.level", tree.NewString(level, "RUST_LOG"))
	}
	return s
}

// rustLevel returns the level that a filter such as "info,caxton=debug" sets for all, or "".
func rustLevel(filter string) string {
	for part := range strings.SplitSeq(filter, ",") {
		switch level := strings.ToLower(strings.TrimSpace(part)); level {
		case "error", "warn", "info", "debug":
			return level
		case "trace":
			return "debug"
		}
	}
	return ""
}

// high returns the document of the variables that count more than the file. file is that of
// the file: providers named there may be set too, whatever characters their names have.
func (env environment) high(root *entry, file *tree.Node) *source {
	s := &source{root: root, doc: tree.NewMap(0, 0)}
	special := make(map[string]string)
	ours := []string{}
	for _, v := range Variables() {
		special[v.Name] = v.Key
		if strings.HasPrefix(v.Name, prefix) {
			ours = append(ours, v.Name)
		}
	}
	names := settings(root)
	for _, name := range sorted(env.vars) {
		value := env.vars[name]
		if !strings.HasPrefix(name, prefix) || value == "" {
			continue
		}
		if kubernetes.MatchString(name) || strings.HasPrefix(value, "tcp://") || strings.HasPrefix(value, "udp://") {
			continue
		}
		key, own := special[name]
		if !own {
			key = names[name]
		}
		if key == "" && !own {
			key = providerKey(root, name, file)
		}
		switch {
		case key != "":
			s.set(key, value, name)
		case !own:
			hint := ""
			if near := tree.Nearest(name, append(ours, sorted(names)...)); near != "" {
				hint = "did you mean " + near + "?"
			}
			s.issues = append(s.issues, caxton.Issue{Message: "the variable " + name + " is not known and has no effect", Hint: hint, Warning: true})
		}
	}
	for _, v := range Variables() {
		value := env.vars[v.Name]
		if strings.HasPrefix(v.Name, prefix) || v.Name == "RUST_LOG" || v.Key == "" || value == "" {
			continue
		}
		if s.doc.Lookup(v.Key) == nil && s.doc.Lookup(v.Key+"_file") == nil {
			s.set(v.Key, value, v.Name)
		}
	}
	return s
}

// set puts a text at a path, which may be another spelling. origin is where it comes from.
func (s *source) set(path, text, origin string) {
	e := s.root.find(path)
	if e == nil {
		for _, r := range rules() {
			if rest, ok := strings.CutPrefix(path, r.from); ok && r.how == moveIt && (rest == "" || rest[0] == '.') {
				e = s.root.find(r.to + rest)
			}
		}
	}
	if e != nil && e.leaf() && e.elem != nil || e != nil && !e.leaf() {
		s.issues = append(s.issues, caxton.Issue{Key: path, Message: fmt.Sprintf("%s is a table and cannot be given as one text (from %s)", path, origin), Hint: "set its keys in a file"})
		return
	}
	n := e.node(text, origin)
	if there := s.doc.Lookup(path); there != nil {
		s.clash(tree.Clash{Path: path, Old: tree.Field{Node: n}, New: *there})
		return
	}
	if !s.doc.Set(path, n) {
		s.issues = append(s.issues, caxton.Issue{Key: path, Message: fmt.Sprintf("%s is below a setting that is no table (from %s)", path, origin)})
	}
}

// settings maps the variable of every setting to its path, other spellings included. Where
// two settings would have the same variable, the canonical one has it.
func settings(root *entry) map[string]string {
	names := make(map[string]string)
	root.leaves(func(e *entry) {
		if e.elem == nil && !strings.Contains(e.path, "*") {
			names[variable(e.path)] = e.path
		}
	})
	add := func(from string) {
		if _, ok := names[variable(from)]; !ok {
			names[variable(from)] = from
		}
	}
	for _, r := range rules() {
		target := root.find(r.to)
		if r.how != moveIt || target.leaf() {
			add(r.from)
			continue
		}
		target.leaves(func(e *entry) {
			if e.elem == nil && !strings.Contains(e.path, "*") {
				add(r.from + strings.TrimPrefix(e.path, r.to))
			}
		})
	}
	return names
}

// variable returns the name of the variable that sets a path.
func variable(path string) string {
	return prefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(path))
}

// providerKey returns the path that a variable such as CAXTON_LLM_PROVIDERS_LOCAL_MODEL sets,
// or "". A provider of the file whose name looks the same as a variable is meant by it.
func providerKey(root *entry, name string, file *tree.Node) string {
	rest, ok := strings.CutPrefix(name, prefix+"LLM_PROVIDERS_")
	if !ok {
		return ""
	}
	keys := root.find("llm.providers.*").keys()
	slices.SortFunc(keys, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // the longest match counts
	for _, key := range keys {
		provider, ok := strings.CutSuffix(rest, "_"+strings.ToUpper(key))
		if !ok || provider == "" {
			continue
		}
		called := strings.ToLower(provider)
		if f := file.Lookup("llm.providers"); f != nil {
			for _, p := range f.Node.Fields {
				if strings.TrimPrefix(variable(p.Key), prefix) == provider {
					called = p.Key
				}
			}
		}
		return tree.Join("llm", "providers", called, key)
	}
	return ""
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
