// Package memdb keeps what agents remember in the SQLite file memory.db: entities, observations
// and relations with where they came from and both clocks, the index of their words, and
// their embeddings. *DB is a memory.Store, a memory.VectorStore and a memory.Keeper.
//
// It decides nothing about what is worth remembering and how search results are weighed;
// internal/memory/engine does, and calls it from any goroutine.
//
// # Two clocks
//
// An observation's row is written once. It says from when it is known, from when to when it was
// said to be true, and which line it is in: those that tell the same of an entity, by their
// key or because one replaces the other. What was true at a time V, as far as was known at a
// time K, is what is known at K (not reverted and not forgotten by then), is said to be true at V, and
// has nothing later in its line of which the same can be said. So a new address hides the old
// one from its own beginning on and not before; the old one still answers for the time before,
// and, known as of a day before the new one came, for all time; and when the new one is
// reverted, the old one needs no repair, in whatever order things came. Nothing else
// is kept about who superseded whom. What is forgotten, not reverted, goes on to hide what it
// superseded: who asks to forget an address does not want to hear of the one before.
//
// A note with a Key and without a beginning holds from when it was known, if it takes the place
// of another: something changed. One that Replaces an observation takes over its beginning: it
// was wrong. One of the same text as a current one is not another observation; but if it came from
// elsewhere it is kept aside, and counts when the first one is reverted.
//
// The column state says what a search for the present may take for granted: 0 holds until
// another write, 1 has to be looked at with the clock in hand, 2 is past. Only a write changes it.
//
// The rows of a relation follow the same rule, except that the last one counts whole.
//
// # Names
//
// A name is brought to Unicode NFC, and space around it and repeated within is dropped. It is unique in
// its scope as it is written; Named and Filter find it ignoring case.
//
// # Times of a Filter
//
// Since and Until ask for what was true at some time within; of what was remembered without any
// time it counts when it became known.
//
// # Writing and reading
//
// Whoever writes queues a job and then takes the lock of the one writing connection; who gets
// it first commits everything queued, each job in a savepoint of its own, in one transaction. Reads run
// on connections of a pool, each in a transaction, so that they see one state. Run moves the
// write-ahead log into the file.
package memdb
