// Package memory has the words in which agents' memory is spoken of between the engine that
// decides (internal/memory/engine), the stores that keep (internal/memdb) and those who
// remember and search (internal/prompt, internal/tool/remembering, internal/httpd), and the
// contract that a store keeps to.
//
// It owns no state and does nothing. What it says of a Store is checked by
// internal/memory/memorytest, which every store passes.
package memory
