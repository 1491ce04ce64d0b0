package engine

import (
	"context"
	"time"

	"github.com/caxton/caxton/internal/memory"
)

// Walk is what a traversal does in memory, without reading entities and relations.
func (e *Engine) Walk(t memory.Traversal) (nodes, edges int) {
	ns, es, _, _ := e.reach(t, nil)
	return len(ns), len(es)
}

// A Question is a query taken apart.
type Question struct {
	Persons, Things, IDs []string
	Content, Meaning     string
	From, To             time.Time
	Now                  bool
}

// Ask takes a query apart.
func (e *Engine) Ask(ctx context.Context, a memory.Access, text string, now time.Time) (Question, error) {
	q, err := e.ask(ctx, memory.Query{Access: a, Text: text}, now)
	return Question{q.persons, q.things, q.ids, q.content, q.meaning, q.when.from, q.when.to, q.now}, err
}

// Line returns a snippet as it stands in a prompt.
func Line(s memory.Snippet) string { return line(s) }

// Redact replaces what looks like a secret.
func Redact(text string) string { return redact(text) }

// Similarity is the score that a sum of signals comes to.
func Similarity(x float64) float64 { return similarity(x) }

// Warm reads what the graph keeps of its nodes and edges.
func (e *Engine) Warm(ctx context.Context) {
	e.graph.mu.Lock()
	e.graph.details.cold = true
	e.graph.mu.Unlock()
	e.warm(ctx)
}
