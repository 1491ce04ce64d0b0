// Package meter makes a WebAssembly module metered and bounded before it is compiled.
//
// Rewrite reads a whole module strictly, refuses what the server does not run, and writes it
// again with a counter: each basic block takes its number of instructions from a hidden global,
// and calls the host when the global falls below zero. So a guest can be stopped after an exact
// number of instructions, at a deadline, or at shutdown, wherever it is and whatever it does.
// docs/fuel.md says what things cost.
//
// # Contract with the host
//
// A rewritten module imports one function the original did not:
//
//	HookModule.HookName (balance i64) -> (balance i64)
//
// It is called with the balance, which is negative, from within the guest, and returns the
// balance to go on with. It must add what it grants to what it is given, so that no debt is
// lost, and return at least zero: until it does, the guest calls again. To end the guest it
// panics. It must not call the guest.
//
// A rewritten module exports its balance as the mutable i64 global FuelExport. It begins at zero,
// so the first look, in a start function too, calls the hook. The host may read and set it
// between calls, and from within host functions to charge for what they do. What a guest has
// used is what was granted less the balance. The guest looks at its balance at the heads of
// loops and the starts of functions, and so a call may return with a debt: the host pays it
// from what it would have granted, or treats the run as out of fuel. Guests cannot reach it: they
// may neither import nor export the reserved names, an instance cannot look at its own exports,
// and no instruction of the original may name an index that the original does not have.
//
// Before an instance is made the host charges Module.InitialFuel for the work of making it.
//
// # Why a guest cannot reach what is hidden
//
// The hidden function import comes after all imports of the original, so in its index space
// there is a gap that no renumbered index falls into: an index below it stays, all others are
// one higher. The hidden global and the hidden functions come at the end of their spaces, and
// Rewrite refuses any index at or above the original's count. There are no hidden locals. What
// is added to a function takes from the stack what it puts back, of the same types, so a
// rewritten function is valid exactly when the original is; the types are checked by the engine.
package meter
