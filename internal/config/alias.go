package config

import (
	"fmt"
	"math"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

// An Alias is another spelling of a setting or of a table of settings.
type Alias struct {
	From string // what may be written: a dotted path
	To   string // the canonical path it means
	Note string // how the value is carried over, or "" when it is as it stands
}

// Aliases returns every other spelling, in the order of the table that Load follows. A
// spelling that sets two settings appears twice.
func Aliases() []Alias {
	var all []Alias
	for _, r := range rules() {
		notes := []string{""}
		switch r.how {
		case moveIt:
		case address:
			notes = []string{"the part before the last colon", "the part after the last colon"}
		case port:
			notes = []string{"only the port; the host is that of the server"}
		case perMinute:
			notes = []string{"per minute; divided by 60"}
		}
		for i, to := range r.targets() {
			all = append(all, Alias{From: r.from, To: to, Note: notes[i]})
		}
	}
	return all
}

// A conversion says how a value gets to its canonical place.
type conversion int

const (
	moveIt    conversion = iota // as it stands
	address                     // host:port becomes server.host and server.port
	port                        // a port becomes :port
	perMinute                   // a number per minute becomes one per second
)

// A rule is one line of the table of other spellings.
type rule struct {
	from, to string
	how      conversion
}

// targets returns the canonical paths that the rule sets.
func (r rule) targets() []string {
	if r.how == address {
		return []string{"server.host", "server.port"}
	}
	return []string{r.to}
}

// rules is the one table of other spellings. Single keys come before the tables they are in.
func rules() []rule {
	return []rule{
		{from: "networking.bind_address", how: address},
		{from: "server.bind_address", how: address},
		{from: "server.api_addr", how: address},
		{from: "networking.admin_address", to: "server.admin_address"},
		{from: "networking.max_connections", to: "server.max_connections"},
		{from: "networking.connection_timeout", to: "server.connection_timeout"},
		{from: "networking.request_timeout", to: "server.request_timeout"},
		{from: "networking.keepalive_timeout", to: "server.keepalive_timeout"},
		{from: "networking.tls_enabled", to: "security.tls.enabled"},
		{from: "networking.tls_cert_path", to: "security.tls.cert_file"},
		{from: "networking.tls_key_path", to: "security.tls.key_file"},
		{from: "networking.tls_ca_path", to: "security.tls.ca_file"},
		{from: "networking.metrics_address", to: "observability.metrics_address"},

		{from: "runtime.max_agents", to: "agents.max_agents"},
		{from: "runtime.max_concurrent_executions", to: "agents.max_concurrent_executions"},
		{from: "runtime.execution_timeout", to: "agents.execution_timeout"},
		{from: "runtime.agent_startup_timeout", to: "agents.startup_timeout"},
		{from: "runtime.agent_shutdown_timeout", to: "agents.shutdown_timeout"},
		{from: "runtime.agent_idle_timeout", to: "agents.idle_timeout"},
		{from: "runtime.gc_interval", to: "agents.gc_interval"},
		{from: "runtime.agent_memory_reclaim", to: "agents.memory_reclaim"},
		{from: "runtime.wasm_memory_limit", to: "wasm.memory_limit"},
		{from: "runtime.wasm_stack_limit", to: "wasm.stack_limit"},
		{from: "runtime.cpu_quota", to: "server.cpu_quota"},
		{from: "runtime.memory_limit", to: "server.memory_limit"},
		{from: "runtime.memory_pressure_threshold", to: "server.memory_pressure_threshold"},
		{from: "runtime.temp_storage_limit", to: "server.temp_storage_limit"},

		{from: "agents.budget.tokens", to: "agents.budget.conversation.tokens"},
		{from: "agents.budget.tool_calls", to: "agents.budget.conversation.tool_calls"},
		{from: "agents.budget.wall_time", to: "agents.budget.conversation.wall_time"},
		{from: "agents.budget.money", to: "agents.budget.conversation.money"},

		{from: "messaging.capability_routing.strategy", to: "messaging.strategy"},
		{from: "messaging.routing_strategy", to: "messaging.strategy"},
		{from: "llm.default_model", to: "llm.model"},
		{from: "llm.endpoint", to: "llm.base_url"},
		{from: "tools.allowed_tools", to: "tools.allowed"},
		{from: "tools.http_client.allowed_domains", to: "tools.http_client.allowed_hosts"},
		{from: "tools.http_client.denied_domains", to: "tools.http_client.denied_hosts"},
		{from: "tools.http_client.max_response", to: "tools.http_client.max_response_size"},
		{from: "tools.http_client.max_request", to: "tools.http_client.max_request_size"},

		{from: "memory.cleanup_interval", to: "memory.cleanup.interval"},
		{from: "memory.qdrant_config", to: "memory.qdrant"},
		{from: "memory.neo4j_config", to: "memory.neo4j"},

		{from: "observability.log_level", to: "logging.level"},
		{from: "observability.log_format", to: "logging.format"},
		{from: "observability.log_file", to: "logging.file"},
		{from: "observability.log_rotation", to: "logging.rotation"},
		{from: "observability.log_retention_days", to: "logging.retention_days"},
		{from: "observability.enable_metrics", to: "observability.metrics_enabled"},
		{from: "observability.enable_tracing", to: "observability.tracing_enabled"},
		{from: "observability.metrics_port", to: "observability.metrics_address", how: port},
		{from: "monitoring.metrics_port", to: "observability.metrics_address", how: port},
		{from: "monitoring.metrics_address", to: "observability.metrics_address"},
		{from: "monitoring.metrics_enabled", to: "observability.metrics_enabled"},
		{from: "monitoring.health_check_interval", to: "observability.health_check_interval"},

		{from: "security.auth_enabled", to: "security.authentication.enabled"},
		{from: "security.jwt_secret", to: "security.authentication.jwt_secret"},
		{from: "security.jwt_secret_file", to: "security.authentication.jwt_secret_file"},
		{from: "security.jwt_expiry", to: "security.authentication.token_expiry"},
		{from: "security.api_key_header", to: "security.api_keys.header"},
		{from: "security.rate_limit_enabled", to: "security.rate_limiting.enabled"},
		{from: "security.rate_limit_per_second", to: "security.rate_limiting.requests_per_second"},
		{from: "security.rate_limit_burst", to: "security.rate_limiting.burst_size"},
		{from: "security.rate_limiting.requests_per_minute", to: "security.rate_limiting.requests_per_second", how: perMinute},
		{from: "security.cors_enabled", to: "security.cors.enabled"},
		{from: "security.cors_origins", to: "security.cors.allowed_origins"},
		{from: "security.cors_methods", to: "security.cors.allowed_methods"},

		{from: "coordination.local_state_path", to: "server.state.path"},
		{from: "coordination.journal_mode", to: "server.state.journal_mode"},
		{from: "coordination.cluster_enabled", to: "cluster.enabled"},
		{from: "coordination.node_id", to: "cluster.node_id"},
		{from: "coordination.bind_addr", to: "cluster.bind_addr"},
		{from: "coordination.advertise_addr", to: "cluster.advertise_addr"},
		{from: "coordination.seeds", to: "cluster.seeds"},
		{from: "coordination.bootstrap", to: "cluster.bootstrap"},
		{from: "coordination.gossip_interval", to: "cluster.gossip_interval"},
		{from: "coordination.gossip_fanout", to: "cluster.gossip_fanout"},
		{from: "coordination.probe_interval", to: "cluster.probe_interval"},
		{from: "coordination.probe_timeout", to: "cluster.probe_timeout"},
		{from: "coordination.cluster", to: "cluster"},
		{from: "coordination.partition", to: "cluster.partition"},
		{from: "coordination.transport", to: "cluster.transport"},
		{from: "partition", to: "cluster.partition"},
		{from: "transport", to: "cluster.transport"},
		{from: "gossip_interval", to: "cluster.gossip_interval"},
		{from: "gossip_fanout", to: "cluster.gossip_fanout"},
		{from: "probe_interval", to: "cluster.probe_interval"},
		{from: "probe_timeout", to: "cluster.probe_timeout"},
	}
}

// oldRoots returns the names of tables at the root that only hold other spellings.
func oldRoots() []string {
	return []string{"networking", "runtime", "coordination", "monitoring"}
}

// canonical moves everything in the document to its canonical place. It reports two
// spellings of a setting that differ; equal ones are no harm.
func (s *source) canonical() {
	if s.doc.Kind != tree.Map {
		return
	}
	for _, r := range rules() {
		f := s.doc.Lookup(r.from)
		if f == nil {
			continue
		}
		if f.Node.Kind == tree.Null {
			s.doc.Remove(r.from)
			continue
		}
		switch r.how {
		case moveIt:
			_, clashes := s.doc.Move(r.from, r.to)
			for _, c := range clashes {
				s.clash(c)
			}
		case address:
			s.splitAddress(r.from)
		case port:
			s.convert(r, func(n *tree.Node) (*tree.Node, bool) {
				text := scalar(n)
				_, err := strconv.ParseUint(text, 10, 16)
				c := *n
				c.Kind, c.Value, c.Text = tree.String, ":"+text, ""
				return &c, err == nil && (n.Kind == tree.Int || n.Kind == tree.String)
			}, "a port, 0 to 65535")
		case perMinute:
			s.convert(r, func(n *tree.Node) (*tree.Node, bool) {
				x, err := strconv.ParseFloat(scalar(n), 64)
				c := *n
				c.Kind, c.Value, c.Text = tree.Float, math.Round(x/60*1e6)/1e6, ""
				return &c, err == nil && x > 0 && x < 1e12
			}, "a number of requests per minute")
		}
	}
	s.prune()
}

// scalar returns the text of a scalar.
func scalar(n *tree.Node) string {
	switch n.Kind {
	case tree.String, tree.Int, tree.Float, tree.Bool:
		if n.Text != "" {
			return strings.TrimSpace(n.Text)
		}
		return strings.TrimSpace(fmt.Sprint(n.Value))
	case tree.Null, tree.List, tree.Map:
	}
	return ""
}

// convert moves a value and changes it on the way.
func (s *source) convert(r rule, change func(*tree.Node) (*tree.Node, bool), wanted string) {
	f, _ := s.doc.Remove(r.from)
	n, ok := change(f.Node)
	if !ok {
		s.wrong(f.Node, r.from, wanted)
		return
	}
	s.place(r.to, r.from, f, n)
}

// splitAddress takes host:port apart.
func (s *source) splitAddress(from string) {
	f, _ := s.doc.Remove(from)
	text := scalar(f.Node)
	host, port, err := net.SplitHostPort(text)
	if _, badPort := strconv.ParseUint(port, 10, 16); f.Node.Kind != tree.String || err != nil || badPort != nil {
		s.wrong(f.Node, from, "an address such as 127.0.0.1:8080")
		return
	}
	if host == "" {
		host = "0.0.0.0"
	}
	for i, part := range []string{host, port} {
		n := *f.Node
		n.Kind, n.Value, n.Text = tree.String, part, ""
		s.place([]string{"server.host", "server.port"}[i], from, f, &n)
	}
}

// place puts a value where it belongs, unless something else is there.
func (s *source) place(to, from string, f tree.Field, n *tree.Node) {
	was := f
	was.Node, was.Alias = n, from
	if there := s.doc.Lookup(to); there != nil && there.Node.Kind != tree.Null {
		s.clash(tree.Clash{Path: to, Old: was, New: *there})
		return
	}
	if !s.doc.Set(to, n) {
		return // a table on the way is something else, and is reported as such
	}
	there := s.doc.Lookup(to)
	there.Line, there.Column, there.Alias = f.Line, f.Column, from
}

// clash reports a setting that is given twice, unless both say the same.
func (s *source) clash(c tree.Clash) {
	e := s.root.find(c.Path)
	if _, key := parent(c.Path); e == nil || c.New.Key != key {
		return // a table on the way is something else, and is reported as such
	}
	if same(e, c.Old.Node, c.New.Node) {
		return
	}
	if e.path == "observability.metrics_address" && s.samePort(c) {
		return
	}
	// The later of the two is the one to look at.
	late, early := c.Old, c.New
	if early.Line > late.Line || early.Line == late.Line && early.Column > late.Column {
		late, early = early, late
	}
	s.issue(late.Line, late.Column, c.Path,
		fmt.Sprintf("%s and %s%s mean the same setting and differ", spelled(late, c.Path), spelled(early, c.Path), position(early.Line, early.Column)),
		"keep "+c.Path)
}

// spelled names a field as its source does.
func spelled(f tree.Field, path string) string {
	switch {
	case f.Node.Origin != "":
		return f.Node.Origin
	case f.Alias != "":
		return f.Alias
	}
	return path
}

// same reports whether two values mean the same to the setting e.
func same(e *entry, a, b *tree.Node) bool {
	x, y := reflect.New(e.typ), reflect.New(e.typ)
	if len(tree.Decode(a, x.Interface(), tree.DecodeOptions{}))+len(tree.Decode(b, y.Interface(), tree.DecodeOptions{})) > 0 {
		return false
	}
	return reflect.DeepEqual(x.Interface(), y.Interface())
}

// samePort reports whether one of two addresses of the metrics is only the port of the
// other; the full one then stays.
func (s *source) samePort(c tree.Clash) bool {
	a, b := listenAddress(scalar(c.Old.Node)), listenAddress(scalar(c.New.Node))
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || hostA != "" && hostB != "" {
		return false
	}
	if hostB == "" {
		there := s.doc.Lookup(c.Path)
		there.Node, there.Line, there.Column, there.Alias = c.Old.Node, c.Old.Line, c.Old.Column, c.Old.Alias
	}
	return true
}

// listenAddress gives a bare port the form of an address without a host.
func listenAddress(text string) string {
	if _, err := strconv.ParseUint(text, 10, 16); err == nil {
		return ":" + text
	}
	return text
}

// prune removes tables that held nothing but other spellings and are empty now.
func (s *source) prune() {
	for _, r := range rules() {
		path, _ := parent(r.from)
		for path != "" {
			f := s.doc.Lookup(path)
			if f == nil || s.root.find(path) != nil || f.Node.Kind != tree.Null && (f.Node.Kind != tree.Map || len(f.Node.Fields) > 0) {
				break
			}
			s.doc.Remove(path)
			path, _ = parent(path)
		}
	}
	for _, name := range oldRoots() {
		if f := s.doc.Field(name); f != nil && f.Node.Kind == tree.Null {
			s.doc.Remove(name)
		}
	}
}

// values replaces words that are understood and mean another one; those whose effect cannot
// be given are warned about.
func (s *source) values() {
	for _, v := range []struct{ path, from, to, warning string }{
		{"messaging.strategy", "load_balance", "round_robin", ""},
		{"messaging.strategy", "load_balanced", "round_robin", ""},
		{"messaging.strategy", "least_connections", "least_loaded", ""},
		{"logging.level", "warning", "warn", ""},
		{"logging.level", "trace", "debug", "trace is not told apart from debug; debug is used"},
		{"cluster.transport.congestion_control", "bbr", "", "bbr is not available for QUIC here; cubic is used"},
		{"cluster.transport.congestion_control", "reno", "", "reno is not available for QUIC here; cubic is used"},
		{"memory.embedding_config.model_device", "cuda", "", "cuda is not available here; cpu is used"},
		{"memory.backend", "qdrant", "", "qdrant is not in this version; memory is embedded"},
		{"memory.backend", "neo4j", "", "neo4j is not in this version; memory is embedded"},
	} {
		f := s.doc.Lookup(v.path)
		if f == nil || f.Node.Kind != tree.String || !strings.EqualFold(scalar(f.Node), v.from) {
			continue
		}
		if v.warning != "" {
			s.warn(f.Node, v.path, v.warning)
		}
		if v.to != "" {
			n := *f.Node
			n.Value, n.Text = v.to, ""
			f.Node = &n
		}
	}
	for _, path := range []string{"server.state.journal_mode", "memory.sqlite_config.journal_mode"} {
		f := s.doc.Lookup(path)
		if f == nil || f.Node.Kind != tree.String || strings.EqualFold(scalar(f.Node), "wal") {
			continue
		}
		if slices.Contains([]string{"DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF"}, strings.ToUpper(scalar(f.Node))) {
			s.warn(f.Node, path, "the journal mode is always WAL; "+strings.ToUpper(scalar(f.Node))+" is not used")
		}
	}
}

func (s *source) issue(line, column int, key, message, hint string) {
	path := s.path
	if line == 0 {
		path = ""
	}
	s.issues = append(s.issues, caxton.Issue{Path: path, Line: line, Column: column, Key: key, Message: message, Hint: hint})
}

// wrong reports a value that is not what its key wants.
func (s *source) wrong(n *tree.Node, key, wanted string) {
	got := n.Kind.String()
	if text := scalar(n); text != "" || n.Kind == tree.String {
		got = quoted(text)
	}
	message := fmt.Sprintf("%s must be %s, not %s", key, wanted, got)
	if n.Origin != "" {
		message += " (from " + n.Origin + ")"
	}
	s.issue(n.Line, n.Column, key, message, "")
}

func (s *source) warn(n *tree.Node, key, message string) {
	path := s.path
	if n.Line == 0 {
		path = ""
	}
	if n.Origin != "" {
		message += " (from " + n.Origin + ")"
	}
	s.issues = append(s.issues, caxton.Issue{Path: path, Line: n.Line, Column: n.Column, Key: key, Message: message, Warning: true})
}

func quoted(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60]) + "…"
	}
	return strconv.Quote(s)
}
