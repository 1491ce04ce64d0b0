// Package embeddingtest holds the conformance suite of embedders, an embedder for the tests of
// others, a server that speaks OpenAI's embeddings, and a small model in the files that
// sentence-transformers publishes. Only test files import it.
package embeddingtest
