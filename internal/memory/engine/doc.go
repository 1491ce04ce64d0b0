// Package engine is the memory of agents: it remembers, finds and forgets. It owns the index
// of vectors and the graph in memory, how the signals of a search become one score, and when
// what is remembered is embedded, cleaned and compacted. It refuses to keep anything itself:
// the truth is in a Store, and the index and the graph follow it.
//
// A write is embedded first, then kept by the store with its vectors; then the engine asks
// the store what changed since the last mark and applies that to the index, whatever the
// write was. So the index is a function of the store's log, and a checkpoint of it is exact.
// A search embeds the query, takes candidates from the index and from the store's words,
// measures every signal on each of them, fuses them, and lets the graph speak. What it
// returns has been read from the store within the Access of who asked.
//
// Any goroutine may call any method. New starts nothing; Run, started by internal/node, loads
// the index and the graph, embeds what has no vector, saves checkpoints and does the upkeep,
// and returns when all that has ended. internal/httpd, internal/prompt and the tools of agents
// call the rest.
package engine
