package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

// Options say where Load looks. The zero Options give the defaults, and the file of one of
// the usual places below the working directory of the process.
type Options struct {
	// Path is the configuration file, or "" to look for one: the variable
	// CAXTON_CONFIG_PATH names it, or it is caxton.yaml, caxton.yml, caxton.toml or caxton.json
	// in Dir, or caxton.yaml, caxton.yml, caxton.toml, caxton.json, config.yaml or config.toml in
	// SystemDir. Without any the defaults hold.
	Path string
	// Explicit says that Path was asked for: then its absence is an error. Without it an
	// absent file is as good as an empty one.
	Explicit bool
	// Environ is the environment, in the form of os.Environ. nil is an empty one.
	Environ []string
	// Flags are settings from the command line: a path of the schema, in any spelling that
	// Aliases knows, and the text.
	Flags map[string]string
	// Dir is the working directory, which relative paths start from; "" for that of the
	// process.
	Dir string
	// SystemDir is searched last for a file; "" for /etc/caxton.
	SystemDir string
	// CheckFiles reads the files that hold secrets. Without it the secrets stay empty, and
	// the files may be missing: enough to check a configuration on another machine.
	CheckFiles bool
	// Hostname gives ${HOSTNAME} where no variable does; nil for os.Hostname.
	Hostname func() (string, error)
}

// A Loaded is a configuration with the memory of where it came from. It does not change.
type Loaded struct {
	Config   Config
	Path     string         // the file that was read, or "" when none was
	Warnings []caxton.Issue // what is odd, and does no harm
	settings []Setting      // sorted by key
	inert    []string       // keys that are set and have no effect, sorted
}

// Load reads the configuration. Flags count more than the environment, the environment more
// than the file, the file more than the defaults.
//
// Its errors are *caxton.Error: Invalid, code "config_invalid", with an Issue for every fault
// (of the file, the environment and the flags together); Malformed, code "config_malformed",
// when the file cannot be read as YAML, TOML or JSON at all; NotFound, code
// "config_not_found"; Forbidden or Unavailable, code "config_unreadable".
func Load(o Options) (*Loaded, error) {
	l := &loader{o: o, root: schema(), env: newEnvironment(o.Environ), origins: make(map[string]origin)}
	return l.load()
}

// A layer says how much a value counts; a greater one counts more.
type layer int

const (
	layerDefault layer = iota
	layerLow           // RUST_LOG, which counts less than the file
	layerFile
	layerEnv
	layerFlag
)

// An origin says where a value came from.
type origin struct {
	layer layer
	text  string
}

// A loader is the state of one Load.
type loader struct {
	o       Options
	root    *entry
	env     environment
	path    string            // of the file
	file    *tree.Node        // the document of the file, in canonical form
	merged  *tree.Node        // the document of everything
	origins map[string]origin // by the path of a leaf
	issues  []caxton.Issue
}

func (l *loader) load() (*Loaded, error) {
	file := &source{root: l.root, doc: tree.NewMap(0, 0)}
	data, err := l.read()
	if err != nil {
		return nil, err
	}
	if l.path != "" {
		file.path = l.path
		root, issues := tree.Parse(format(l.path, data), l.path, data)
		if root == nil {
			return nil, l.fail(caxton.Malformed, "config_malformed", issues)
		}
		file.doc, file.issues = root, issues
		file.expand(l.lookup)
		file.check()
	}
	l.file = file.doc
	low, high, flags := l.env.low(l.root), l.env.high(l.root, file.doc), l.flags()
	for _, s := range []*source{low, high, flags} {
		s.check()
	}
	l.merged = defaults(l.root)
	l.merge(layerDefault, &source{root: l.root, doc: l.merged})
	l.merge(layerLow, low)
	l.merge(layerFile, file)
	l.merge(layerEnv, high)
	l.merge(layerFlag, flags)
	if l.faults() > 0 {
		return nil, l.fail(caxton.Invalid, "config_invalid", l.issues)
	}
	l.implied()
	l.secretFiles()
	l.metricsHost()
	var c Config
	l.issues = append(l.issues, tree.Decode(l.merged, &c, tree.DecodeOptions{Path: l.path})...)
	l.consistent(&c)
	if l.faults() > 0 {
		return nil, l.fail(caxton.Invalid, "config_invalid", l.issues)
	}
	loaded := &Loaded{Config: c, Path: l.path, Warnings: l.issues}
	loaded.settings, loaded.inert = l.settings(&c)
	return loaded, nil
}

func (l *loader) faults() int {
	n := 0
	for _, i := range l.issues {
		if !i.Warning {
			n++
		}
	}
	return n
}

