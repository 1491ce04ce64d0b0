// Package llm says what a language model is to Caxton: one method that answers a request.
// It owns the contract and the fallback chain; it refuses to know any provider. Adapters
// under internal/llm/… implement Model, internal/prompt calls it from an agent's worker
// goroutines, and internal/node connects the two.
package llm
