package meter

import (
	"crypto/sha256"
	"strings"
	"time"
)

// Scheme is the version of the rewriting: a module rewritten under one number has the same
// bytes and the same costs for ever. It belongs into the key of whatever is derived from one.
const Scheme = 2

// The names that belong to the meter. A guest may neither import from HookModule nor import
// or export anything called FuelExport or StackExport.
const (
	HookModule   = "caxton.meter"
	HookName     = "refuel"
	OverflowName = "overflow"
	FuelExport   = "caxton.meter.fuel"
	StackExport  = "caxton.meter.stack"
)

// A Module is a rewritten module, and what was found in the original.
type Module struct {
	Bytes  []byte            // the rewritten module
	SHA256 [sha256.Size]byte // of the original
	Scheme int               // Scheme, when it was rewritten

	// InitialFuel is the price of making an instance: what the initialisers copy, and the
	// memory and tables there are from the start. The start function is metered as it runs.
	InitialFuel int64

	// Compile is how long compiling may take at the worst, on a slow processor, as far as it
	// can be told from the code. Mostly it takes less.
	Compile time.Duration

	Imports []Import // without the hooks
	Exports []Export // without the gauges
	Memory  *Memory  // nil without one
	Tables  []Table  // imported ones first
	Start   int      // index of the start function in the original, or -1
	Custom  []Custom
	Counts  Counts
}

// Counts says how much of each thing the original has, imports included.
type Counts struct {
	Types, Functions, Globals, ElementSegments, DataSegments int
	CodeBytes                                                int // all function bodies
	Charges, Looks                                           int // places that charge, and that look whether the balance is below zero
	Recursive                                                int // functions that take their frames from the stack
}

// A Kind is what an import or export is.
type Kind byte

// The kinds, as the binary format numbers them.
const (
	FunctionKind Kind = iota
	TableKind
	MemoryKind
	GlobalKind
)

// String returns the kind in one word.
func (k Kind) String() string {
	switch k {
	case FunctionKind:
		return "function"
	case TableKind:
		return "table"
	case MemoryKind:
		return "memory"
	case GlobalKind:
		return "global"
	default:
		return "unknown"
	}
}

// A Signature is the type of a function.
type Signature struct{ Parameters, Results []ValueType }

// String returns the signature as (i32, i32) -> (i64).
func (s Signature) String() string { return join(s.Parameters) + " -> " + join(s.Results) }

func join(types []ValueType) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.String()
	}
	return "(" + strings.Join(names, ", ") + ")"
}

// An Import is what the module asks its host for.
type Import struct {
	Module, Name string
	Kind         Kind
	Signature    *Signature // of a function
	Global       *Global    // of a global
}

// An Export is what the module shows its host.
type Export struct {
	Name      string
	Kind      Kind
	Index     int        // in the original
	Signature *Signature // of a function
}

// A Global is the type of a global.
type Global struct {
	Type    ValueType
	Mutable bool
}

// A Memory is the module's memory, in pages of 64 KiB.
type Memory struct {
	Imported bool
	Min, Max uint32 // Max after clamping; an imported memory is bounded by who provides it
	Declared bool   // whether the original names a maximum
}

// A Table is one table of the module.
type Table struct {
	Imported bool
	Type     ValueType
	Min, Max uint32 // Max after clamping
	Declared bool
}

// A Custom is a custom section. Debug information gives positions in the original's code,
// which is no longer there, so it is dropped; so are a linker's sections.
type Custom struct {
	Name    string
	Size    int
	Dropped bool
}

// Rewrite reads a module, checks it against opts and returns it metered. The same bytes and
// options give the same result. Every error is a *caxton.Error that says where the fault is.
func Rewrite(module []byte, opts Options) (*Module, error) {
	p := &parser{
		reader: reader{buf: module, end: len(module)},
		opts:   opts.withDefaults(),
		place:  place{function: -1},
		module: &Module{SHA256: sha256.Sum256(module), Scheme: Scheme, Start: -1},
	}
	p.split()
	p.names = p.readNames()
	p.readSections()
	if p.failed() {
		p.place.name = p.names.function(p.place.function)
		return nil, p.fault.at(p.place)
	}
	p.module.Bytes = p.emit()
	return p.module, nil
}