// fail returns one error for all faults among the issues.
func (l *loader) fail(kind caxton.Kind, code string, issues []caxton.Issue) error {
	var faults []caxton.Issue
	for _, i := range issues {
		if !i.Warning {
			faults = append(faults, i)
		}
	}
	// What the file says comes first, in its order.
	slices.SortStableFunc(faults, func(a, b caxton.Issue) int {
		switch {
		case (a.Line == 0) != (b.Line == 0):
			return cmp.Compare(b.Line, a.Line)
		case a.Line != b.Line:
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	name := cmp.Or(l.path, "the configuration")
	number := "a fault"
	if len(faults) > 1 {
		number = strconv.Itoa(len(faults)) + " faults"
	}
	e := caxton.Errorf(kind, code, "%s has %s", name, number).WithHint("mend what is listed, then check with: caxton validate")
	if l.path != "" {
		e = e.WithHint("mend what is listed, then check with: caxton validate --config %s", l.path)
	}
	e.Issues = faults
	return e
}

// read returns the content of the configuration file, and sets l.path when there is one.
func (l *loader) read() ([]byte, error) {
	path, explicit := l.o.Path, l.o.Explicit
	if path == "" {
		path = cmp.Or(l.env.vars["CAXTON_CONFIG_PATH"], l.env.vars["CAXTON_CONFIG"])
		explicit = path != ""
	}
	if path == "" {
		path = l.search()
	}
	if path == "" {
		return nil, nil
	}
	data, err := readFile(l.abs(path))
	if errors.Is(err, fs.ErrNotExist) {
		if !explicit {
			return nil, nil
		}
		other, instead := l.instead(path)
		if instead != nil {
			return nil, instead
		}
		l.issues = append(l.issues, caxton.Issue{
			Path: other, Message: fmt.Sprintf("%s does not exist; this file is the only one beside it and is used", path),
			Hint: "name it: --config " + other, Warning: true,
		})
		path = other
		data, err = readFile(l.abs(path))
	}
	if err != nil {
		return nil, unreadable("the configuration file "+path, err)
	}
	l.path = path
	return data, nil
}

func (l *loader) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(l.o.Dir, path)
}

// search returns the first file of the usual places, or "".
func (l *loader) search() string {
	var found []string
	for _, name := range []string{"caxton.yaml", "caxton.yml", "caxton.toml", "caxton.json"} {
		if isFile(l.abs(name)) {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		dir := cmp.Or(l.o.SystemDir, filepath.FromSlash("/etc/caxton"))
		for _, name := range []string{"caxton.yaml", "caxton.yml", "caxton.toml", "caxton.json", "config.yaml", "config.yml", "config.toml", "config.json"} {
			if path := filepath.Join(dir, name); isFile(path) {
				found = append(found, path)
			}
		}
	}
	if len(found) == 0 {
		return ""
	}
	if len(found) > 1 {
		l.issues = append(l.issues, caxton.Issue{
			Path: found[0], Message: fmt.Sprintf("this file is used; %s is not", strings.Join(found[1:], ", ")),
			Hint: "name the one that is meant: --config FILE", Warning: true,
		})
	}
	return found[0]
}

// instead returns the only configuration file in the directory of a missing one.
func (l *loader) instead(path string) (string, error) {
	missing := caxton.Errorf(caxton.NotFound, "config_not_found", "there is no configuration file %s", path)
	entries, err := os.ReadDir(filepath.Dir(l.abs(path)))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return "", missing.WithHint("its directory cannot be read").WithCause(err)
		}
		return "", missing.WithHint("its directory does not exist; caxton init writes a configuration to begin with")
	}
	var found []string
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		if _, ok := formatOf(name); ok && isFile(filepath.Join(filepath.Dir(l.abs(path)), name)) {
			found = append(found, filepath.Join(filepath.Dir(path), name))
		}
	}
	switch len(found) {
	case 0:
		return "", missing.WithHint("its directory holds no configuration; caxton init writes one to begin with")
	case 1:
		return found[0], nil
	}
	return "", missing.WithHint("its directory holds %s: name the one that is meant", strings.Join(found, ", "))
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && !st.IsDir()
}

// readFile reads a file of at most a byte more than tree.Parse takes.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return nil, errDirectory
	}
	return io.ReadAll(io.LimitReader(f, tree.MaxInput+1))
}

var errDirectory = errors.New("is a directory")

func unreadable(what string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return caxton.Errorf(caxton.Forbidden, "config_unreadable", "%s may not be read", what).
			WithHint("let the user that runs the server read it").WithCause(err)
	case errors.Is(err, errDirectory):
		return caxton.Errorf(caxton.Malformed, "config_unreadable", "%s is a directory", what).WithHint("name the file in it")
	}
	return caxton.Errorf(caxton.Unavailable, "config_unreadable", "%s cannot be read", what).WithCause(err)
}

