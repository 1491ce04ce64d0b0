package router

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/caxton/caxton"
)

// Limits bound every conversation. A zero field bounds nothing. An agent's definition may set
// closer bounds on turns and idle time.
type Limits struct {
	MaxTurns        int           // messages sent to agents in one conversation
	MaxParticipants int           // names in one conversation
	IdleTimeout     time.Duration // without a message, after which it is archived
	MaxLifetime     time.Duration // since its first record, after which it is archived
	Sweep           time.Duration // between looks for conversations to archive: 1 h
}

// An extent is how far a conversation has come.
type extent struct {
	turns int
	names []string
	first time.Time
	last  time.Time // of its messages
}

func (e *extent) add(m *caxton.Message) {
	if m.ReceiverID != "" {
		e.turns++
	}
	for _, n := range []string{m.Sender, m.Receiver} {
		if n != "" && !slices.Contains(e.names, n) {
			e.names = append(e.names, n)
		}
	}
	if e.first.IsZero() {
		e.first = m.CreatedAt
	}
	e.last = m.CreatedAt
}

// extents remembers conversations, so that a message need not read all that came before it.
type extents struct {
	mu sync.Mutex // guards all
	of map[caxton.ConversationID]*extent
}

// maxExtents bounds what extents remembers.
const maxExtents = 10_000

// forget has the next message read the conversation again.
func (r *Router) forget(id caxton.ConversationID) {
	r.extents.mu.Lock()
	defer r.extents.mu.Unlock()
	delete(r.extents.of, id)
}

// within checks a message to an agent against the limits of its conversation and counts it.
func (r *Router) within(ctx context.Context, m *caxton.Message, agent *caxton.Agent) error {
	l := r.cfg.Limits
	own := agent.Definition.Conversation
	turns, idle := closer(l.MaxTurns, own.MaxTurns), closer(l.IdleTimeout, own.Timeout)
	if turns == 0 && idle == 0 && l.MaxParticipants == 0 && l.MaxLifetime == 0 {
		return nil
	}
	if err := r.measure(ctx, m.ConversationID); err != nil {
		return err
	}
	ended, err := r.count(m, turns, idle)
	if err != nil || ended == "" {
		return err
	}
	if err := r.end(ctx, m, idle, ended); err != nil {
		return err
	}
	_, err = r.count(m, turns, 0) // it still has work to do, or was answered meanwhile
	return err
}

