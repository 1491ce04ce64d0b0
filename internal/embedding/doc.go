// Package embedding turns texts into vectors of unit length, by whichever model
// memory.embedding_model names: the one in the program, one in a directory, one from a model
// hub, or one of a server that speaks OpenAI's embeddings. It owns the choice, the cache and the
// batches; it refuses to compare vectors, to keep them, or to fall back to another model, as
// vectors of two models cannot be compared and only the caller knows what it has stored.
//
// Embed looks each text up in the cache. Texts that are not there are queued, one that somebody
// else is waiting for already is waited for too, and whoever holds one of a few permits embeds
// what is queued, up to the size of a batch, for everybody. So a text that comes alone is not
// held up, texts that come while others are being embedded go together, and there is no
// goroutine that would have to be started or stopped. One permit is kept from calls of several
// texts, so that a search does not wait behind an import. When a caller leaves while it embeds for
// others, their texts go back to the head of the queue. The queue is bounded: when it is full,
// texts are refused with Exhausted.
//
// internal/memory and internal/llm/builtin call Embed from any number of goroutines; node calls
// Open once at the start, and Close at the end.
package embedding
