// Package wasm is the handler of a module agent. It owns compiling, the contracts between a
// module and the server, the functions that a module may import, and the limits it runs
// under; it refuses to store modules, to permit tools and to keep the log: who makes it gives
// it bytes, a Calls for each turn, and a State.
//
// A Runtime compiles a module once, at deploy: Inspect tells everything that is wrong with it,
// Agent checks it, rewrites it so that it counts what it executes (internal/wasm/meter),
// compiles it or takes the compiled form from the cache on disk, and returns the Agent of a
// version. For each message the Agent takes an instance of the module: a command gets a fresh
// one, a reactor one of its pool. The guest reads the message, calls host functions, and
// answers; the answers become the outputs of the turn. A guest that traps, or is stopped, is
// thrown away with its instance. What a guest may import besides the message is granted by
// name (Grant); an import that nothing grants is refused before the module is compiled.
//
// A turn that counts for nothing runs in an instance of its own, and nothing of it lasts: Shadow
// answers along with another version, Replay does a turn of the log again. MigrateState brings
// the state of one version over to another.
//
// A guest runs in the goroutine of its turn. What it executes is counted in instructions; the
// count runs out at intervals, and then a hook looks at the budget, the deadline and whether
// the turn was called off. So an endless loop ends, and does not hold up the garbage
// collector meanwhile.
//
// internal/agent calls Handle from its workers, any number at once. internal/node calls Run,
// which ends idle instances, and closes the Runtime after the last turn.
package wasm
