package mcp

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
)

// trusted is who decided about tools of servers that the configuration trusts.
const trusted = "configuration (trust)"

// distrusted returns the pin of a tool that was approved only because its server was trusted,
// which it is no more: as if nobody had decided about it.
func distrusted(p caxton.ToolPin) caxton.ToolPin {
	p.State, p.DecidedBy, p.DecidedAt = caxton.ToolQuarantined, "", time.Time{}
	p.Reason = "it was approved because the configuration trusted its server, and it does so no more"
	return p
}

// An offer is one tool of a server's list, read and measured.
type offer struct {
	caxton.ToolOffer
	fault string // why it cannot be used
}

// set puts what is known of a tool into force; the caller holds change.
func (s *Servers) set(k *known) {
	k.entry = s.entry(k)
	s.mu.Lock()
	s.known[k.pin.Name] = k
	s.mu.Unlock()
}

// entry makes the tool that agents and people see.
func (s *Servers) entry(k *known) *tool.Entry {
	p := &k.pin
	srv := s.servers[p.Server]
	t := &remote{servers: s, server: srv, name: p.Name, hash: p.Hash, said: p.Pinned}
	t.spec = tool.Spec{
		Name: p.Name, Description: p.Pinned.Description, Parameters: p.Pinned.Schema, Source: "mcp:" + p.Server, State: p.State, Reason: p.Reason,
		Idempotent: srv.idempotent(p.Pinned),
	}
	if why := refusal(k); why != nil {
		t.spec.Reason = why.Message
		return tool.NewRefused(t, why)
	}
	e, err := tool.NewEntry(t)
	if err != nil { // it was usable when it was approved: by another version of this program
		why := caxton.Errorf(caxton.Forbidden, "tool_blocked", "the tool %s is blocked: %s", p.Name, reason(err)).WithCause(err)
		t.spec.State, t.spec.Reason = caxton.ToolBlocked, why.Message
		return tool.NewRefused(t, why)
	}
	return e
}

// refusal returns why a tool may not be called now, or nil.
func refusal(k *known) *caxton.Error {
	p := &k.pin
	switch p.State {
	case caxton.ToolQuarantined:
		return caxton.Errorf(caxton.Forbidden, "tool_quarantined", "the tool %s waits for an operator's approval", p.Name).
			WithHint("an operator looks at it with caxton tools show %s, and lets it in with caxton tools approve %s", p.Name, p.Name)
	case caxton.ToolBlocked:
		return caxton.Errorf(caxton.Forbidden, "tool_blocked", "the tool %s is blocked: %s", p.Name, p.Reason).
			WithHint("an operator looks at it with caxton tools show %s, and decides with caxton tools approve or deny", p.Name)
	case caxton.ToolDenied:
		return caxton.Errorf(caxton.Forbidden, "tool_denied", "the tool %s was denied by %s", p.Name, p.DecidedBy)
	case caxton.ToolApproved:
		if k.asked && !k.live {
			return caxton.Errorf(caxton.Unavailable, "tool_gone", "the MCP server %s does not offer the tool %s any more", p.Server, p.Pinned.Tool)
		}
	}
	return nil
}

// observe holds what a server offers now against the pins.
func (s *Servers) observe(ctx context.Context, srv *server, offers []offer) error {
	s.change.Lock()
	defer s.change.Unlock()
	now := s.cfg.Now().UTC()
	seen := map[string]bool{}
	var next []*known
	var save []caxton.ToolPin
	for _, o := range offers {
		name := caxton.MCPToolName(srv.name, o.Tool)
		if seen[name] || !srv.serves(o.Tool) {
			continue // two of one name are one offer with a fault; see read
		}
		seen[name] = true
		k := &known{live: true, asked: true, fault: o.fault}
		var note func()
		k.pin, note = s.judge(ctx, srv, s.lookup(name), name, o, now)
		note()
		next, save = append(next, k), append(save, k.pin)
	}
	s.mu.RLock()
	for name, k := range s.known {
		if k.pin.Server == srv.name && !seen[name] {
			if k.live {
				s.cfg.Logger.WarnContext(ctx, "mcp tool gone", "server", srv.name, "tool", name)
			}
			next = append(next, &known{pin: k.pin, asked: true, fault: k.fault})
		}
	}
	s.mu.RUnlock()
	// What is stored first is in force after a crash; what cannot be stored comes into force
	// only as far as it takes something away.
	err := s.store.SaveToolPins(ctx, save...)
	for _, k := range next {
		if err != nil && k.pin.State == caxton.ToolApproved {
			if old := s.lookup(k.pin.Name); old == nil || old.pin.State != caxton.ToolApproved {
				continue
			}
		}
		s.set(k)
	}
	s.count(srv)
	return err
}

