package wasm

import (
	"slices"
	"strings"

	"github.com/caxton/caxton"
)

// A Grant names what a guest may do besides reading its message and answering it.
type Grant string

// The grants. An agent has those it is given and no others.
const (
	Messaging Grant = "messaging" // say something to others: the tool send_message
	Memory    Grant = "memory"    // remember and look up: the memory tools
	Tools     Grant = "tools"     // call the tools that the agent is allowed
	StateKeys Grant = "state"     // keep values from one turn to the next
	Log       Grant = "log"       // write to the agent's log
	Clock     Grant = "clock"     // see the time of day
	Random    Grant = "random"    // draw numbers that nobody can foresee
	Settings  Grant = "config"    // read the agent's parameters
	Waking    Grant = "timers"    // be woken later
	HTTP      Grant = "http"      // fetch from the network: the tool http_client
)

// AllGrants returns every grant, sorted by name.
func AllGrants() []Grant {
	return []Grant{Clock, Settings, HTTP, Log, Memory, Messaging, Random, StateKeys, Waking, Tools}
}

// A Dir lets a guest see one directory of the server. Nothing outside of it can be reached,
// whatever links there are in it.
type Dir struct {
	Guest string // as the guest sees it: "/data"
	Host  string // a directory
	Write bool   // it may change what is there
}

// GrantsOf returns the grants that follow from a definition: what its tools allow, and what
// does no harm to others: its log, the clock, random numbers, its own state and parameters.
func GrantsOf(d *caxton.Definition) []Grant {
	gs := []Grant{Log, Clock, Random, StateKeys, Settings}
	if len(d.Tools) > 0 {
		gs = append(gs, Tools)
	}
	if d.HasTool("send_message") {
		gs = append(gs, Messaging)
	}
	if d.HasTool("http_client") {
		gs = append(gs, HTTP)
	}
	if slices.ContainsFunc(memoryTools(), d.HasTool) {
		gs = append(gs, Memory)
	}
	return gs
}

func memoryTools() []string {
	return []string{"memory_store", "memory_search", "memory_relate", "memory_forget"}
}

// grants is a set of them.
type grants []Grant

// has reports whether g is granted. The empty Grant is what everybody has.
func (gs grants) has(g Grant) bool { return g == "" || slices.Contains(gs, g) }

func (gs grants) String() string {
	if len(gs) == 0 {
		return "nothing"
	}
	names := make([]string, len(gs))
	for i, g := range gs {
		names[i] = string(g)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
