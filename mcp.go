package caxton

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
)

// MCPPrefix begins the names of tools that MCP servers offer.
const MCPPrefix = "mcp__"

// maxToolName is how long a name of a tool may be: models' providers take no longer ones.
const maxToolName = 64

// MCPToolName returns the name under which agents know a tool of an MCP server:
// mcp__server__tool. Characters that names of tools cannot have become underscores, and a
// name that is too long ends in a hash instead.
func MCPToolName(server, tool string) string {
	name := MCPPrefix + clean(server) + "__" + clean(tool)
	if len(name) <= maxToolName {
		return name
	}
	sum := sha256.Sum256([]byte(server + "\x00" + tool))
	return name[:maxToolName-9] + "_" + hex.EncodeToString(sum[:4])
}

func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '_'
	}, s)
}

// Canonical returns the name, or the pattern, that the grant stands for. server.tool is
// another spelling of mcp__server__tool, and mcp__server of mcp__server__*.
func (g ToolGrant) Canonical() string {
	if server, tool, ok := strings.Cut(g.Name, "."); ok && !strings.HasPrefix(g.Name, MCPPrefix) {
		if prefix, ok := strings.CutSuffix(tool, "*"); ok {
			return MCPPrefix + clean(server) + "__" + clean(prefix) + "*"
		}
		return MCPToolName(server, tool)
	}
	if rest, ok := strings.CutPrefix(g.Name, MCPPrefix); ok && rest != "" && !strings.Contains(rest, "__") && !strings.HasSuffix(rest, "*") {
		return g.Name + "__*"
	}
	return g.Name
}

// Pattern returns what the names begin with that the grant allows, and whether it allows
// more than one: mcp__server__* all tools of a server, mcp__server__read_* some of them. A
// pattern always names its server; any other grant allows one name, whatever is in it.
func (g ToolGrant) Pattern() (prefix string, ok bool) {
	prefix, ok = strings.CutSuffix(g.Canonical(), "*")
	if rest, mcp := strings.CutPrefix(prefix, MCPPrefix); !ok || !mcp || strings.Index(rest, "__") < 1 {
		return "", false
	}
	return prefix, true
}

// Allows reports whether the grant is for the tool of that name.
func (g ToolGrant) Allows(tool string) bool {
	if g.Name == tool {
		return true
	}
	if prefix, ok := g.Pattern(); ok {
		return strings.HasPrefix(tool, prefix)
	}
	return g.Canonical() == tool
}

// A ToolState says whether a tool may be called.
type ToolState string

// The states of tools. Tools of our own are approved.
const (
	ToolQuarantined ToolState = "quarantined" // seen for the first time: an operator has to look at it
	ToolApproved    ToolState = "approved"
	ToolBlocked     ToolState = "blocked" // it is not what was approved any more, or cannot be used
	ToolDenied      ToolState = "denied"  // an operator refused it
)

// A ToolOffer is what an MCP server says of one of its tools.
type ToolOffer struct {
	Tool        string          // as its server calls it
	Description string          // for the model
	Schema      json.RawMessage // JSON Schema of the arguments, compact, keys sorted
	ReadOnly    bool            // hints, as good as the server is honest
	Idempotent  bool
	Destructive bool
}

// Hash returns the SHA-256, in hex, of all that the offer says.
func (o ToolOffer) Hash() string {
	h := sha256.New()
	_ = json.NewEncoder(h).Encode(o) // nothing in it cannot be printed, and a hash takes everything
	return hex.EncodeToString(h.Sum(nil))
}

// A ToolPin is what is known, and was decided, about a tool of an MCP server.
type ToolPin struct {
	Name      string // the name for agents: mcp__server__tool
	Server    string
	State     ToolState
	Reason    string    // why it is blocked or denied
	Hash      string    // of Pinned
	Pinned    ToolOffer // what was approved, or what was seen first
	Offered   ToolOffer // what the server says now
	FirstSeen time.Time
	LastSeen  time.Time
	DecidedBy string // who approved or denied it last, "" when nobody has
	DecidedAt time.Time
}

// Changed reports whether the server says something else than what is pinned.
func (p *ToolPin) Changed() bool { return p.Offered.Hash() != p.Hash }

// An MCPServer tells how a configured MCP server is.
type MCPServer struct {
	Name      string
	Transport string // stdio or http
	Target    string // its command or URL, without secrets
	State     string // disabled, starting, connected, failed
	Error     string // why it failed last, or ""
	Protocol  string // the version agreed on, or ""
	Product   string // what the server calls itself, or ""
	Trusted   bool
	Tools     map[ToolState]int
	Starts    int // how often it was started
	Since     time.Time
	NextStart time.Time // when it is started again; zero when it runs
}
