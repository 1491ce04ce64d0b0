package wasm

import (
	"slices"

	"github.com/tetratelabs/wazero/api"
)

// A Contract is a way for a guest and the server to talk.
type Contract string

// The contracts. A module shows by its exports which one it keeps.
const (
	Command Contract = "command" // WASI: the message on standard input, the answer on standard output
	Reactor Contract = "reactor" // handle_message(ptr, len), with an allocator
	Plugin  Contract = "plugin"  // the Extism plug-in ABI: handle_message()
)

// The modules of the Extism plug-in ABI.
const (
	extismModule = "extism:host/env"
	extismUser   = "extism:host/user"
)

const wasiModule = "wasi_snapshot_preview1"

// A funcType is the type of a function.
type funcType struct{ params, results []api.ValueType }

func (f funcType) String() string { return signature(f.params, f.results) }

// An imported function, as the module declares it.
type imported struct {
	module, name string
	kind         string // "func", "memory", "table", "global", "tag"
	typ          funcType
}

// A shape is what a module shows to the outside.
type shape struct {
	imports   []imported
	functions map[string]funcType // exported, by name
	memory    bool                // exports "memory"
}

// Synonyms of exports, the best first.
func handlerNames() []string { return []string{"handle_message", "handle"} }
func allocNames() []string   { return []string{"caxton_alloc", "alloc", "malloc", "allocate"} }
func freeNames() []string {
	return []string{"caxton_free", "free", "dealloc", "deallocate"}
}

// A entry says how a module is run.
type entry struct {
	contract Contract
	start    string // called once for each instance, or ""
	handle   string
	packed   bool // handle returns where the answer is: pointer << 32 | length
	alloc    string
	free     string
	freeLen  bool // free takes the length too
}

// entryOf recognises the contract of a module. A fault says what is missing.
func entryOf(s *shape) (e entry, faults []string) {
	plugin := slices.ContainsFunc(s.imports, func(i imported) bool { return i.module == extismModule })
	name, typ, found := s.first(handlerNames())
	_, command := s.functions["_start"]
	switch {
	case found && plugin:
		e.contract, e.handle = Plugin, name
		if !same(typ, nil, i32) && !same(typ, nil, 0) {
			faults = append(faults, "the export "+name+" is "+typ.String()+"; a plug-in has "+name+"() -> i32")
		}
	case found:
		e.contract, e.handle = Reactor, name
		e.packed = same(typ, types(i32, i32), i64)
		if !e.packed && !same(typ, types(i32, i32), i32) && !same(typ, types(i32, i32), 0) {
			faults = append(faults, "the export "+name+" is "+typ.String()+"; it has to be (i32, i32) -> i32, or -> i64")
		}
		faults = append(faults, e.allocator(s)...)
	case command:
		e.contract, e.handle = Command, "_start"
		if !same(s.functions["_start"], nil, 0) {
			faults = append(faults, "the export _start is "+s.functions["_start"].String()+"; it has to be ()")
		}
	default:
		faults = append(faults, "it exports neither _start (a WASI command) nor handle_message (a reactor or a plug-in)")
		if _, sdk := s.functions["create_agent"]; sdk {
			faults = append(faults, "it exports create_agent: objects are not a contract here; export handle_message besides")
		}
	}
	if e.contract != Command {
		for _, n := range []string{"_initialize", "_start", "__wasm_call_ctors"} {
			if typ, ok := s.functions[n]; ok && same(typ, nil, 0) {
				e.start = n
				break
			}
		}
	}
	if !s.memory && len(faults) == 0 && e.contract != Plugin {
		faults = append(faults, `it does not export its memory under the name "memory"`)
	}
	return e, faults
}

// allocator finds the functions by which the host gets memory of a reactor.
func (e *entry) allocator(s *shape) (faults []string) {
	name, typ, ok := s.first(allocNames())
	switch {
	case !ok:
		return []string{"it exports no allocator: caxton_alloc(size i32) -> i32, by which it gives room for a message"}
	case !same(typ, types(i32), i32):
		return []string{"the export " + name + " is " + typ.String() + "; an allocator is (i32) -> i32"}
	}
	e.alloc = name
	if name, typ, ok = s.first(freeNames()); ok {
		e.free, e.freeLen = name, same(typ, types(i32, i32), 0)
		if !e.freeLen && !same(typ, types(i32), 0) {
			faults = append(faults, "the export "+name+" is "+typ.String()+"; it has to be (i32) or (i32, i32)")
		}
	}
	return faults
}

// optional returns what is wrong with the exports that a module need not have.
func optional(s *shape) (faults []string) {
	for _, o := range []struct {
		name   string
		params []api.ValueType
	}{{"agent_init", nil}, {"agent_shutdown", nil}, {migrateExport, types(i32, i32)}, {"handle_timer", types(i32)}, {"get_capabilities", types(i32, i32)}, {"get_response", types(i32, i32)}} {
		typ, ok := s.functions[o.name]
		if ok && !same(typ, o.params, i32) && !same(typ, o.params, 0) {
			faults = append(faults, "the export "+o.name+" is "+typ.String()+"; it has to be "+signature(o.params, types(i32)))
		}
	}
	return faults
}

func (s *shape) has(name string) bool {
	_, ok := s.functions[name]
	return ok
}

func (s *shape) first(names []string) (string, funcType, bool) {
	for _, n := range names {
		if t, ok := s.functions[n]; ok {
			return n, t, true
		}
	}
	return "", funcType{}, false
}

// same reports whether a function has these parameters and that result; 0 for none.
func same(t funcType, params []api.ValueType, result api.ValueType) bool {
	var results []api.ValueType
	if result != 0 {
		results = types(result)
	}
	return slices.Equal(t.params, params) && slices.Equal(t.results, results)
}