// formatOf tells the notation from the extension of a name.
func formatOf(name string) (tree.Format, bool) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml":
		return tree.YAML, true
	case ".toml":
		return tree.TOML, true
	case ".json":
		return tree.JSON, true
	}
	return "", false
}

// format tells the notation of a file from its extension or, when that says nothing, from
// its first line with content.
func format(path string, data []byte) tree.Format {
	if f, ok := formatOf(path); ok {
		return f
	}
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		line = strings.TrimSpace(line)
		key, _, equals := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#':
			continue
		case line[0] == '{':
			return tree.JSON
		case line[0] == '[', equals && !strings.Contains(key, ":"):
			return tree.TOML
		}
		break
	}
	return tree.YAML
}

// lookup returns the value of a variable for ${NAME}.
func (l *loader) lookup(name string) (string, bool) {
	value, ok := l.env.vars[name]
	if name != "HOSTNAME" || value != "" {
		return value, ok
	}
	hostname := l.o.Hostname
	if hostname == nil {
		hostname = os.Hostname
	}
	value, err := hostname()
	return value, err == nil && value != ""
}

// flags returns the document of the command line.
func (l *loader) flags() *source {
	s := &source{root: l.root, doc: tree.NewMap(0, 0)}
	for _, key := range sorted(l.o.Flags) {
		s.set(key, l.o.Flags[key], flagName(key))
	}
	return s
}

// flagName returns the flag that sets a key.
func flagName(key string) string {
	switch key {
	case "server.port":
		return "--port"
	case "server.host":
		return "--host"
	case "server.data_dir":
		return "--data-dir"
	case "server.agents_dir":
		return "--agents-dir"
	case "server.api_addr", "server.bind_address", "networking.bind_address":
		return "--api-addr"
	case "cluster.node_id":
		return "--node-id"
	case "cluster.bind_addr":
		return "--bind-addr"
	case "cluster.bootstrap":
		return "--bootstrap"
	case "cluster.seeds":
		return "--join"
	case "logging.level":
		return "--log-level"
	}
	return "--set " + key
}

// merge lays the values of a source over what is there, and its issues to the others.
func (l *loader) merge(at layer, s *source) {
	l.issues = append(l.issues, s.issues...)
	var paths []string
	l.root.given(s.doc, "", func(path string, _ *entry, f *tree.Field) {
		paths = append(paths, path)
		o := origin{layer: at, text: "default"}
		switch at {
		case layerDefault:
		case layerFile:
			o.text = "file " + l.path + ":" + strconv.Itoa(f.Node.Line)
		case layerLow, layerEnv:
			o.text = "env " + f.Node.Origin
		case layerFlag:
			o.text = "flag " + f.Node.Origin
		}
		l.origins[path] = o
	})
	if s.doc == l.merged {
		return
	}
	for _, path := range paths {
		f := s.doc.Lookup(path)
		l.merged.Set(path, f.Node)
		*l.merged.Lookup(path) = *f
		l.yield(at, path)
	}
	l.named(l.root, s.doc, "")
}

// named makes room for tables whose names the operator chose and that say nothing: their
// names count.
func (l *loader) named(e *entry, n *tree.Node, path string) {
	if n.Kind != tree.Map {
		return
	}
	for _, f := range n.Fields {
		c := e.child(f.Key)
		if c == nil || c.leaf() {
			continue
		}
		at := join(path, f.Key)
		if e.dynamic() && l.merged.Lookup(at) == nil {
			l.merged.Set(at, tree.NewMap(f.Line, f.Column))
		}
		l.named(c, f.Node, at)
	}
}

// yield makes room for a secret that counts more than the other form of the same secret.
func (l *loader) yield(at layer, path string) {
	other := path + "_file"
	if base, ok := strings.CutSuffix(path, "_file"); ok {
		other = base
	}
	secret := l.root.find(strings.TrimSuffix(path, "_file"))
	if o, ok := l.origins[other]; ok && secret != nil && secret.secret && o.layer < at {
		l.merged.Remove(other)
		delete(l.origins, other)
	}
}