// closer returns the smaller of two bounds, of which 0 is none.
func closer[T int | time.Duration](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// measure reads a conversation that is not remembered.
func (r *Router) measure(ctx context.Context, id caxton.ConversationID) error {
	r.extents.mu.Lock()
	_, known := r.extents.of[id]
	r.extents.mu.Unlock()
	if known {
		return nil
	}
	ms, err := r.journal.Messages(ctx, id)
	if err != nil {
		return err
	}
	e := &extent{}
	for i := range ms {
		e.add(&ms[i])
	}
	if len(ms) > 0 {
		c, err := r.journal.Conversation(ctx, id)
		if err != nil {
			return err
		}
		e.first, e.last = c.CreatedAt, c.LastActivity // of a fork, later than its messages
	}
	r.extents.mu.Lock()
	defer r.extents.mu.Unlock()
	if len(r.extents.of) >= maxExtents || r.extents.of == nil {
		r.extents.of = map[caxton.ConversationID]*extent{}
	}
	if r.extents.of[id] == nil {
		r.extents.of[id] = e
	}
	return nil
}

// count adds a message to its conversation, or says why it may not come in: an error, or the
// name of the time that seems to be over.
func (r *Router) count(m *caxton.Message, turns int, idle time.Duration) (ended string, err error) {
	l := r.cfg.Limits
	r.extents.mu.Lock()
	defer r.extents.mu.Unlock()
	e := r.extents.of[m.ConversationID]
	if e == nil { // forgotten just now
		return "", nil
	}
	next := *e
	next.names = slices.Clone(e.names)
	next.add(m)
	now := r.cfg.Now()
	switch {
	case turns > 0 && next.turns > turns:
		return "", caxton.Errorf(caxton.Exhausted, "conversation_turns", "conversation %s has had its %d turns", m.ConversationID, turns).
			WithHint("start a new conversation, or raise conversation.max_turns of the agent or messaging.conversation.max_turns")
	case l.MaxParticipants > 0 && len(next.names) > l.MaxParticipants && len(next.names) > len(e.names):
		return "", caxton.Errorf(caxton.Exhausted, "conversation_participants", "conversation %s has %d participants, %d is the limit", m.ConversationID, len(e.names), l.MaxParticipants).
			WithHint("start a new conversation, or raise messaging.conversation.max_participants")
	case l.MaxLifetime > 0 && !e.first.IsZero() && now.Sub(e.first) >= l.MaxLifetime:
		return "lifetime", nil
	case idle > 0 && !e.last.IsZero() && now.Sub(e.last) >= idle:
		return "idle", nil
	}
	*e = next
	return "", nil
}

// end refuses a message to a conversation whose time is over, and archives that. One that
// still has work to do is not idle.
func (r *Router) end(ctx context.Context, m *caxton.Message, idle time.Duration, which string) error {
	c, err := r.journal.Conversation(ctx, m.ConversationID)
	if err != nil {
		return err
	}
	limit, since := r.cfg.Limits.MaxLifetime, "since it began"
	if which == "idle" {
		limit, since = idle, "without a message"
		if c.State == caxton.ConversationActive || r.cfg.Now().Sub(c.LastActivity) < idle {
			return nil
		}
	}
	if c.State == caxton.ConversationIdle {
		if err := r.Archive(context.WithoutCancel(ctx), m.ConversationID, "server", which); err != nil && caxton.KindOf(err) != caxton.Conflict {
			return err
		}
	}
	return caxton.Errorf(caxton.Conflict, "conversation_archived", "conversation %s has ended: %s have passed %s", m.ConversationID, limit, since).
		WithHint("start a new conversation, or fork this one")
}

// Archiver archives conversations whose time is over, until ctx ends.
func (r *Router) Archiver(ctx context.Context) error {
	t := time.NewTicker(cmp.Or(r.cfg.Limits.Sweep, time.Hour))
	defer t.Stop()
	for {
		if n, err := r.Sweep(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Logger.WarnContext(ctx, "conversations not archived", "archived", n, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// Sweep archives every conversation whose time is over and in which nothing waits, and
// returns how many.
func (r *Router) Sweep(ctx context.Context) (int, error) {
	l := r.cfg.Limits
	now := r.cfg.Now()
	total := 0
	sweep := func(why string, q caxton.ConversationQuery) error {
		n, err := r.archiveAll(ctx, why, q)
		total += n
		return err
	}
	if l.IdleTimeout > 0 {
		if err := sweep("idle", caxton.ConversationQuery{Until: now.Add(-l.IdleTimeout)}); err != nil {
			return total, err
		}
	}
	if l.MaxLifetime > 0 {
		if err := sweep("lifetime", caxton.ConversationQuery{BegunBy: now.Add(-l.MaxLifetime)}); err != nil {
			return total, err
		}
	}
	seen := map[caxton.AgentID]bool{}
	for _, c := range r.dir.Capabilities() {
		for _, a := range r.dir.Providers(c) {
			idle := a.Definition.Conversation.Timeout
			if idle <= 0 || seen[a.ID] {
				continue
			}
			seen[a.ID] = true
			if err := sweep("idle", caxton.ConversationQuery{Agent: a.ID, Until: now.Add(-idle)}); err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

func (r *Router) archiveAll(ctx context.Context, why string, q caxton.ConversationQuery) (int, error) {
	q.State, q.Limit = caxton.ConversationIdle, 200
	n := 0
	for {
		cs, next, err := r.journal.Conversations(ctx, q)
		if err != nil {
			return n, err
		}
		for i := range cs {
			err := r.Archive(ctx, cs[i].ID, "server", why)
			if err == nil {
				n++
			} else if caxton.KindOf(err) != caxton.Conflict { // busy again, or archived meanwhile
				return n, err
			}
		}
		if next == "" {
			return n, nil
		}
		q.Before = next
	}
}
