package engine

import "github.com/caxton/caxton/internal/memory"

// Walk is what a traversal does in memory, without reading entities and relations.
func (e *Engine) Walk(t memory.Traversal) (nodes, edges int) {
	ns, es, _, _ := e.reach(t, nil)
	return len(ns), len(es)
}