// judge returns the pin of a tool after its server offered o, and a function that tells about it.
func (s *Servers) judge(ctx context.Context, srv *server, old *known, name string, o offer, now time.Time) (caxton.ToolPin, func()) {
	log := s.cfg.Logger.With("server", srv.name, "tool", name)
	hash := o.Hash()
	if old == nil {
		p := caxton.ToolPin{
			Name: name, Server: srv.name, State: caxton.ToolQuarantined, Hash: hash, Pinned: o.ToolOffer, Offered: o.ToolOffer, FirstSeen: now, LastSeen: now,
		}
		switch {
		case o.fault != "":
			p.State, p.Reason = caxton.ToolBlocked, o.fault
			return p, func() { log.WarnContext(ctx, "mcp tool blocked", "reason", o.fault) }
		case srv.cfg.Trust:
			p.State, p.DecidedBy, p.DecidedAt = caxton.ToolApproved, trusted, now
			return p, func() { log.InfoContext(ctx, "mcp tool approved at first sight", "hash", hash) }
		}
		return p, func() {
			log.WarnContext(ctx, "mcp tool quarantined", "hash", hash, "hint", "caxton tools approve "+name)
		}
	}
	p := old.pin
	p.LastSeen, p.Offered = now, o.ToolOffer
	before, quiet := p.State, func() {}
	decided := p.DecidedBy != "" // what is pinned was let in once
	switch {
	case before == caxton.ToolDenied:
	case o.fault != "":
		p.State, p.Reason = caxton.ToolBlocked, o.fault
	case hash == p.Hash && decided:
		p.State, p.Reason = caxton.ToolApproved, ""
	case decided:
		p.State, p.Reason = caxton.ToolBlocked, fmt.Sprintf("its %s changed since %s approved it", difference(p.Pinned, o.ToolOffer), p.DecidedBy)
	default: // nobody approved anything yet: what is seen now is what waits
		p.State, p.Reason, p.Hash, p.Pinned = caxton.ToolQuarantined, "", hash, o.ToolOffer
		if srv.cfg.Trust {
			p.State, p.DecidedBy, p.DecidedAt = caxton.ToolApproved, trusted, now
		}
	}
	switch {
	case p.State == before && (p.Reason == old.pin.Reason || before == caxton.ToolQuarantined):
		return p, quiet
	case p.State == caxton.ToolBlocked:
		return p, func() {
			s.metrics.changes.WithLabelValues(srv.name).Inc()
			log.WarnContext(ctx, "mcp tool blocked", "reason", p.Reason, "pinned_hash", p.Hash, "offered_hash", hash, "hint", "caxton tools show "+name)
		}
	}
	return p, func() { log.InfoContext(ctx, "mcp tool state changed", "from", before, "to", p.State) }
}

// difference names the parts in which two offers differ.
func difference(a, b caxton.ToolOffer) string {
	var parts []string
	for _, p := range []struct {
		name string
		same bool
	}{
		{"name", a.Tool == b.Tool},
		{"description", a.Description == b.Description},
		{"schema", string(a.Schema) == string(b.Schema)},
		{"hints", a.ReadOnly == b.ReadOnly && a.Idempotent == b.Idempotent && a.Destructive == b.Destructive},
	} {
		if !p.same {
			parts = append(parts, p.name)
		}
	}
	return strings.Join(parts, " and ")
}

