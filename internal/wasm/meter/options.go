package meter

import (
	"cmp"
	"time"

	"github.com/caxton/caxton"
)

// Options are the limits a module is held to. A zero field means the default beside it.
type Options struct {
	MemoryPages   uint32 // most pages of 64 KiB a memory may have; 1,024
	TableElements uint32 // most elements a table may have; 100,000
	Tables        int    // 8
	Stack         int64  // bytes of stack, as docs/fuel.md counts them; 1 MiB

	ModuleBytes     int // size of the module; 50 MiB
	Types           int // 20,000
	Imports         int // 1,000
	Functions       int // imported ones included; 100,000
	Globals         int // 20,000
	Exports         int // 20,000
	ElementSegments int // 20,000
	DataSegments    int // 100,000
	Elements        int // of all element segments; 1,000,000
	Customs         int // custom sections; 1,000
	Joins           int // of one function: branches times locals, and the results they carry: what compiling costs; 5,000,000
	FunctionBytes   int // size of one function; 4 MiB
	Locals          int // of one function, parameters not counted; 10,000
	Nesting         int // blocks within blocks of one function; 10,000
	Parameters      int // of one type, and as many results; 1,000
	BranchTargets   int // of one br_table; 65,520

	Compile      time.Duration // what compiling may take, as it is estimated; 1 min
	CompileBytes caxton.Size   // and memory for one function; 1 GiB
}

const (
	maxPages  = 65536 // what 32 bits can address
	pageBytes = 65536
	mib       = 1 << 20
)

func (o Options) withDefaults() Options {
	o.MemoryPages = min(cmp.Or(o.MemoryPages, 1024), maxPages)
	o.TableElements = cmp.Or(o.TableElements, 100_000)
	o.Tables = cmp.Or(o.Tables, 8)
	o.Stack = cmp.Or(o.Stack, mib)
	o.ModuleBytes = cmp.Or(o.ModuleBytes, 50*mib)
	o.Types = cmp.Or(o.Types, 20_000)
	o.Imports = cmp.Or(o.Imports, 1_000)
	o.Functions = cmp.Or(o.Functions, 100_000)
	o.Globals = cmp.Or(o.Globals, 20_000)
	o.Exports = cmp.Or(o.Exports, 20_000)
	o.ElementSegments = cmp.Or(o.ElementSegments, 20_000)
	o.DataSegments = cmp.Or(o.DataSegments, 100_000)
	o.Elements = cmp.Or(o.Elements, 1_000_000)
	o.Customs = cmp.Or(o.Customs, 1_000)
	o.Joins = cmp.Or(o.Joins, 5_000_000)
	o.FunctionBytes = cmp.Or(o.FunctionBytes, 4*mib)
	o.Locals = cmp.Or(o.Locals, 10_000)
	o.Nesting = cmp.Or(o.Nesting, 10_000)
	o.Parameters = cmp.Or(o.Parameters, 1_000)
	o.BranchTargets = cmp.Or(o.BranchTargets, 65_520)
	o.Compile = cmp.Or(o.Compile, time.Minute)
	o.CompileBytes = cmp.Or(o.CompileBytes, caxton.GiB)
	return o
}