// implied switches on what has a switch and is told about without it.
func (l *loader) implied() {
	for _, s := range []struct {
		enabled string
		by      []string
	}{
		{"cluster.enabled", []string{"cluster.bind_addr", "cluster.advertise_addr", "cluster.seeds", "cluster.bootstrap", "cluster.expect", "cluster.regions"}},
		{"security.rate_limiting.enabled", []string{"security.rate_limiting.requests_per_second", "security.rate_limiting.burst_size"}},
		{"security.cors.enabled", []string{"security.cors.allowed_origins", "security.cors.allowed_methods"}},
	} {
		if l.origins[s.enabled].layer > layerDefault {
			continue
		}
		for _, path := range s.by {
			if o := l.origins[path]; o.layer > layerDefault {
				n := *l.merged.Lookup(path).Node
				n.Kind, n.Value, n.Text, n.Items = tree.Bool, true, "", nil
				l.merged.Set(s.enabled, &n)
				l.origins[s.enabled] = o
				break
			}
		}
	}
}

// maxSecret is the size of the largest file of a secret, in bytes.
const maxSecret = 64 << 10

// secretFiles takes secrets from the files that are to hold them.
func (l *loader) secretFiles() {
	if !l.o.CheckFiles {
		return
	}
	type secret struct{ path, file string }
	var all []secret
	l.root.given(l.merged, "", func(path string, _ *entry, f *tree.Field) {
		base, ok := strings.CutSuffix(path, "_file")
		if s := l.root.find(base); ok && s != nil && s.secret && scalar(f.Node) != "" {
			all = append(all, secret{base, scalar(f.Node)})
		}
	})
	for _, s := range all {
		data, err := readFile(l.abs(s.file))
		value := strings.TrimRight(string(data), "\r\n")
		key := s.path + "_file"
		switch {
		case errors.Is(err, fs.ErrNotExist):
			l.issue(key, fmt.Sprintf("%s: there is no file %s", key, s.file), "write the secret into it, readable for the server's user only")
		case errors.Is(err, fs.ErrPermission):
			l.issue(key, fmt.Sprintf("%s: the file %s may not be read", key, s.file), "let the user that runs the server read it")
		case err != nil:
			l.issue(key, fmt.Sprintf("%s: the file %s cannot be read", key, s.file), "name a file that holds only the secret")
		case len(data) > maxSecret:
			l.issue(key, fmt.Sprintf("%s: the file %s is too long for a secret", key, s.file), "name a file that holds only the secret")
		case strings.TrimSpace(value) == "":
			l.issue(key, fmt.Sprintf("%s: the file %s is empty", key, s.file), "write the secret into it")
		default:
			l.merged.Set(s.path, tree.NewString(value, s.file))
			l.origins[s.path] = l.origins[key]
		}
	}
}

// metricsHost completes the address of the metrics with the host of the server.
func (l *loader) metricsHost() {
	const path = "observability.metrics_address"
	f, host := l.merged.Lookup(path), l.merged.Lookup("server.host")
	port, bare := strings.CutPrefix(listenAddress(scalar(f.Node)), ":")
	if !bare {
		return
	}
	n := *f.Node
	n.Kind, n.Text = tree.String, ""
	n.Value = hostPort(scalar(host.Node), port)
	f.Node = &n
}

// issue reports a fault of the setting at key, wherever it came from.
func (l *loader) issue(key, message, hint string) {
	l.issues = append(l.issues, l.at(key, message, hint))
}

// at makes an issue that points to the setting or the table at key.
func (l *loader) at(key, message, hint string) caxton.Issue {
	i := caxton.Issue{Key: key, Message: message, Hint: hint}
	o, value := l.origins[key]
	if value && o.layer != layerFile {
		if f := l.merged.Lookup(key); f != nil && f.Node.Origin != "" {
			i.Message += " (from " + f.Node.Origin + ")"
		}
		return i
	}
	if f := l.file.Lookup(key); f != nil {
		i.Path, i.Line, i.Column = l.path, f.Line, f.Column
		if value {
			i.Line, i.Column = f.Node.Line, f.Node.Column
		}
	}
	return i
}

