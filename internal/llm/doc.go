// Package llm says what a language model is to Caxton: it answers a request, and may show its
// answer while it makes it. It owns the contract, the fallback chain, the breaker that all
// who call a provider share, and what adapters have in common: the kinds of errors, and that
// no secret gets out. It refuses to know any provider.
//
// A request goes from internal/prompt, on an agent's worker goroutine, to the model that the
// Catalog chose for the agent: a Chain of Guarded models, each around an adapter below
// internal/llm/…. Pieces of a streamed answer come back on the same goroutine. internal/node
// builds the Catalog; the package starts no goroutine.
package llm