// Approve lets a tool in as its server offers it now: with a hash, only when that is what it
// offers, and without one, only when it is what Pin told last, if it told of the tool. It is a
// Conflict when it changed in the meantime, or when the tool cannot be used at all.
func (s *Servers) Approve(ctx context.Context, name, hash, by string) (caxton.ToolPin, error) {
	return s.decide(ctx, name, func(k *known, p *caxton.ToolPin) error {
		if k.fault != "" {
			return caxton.Errorf(caxton.Conflict, "tool_unusable", "the tool %s cannot be approved: %s", p.Name, k.fault).
				WithHint("its server has to mend it")
		}
		offered := p.Offered.Hash()
		if hash == "" {
			s.mu.RLock()
			hash = s.shown[p.Name]
			s.mu.RUnlock()
		}
		if hash != "" && hash != offered {
			return caxton.Errorf(caxton.Conflict, "tool_changed", "the tool %s is offered with the hash %s, not %s", p.Name, offered, hash).
				WithHint("look at it again with caxton tools show %s", p.Name)
		}
		p.State, p.Reason, p.Hash, p.Pinned = caxton.ToolApproved, "", offered, p.Offered
		p.DecidedBy, p.DecidedAt = by, s.cfg.Now().UTC()
		return nil
	})
}

// Deny refuses a tool for good: until it is approved.
func (s *Servers) Deny(ctx context.Context, name, why, by string) (caxton.ToolPin, error) {
	return s.decide(ctx, name, func(_ *known, p *caxton.ToolPin) error {
		p.State, p.Reason, p.DecidedBy, p.DecidedAt = caxton.ToolDenied, why, by, s.cfg.Now().UTC()
		return nil
	})
}

func (s *Servers) decide(ctx context.Context, name string, change func(k *known, p *caxton.ToolPin) error) (caxton.ToolPin, error) {
	s.change.Lock()
	defer s.change.Unlock()
	p, err := s.pin(name)
	if err != nil {
		return p, err
	}
	old := s.lookup(p.Name)
	if err := change(old, &p); err != nil {
		return caxton.ToolPin{}, err
	}
	if err := s.store.SaveToolPins(ctx, p); err != nil {
		return caxton.ToolPin{}, err
	}
	s.set(&known{pin: p, live: old.live, asked: old.asked, fault: old.fault})
	s.count(s.servers[p.Server])
	s.cfg.Logger.InfoContext(ctx, "mcp tool decided", "server", p.Server, "tool", p.Name, "state", p.State, "by", p.DecidedBy, "hash", p.Hash)
	return p, nil
}

// count sets the gauges of a server's tools.
func (s *Servers) count(srv *server) {
	counts := map[caxton.ToolState]float64{}
	s.mu.RLock()
	for _, k := range s.known {
		if k.pin.Server == srv.name {
			counts[k.pin.State]++
		}
	}
	s.mu.RUnlock()
	for _, st := range []caxton.ToolState{caxton.ToolQuarantined, caxton.ToolApproved, caxton.ToolBlocked, caxton.ToolDenied} {
		s.metrics.tools.WithLabelValues(srv.name, string(st)).Set(counts[st])
	}
}

// serves reports whether a tool of the server is there for us.
func (srv *server) serves(toolName string) bool {
	matches := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			return caxton.ToolGrant{Name: srv.name + "." + p}.Allows(caxton.MCPToolName(srv.name, toolName))
		})
	}
	return (srv.cfg.Include == nil || matches(srv.cfg.Include)) && !matches(srv.cfg.Exclude)
}

// idempotent reports whether a call of the tool may be repeated under the same key.
func (srv *server) idempotent(o caxton.ToolOffer) bool {
	return slices.Contains(srv.cfg.Idempotent, o.Tool) || srv.cfg.Trust && (o.ReadOnly || o.Idempotent)
}
