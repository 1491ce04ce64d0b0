// Package engine is the memory of agents: it remembers, finds and forgets. It owns the index
// of vectors and the graph in memory, how the signals of a search become one score, and when
// what is remembered is embedded, cleaned and compacted. It refuses to keep anything itself:
// the truth is in a Store, and the index and the graph follow it.
//
// A write is embedded first, then kept by the store with its vectors; then the engine asks
// the store what changed since the last mark and applies that to the index, whatever the
// write was. So the index is a function of the store's log, and a checkpoint of it is exact.
// A search takes the query apart first. Names are compared by identity: which words are names,
// the store knows from what is remembered, and a passage counts by the share of them that it is
// about or mentions. Words with digits must stand in a passage as they are. A time in the query
// is compared with when a passage was true. What is left is compared by its words and, with
// "someone" for each person, by its meaning. The candidates come from the index, from the
// store's words and from the names; every signal is measured on each of them, they are fused,
// and the graph speaks: relations, and other persons whom the best passages name. What a search
// returns has been read from the store within the Access of who asked.
//
// Any goroutine may call any method. New starts nothing; Run, started by internal/node, loads
// the index and the graph, embeds what has no vector, saves checkpoints and does the upkeep,
// and returns when all that has ended. internal/httpd, internal/prompt and the tools of agents
// call the rest.
package engine