// consistent checks what more than one setting must agree on.
func (l *loader) consistent(c *Config) {
	l.providers(&c.LLM)
	l.care(c)
	l.mcpServers(c.Tools.MCPServers)
	type pair struct {
		low, high string
		ok        bool
	}
	for _, p := range []pair{
		{"agents.retry_backoff_initial", "agents.retry_backoff_max", c.Agents.RetryBackoffInitial <= c.Agents.RetryBackoffMax},
		{"agents.restart_backoff_initial", "agents.restart_backoff_max", c.Agents.RestartBackoffInitial <= c.Agents.RestartBackoffMax},
	} {
		if !p.ok {
			l.issue(l.said(p.low, p.high), fmt.Sprintf("%s is longer than %s", p.low, p.high), "")
		}
	}
	if c.Messaging.WaitTimeout > c.Server.RequestTimeout {
		key := l.said("messaging.wait_timeout", "server.request_timeout")
		i := l.at(key, fmt.Sprintf("messaging.wait_timeout (%s) is longer than server.request_timeout (%s), which ends the wait", c.Messaging.WaitTimeout, c.Server.RequestTimeout), "raise server.request_timeout")
		i.Warning = true
		l.issues = append(l.issues, i)
	}
	if c.Messaging.MaxMessageSize > c.Server.MaxBodySize {
		i := l.at(l.said("messaging.max_message_size", "server.max_body_size"), fmt.Sprintf("messaging.max_message_size (%s) is more than server.max_body_size (%s) lets through", c.Messaging.MaxMessageSize, c.Server.MaxBodySize), "raise server.max_body_size")
		i.Warning = true
		l.issues = append(l.issues, i)
	}
	api := c.APIAddr()
	for _, other := range []struct{ key, address string }{
		{"observability.metrics_address", c.MetricsAddr()},
		{"server.admin_address", c.AdminAddr()},
	} {
		if other.address == api && c.Server.Port != 0 {
			l.issue(l.said(other.key, "server.port"), fmt.Sprintf("%s is %s, where the API listens already", other.key, api), "choose another port")
		}
	}
	if a := c.AdminAddr(); a != "" && a == c.MetricsAddr() && !strings.HasSuffix(a, ":0") {
		l.issue(l.said("server.admin_address", "observability.metrics_address"), "server.admin_address is "+a+", where the metrics are already", "choose another port")
	}
	if c.Security.TLS.Enabled {
		for _, need := range []struct{ key, value string }{
			{"security.tls.cert_file", c.Security.TLS.CertFile},
			{"security.tls.key_file", c.Security.TLS.KeyFile},
		} {
			if need.value == "" {
				l.issue("security.tls.enabled", "security.tls.enabled needs "+need.key, "name the certificate and its key, or take enabled out")
			}
		}
	}
}

// said returns the first of the keys that somebody set, or the first.
func (l *loader) said(keys ...string) string {
	for _, key := range keys {
		if l.origins[key].layer > layerDefault {
			return key
		}
	}
	return keys[0]
}

// providers checks the names of providers against each other.
func (l *loader) providers(c *LLM) {
	for _, name := range sorted(c.Providers) {
		path := tree.Join("llm", "providers", name)
		p := c.Providers[name]
		if name == AutoProvider {
			l.issue(path, "a provider cannot be called auto", "choose another name")
			continue
		}
		full, ok := c.Lookup(name)
		if !ok {
			l.issue(path, path+".kind is missing", "say what it speaks: kind: openai")
			continue
		}
		if full.Kind == KindScripted && full.File == "" {
			l.issue(path, path+".file is missing", "name the file with the answers")
		}
		if slices.Contains(kinds(), name) && p.Kind != "" && p.Kind != name {
			l.issue(path+".kind", fmt.Sprintf("%s.kind is %s, but %s is the name of another kind", path, p.Kind, name), "choose another name for the provider")
		}
	}
	names := c.Names()
	unknown := func(i caxton.Issue, name string) {
		hint := "known here: " + strings.Join(names, ", ")
		if near := tree.Nearest(name, append([]string{AutoProvider}, names...)); near != "" {
			hint = "did you mean " + near + "?"
		}
		i.Message, i.Hint = fmt.Sprintf("%s: there is no provider %s", i.Key, quoted(name))+i.Message, hint
		l.issues = append(l.issues, i)
	}
	if c.Provider == AutoProvider {
		if _, ok := l.origins["llm.file"]; ok && c.primary() != KindScripted {
			l.issue("llm.file", "llm.file is for the provider scripted, and the other settings of llm are for openai", "name the one that is meant: provider: scripted")
		}
	} else if !slices.Contains(names, c.Provider) {
		unknown(l.at("llm.provider", "", ""), c.Provider)
	} else if p, ok := c.Lookup(c.Provider); ok && p.Kind == KindScripted && p.File == "" && c.Providers[c.Provider].Kind == "" {
		l.issue("llm.provider", "llm.file is missing", "name the file with the answers of the scripted provider")
	}
	for n, name := range c.Fallback {
		i := l.at("llm.fallback", "", "")
		if item := l.merged.Lookup("llm.fallback").Node.Items[n]; i.Line > 0 {
			i.Line, i.Column = item.Line, item.Column
		}
		if !slices.Contains(names, name) {
			unknown(i, name)
		} else if slices.Index(c.Fallback, name) < n {
			i.Message = "llm.fallback names " + name + " twice" + i.Message
			l.issues = append(l.issues, i)
		}
	}
}
