// Package sqlite keeps everything a node must not lose in one SQLite file: the journal (one
// append-only log of records per conversation), the registry's state, full tool results,
// and the agents' own logs. It owns the schema and its migrations; it refuses to decide
// anything: what a record means is the business of internal/router and internal/prompt.
//
// One connection writes, and one goroutine at a time uses it. A caller who is alone does its
// write itself; callers who come while another writes queue functions, and Run gathers all
// that wait into one transaction and commits once for all of them (group commit), so that
// 64 callers share one sync. Reads go through a pool of read-only connections and never wait
// for the writer. Checkpoints of the write-ahead log run on a connection of their own, off
// the commit path, because they are the slowest thing SQLite does.
//
// A message enters by Accept, its turn adds records by Append, and Settle ends it together
// with its outputs, each in one transaction. What was accepted and not settled is in the
// table pending, which Pending reads after a restart. Callers are the router's and the
// agents' goroutines, any number at once.
package sqlite
