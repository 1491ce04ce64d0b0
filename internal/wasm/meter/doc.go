// Package meter makes a WebAssembly module metered and bounded before it is compiled.
//
// Rewrite reads a whole module strictly, refuses what the server does not run, and writes it
// again with a counter: each basic block takes its number of instructions from a hidden global,
// and calls the host when the global falls below zero. So a guest can be stopped after an exact
// number of instructions, at a deadline, or at shutdown, wherever it is and whatever it does.
// A second counter is taken from where functions call each other in a circle, so that recursion
// ends at the same depth on every machine. docs/fuel.md says what things cost.
//
// # Contract with the host
//
// A rewritten module imports two functions the original did not:
//
//	HookModule.HookName (balance i64) -> (balance i64)
//	HookModule.OverflowName ()
//
// The first is called with the balance, which is negative, from within the guest, and returns the
// balance to go on with. It must add what it grants to what it is given, so that no debt is
// lost, and return at least zero: until it does, the guest calls again. To end the guest it
// panics. It must not call the guest. The second is called when the stack is used up, and panics.
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
// What is left of the stack is the mutable i64 global StackExport, which begins at Options.Stack.
// A call that returns leaves it as it was, and a call within a host function goes on from it.
// After a call with an error the host puts it back to what it was before, or gives up the instance.
//
// Before an instance is made the host charges Module.InitialFuel for the work of making it.
//
// # Why a guest cannot reach what is hidden
//
// The hidden function imports come after all imports of the original, so in their index space
// there is a gap that no renumbered index falls into: an index below it stays, all others are
// two higher. The hidden globals and the hidden functions come at the end of their spaces, and
// Rewrite refuses any index at or above the original's count. There are no hidden locals. What
// is added to a function takes from the stack what it puts back, of the same types, or is a
// block around all of the function, so a rewritten function is valid exactly when the original
// is; the types are checked by the engine.
package meter
