package wasm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm/meter"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// A Report says what a module is, and all that is wrong with it.
type Report struct {
	SHA256    string
	Size      int
	Contract  Contract // "" when it keeps none
	Functions int      // imported ones included
	CodeSize  int
	Memory    caxton.Size // from the start
	MemoryMax caxton.Size // that it may grow to: the smaller of what it asks for and its limit
	Imports   []Import
	Exports   []string // functions, sorted

	Findings []caxton.Issue // warnings included
	broken   error          // it is no module that can be read
}

// An Import is a function that a module wants of the server.
type Import struct {
	Module, Name string
	Type         string
	Grant        Grant // what it takes; "" for nothing
	Granted      bool  // it is there, and the agent may use it
}

// Err returns nil when the module can run, else one error with all that is in the way.
func (r *Report) Err() error {
	if r.broken != nil {
		return r.broken
	}
	faults := slices.DeleteFunc(slices.Clone(r.Findings), func(i caxton.Issue) bool { return i.Warning })
	if len(faults) == 0 {
		return nil
	}
	e := caxton.Errorf(caxton.Invalid, "wasm_refused", "the module cannot run here: %s", faults[0].Message)
	if n := len(faults) - 1; n > 0 {
		e.Message += fmt.Sprintf(" (and %d more)", n)
	}
	e.Hint, e.Issues = faults[0].Hint, faults
	return e
}

// Inspect looks at a module as a deployment would, without compiling it.
func (r *Runtime) Inspect(wasm []byte, def *caxton.Definition, o Options) *Report {
	l := o.Limits.or(r.cfg.Defaults).below(r.cfg.Ceilings)
	rep, _ := r.inspect(wasm, grantsOf(def, o), o, &l)
	return rep
}

func grantsOf(def *caxton.Definition, o Options) grants {
	if o.Grants != nil {
		return o.Grants
	}
	return GrantsOf(def)
}

// Imports returns what a module wants of the server, when it is compiled for an agent with these
// options. hash is its SHA-256.
func (r *Runtime) Imports(hash string, def *caxton.Definition, o Options) []Import {
	l := o.Limits.or(r.cfg.Defaults).below(r.cfg.Ceilings)
	r.mu.Lock()
	m := r.modules[r.store.key(hash, optionsKey(&l))]
	r.mu.Unlock()
	if m == nil {
		return nil
	}
	var rep Report
	r.judgeAll(&rep, &m.shape, grantsOf(def, o), nil)
	return rep.Imports
}

// inspect is Inspect; it returns the metered module too, when there is one.
func (r *Runtime) inspect(wasm []byte, gs grants, o Options, l *Limits) (*Report, *meter.Module) {
	rep := &Report{SHA256: hashOf(wasm), Size: len(wasm)}
	m, err := meter.Rewrite(wasm, meterOptions(l))
	if err != nil {
		rep.broken = explain(err, l)
		rep.find(false, "", err.Error(), "")
		if e, ok := errors.AsType[*caxton.Error](rep.broken); ok {
			rep.Findings[0].Message, rep.Findings[0].Hint = e.Message, e.Hint
		}
		return rep, nil
	}
	s := shapeOf(m)
	rep.Functions, rep.CodeSize, rep.Exports = m.Counts.Functions, m.Counts.CodeBytes, sortedKeys(s.functions)
	if m.Memory != nil {
		rep.Memory, rep.MemoryMax = caxton.Size(m.Memory.Min)*pageSize, caxton.Size(m.Memory.Max)*pageSize
	}
	e, faults := entryOf(s)
	rep.Contract = e.contract
	for _, f := range append(faults, optional(s)...) {
		rep.find(false, "exports", f, "docs/wasm.md describes the contracts")
	}
	r.judgeAll(rep, s, gs, o.Dirs)
	if rep.Contract == Command && s.has("get_response") {
		rep.find(true, "exports", "get_response of a command is not called: it answers on standard output", "")
	}
	return rep, m
}

// explain adds to an error of the meter what only the host knows.
func explain(err error, l *Limits) error {
	e, ok := errors.AsType[*caxton.Error](err)
	if ok && e.Code == meter.CodeMalformed && e.Hint == "" {
		return e.WithHint("build it again, and look that it arrived whole")
	}
	if ok && e.Code == meter.CodeTooLarge && strings.Contains(e.Message, "pages") && e.Hint == "" {
		return e.WithHint("the agent has %v; raise resource_limits.max_memory_bytes", l.Memory)
	}
	return err
}

func (r *Report) find(warning bool, key, message, hint string) {
	r.Findings = append(r.Findings, caxton.Issue{Key: key, Message: message, Hint: hint, Warning: warning})
}

// judgeAll looks at what a module wants of the server.
func (r *Runtime) judgeAll(rep *Report, s *shape, gs grants, dirs []Dir) {
	forms := map[hostKey]funcType{}
	for _, i := range s.imports {
		k := hostKey{i.module, i.name}
		f, twice := forms[k]
		same := slices.Equal(f.params, i.typ.params) && slices.Equal(f.results, i.typ.results)
		switch {
		case twice && same:
			continue
		case twice:
			rep.find(false, "imports", fmt.Sprintf("it imports %s.%s as %s and as %s", i.module, i.name, f, i.typ), "import it once")
		}
		rep.Imports = append(rep.Imports, r.judge(rep, &i, gs))
		forms[k] = i.typ
	}
	for _, d := range dirs {
		if err := checkDir(d); err != nil {
			rep.find(false, "directories", err.Message, err.Hint)
		}
	}
}

// allowed returns why a compiled module may not be run with these grants, or nil.
func (r *Runtime) allowed(m *module, gs grants, dirs []Dir) error {
	var rep Report
	r.judgeAll(&rep, &m.shape, gs, dirs)
	return rep.Err()
}

// judge looks at one import.
func (r *Runtime) judge(rep *Report, i *imported, gs grants) Import {
	out := Import{Module: i.module, Name: i.name, Type: i.typ.String()}
	name := i.module + "." + i.name
	if i.kind != meter.FunctionKind.String() {
		out.Type = i.kind
		rep.find(false, "imports", "it imports the "+i.kind+" "+name+"; modules bring their own", "link it so that it exports its memory")
		return out
	}
	if i.module == wasiModule {
		typ, ok := r.wasi[i.name]
		switch {
		case !ok:
			rep.find(false, "imports", "it imports "+name+", which WASI preview 1 does not have", "build it for wasm32-wasip1")
		case !same(i.typ, typ.params, first(typ.results)):
			rep.find(false, "imports", fmt.Sprintf("it imports %s as %s; it is %s", name, i.typ, typ), "")
		default:
			out.Granted = true
		}
		return out
	}
	f := r.lookup(*i)
	if f == nil {
		forms := r.table[hostKey{i.module, i.name}]
		if len(forms) == 0 {
			rep.find(false, "imports", "it imports "+name+", which this server does not have", "docs/wasm.md lists what modules may import")
			return out
		}
		var want []string
		for _, form := range forms {
			want = append(want, form.typ().String())
		}
		rep.find(false, "imports", fmt.Sprintf("it imports %s as %s; it is %s", name, i.typ, strings.Join(want, " or ")), "")
		return out
	}
	out.Grant, out.Granted = f.grant, gs.has(f.grant)
	if !out.Granted {
		rep.find(false, "imports", fmt.Sprintf("it imports %s, which takes the grant %q; the agent has %s", name, f.grant, gs), grantHint(f.grant))
	}
	return out
}

// typ returns the type of a host function.
func (f *hostFunc) typ() funcType {
	if f.result == 0 {
		return funcType{f.params, nil}
	}
	return funcType{f.params, types(f.result)}
}

// grantHint says how an agent gets a grant.
func grantHint(g Grant) string {
	switch g {
	case Messaging:
		return "list send_message under the tools of the agent"
	case Memory:
		return "list the memory tools (memory_store, memory_search, …) under the tools of the agent"
	case Tools:
		return "list the tools that the module may call under the tools of the agent"
	case HTTP:
		return "list http_client under the tools of the agent"
	case StateKeys, Log, Clock, Random, Settings, Waking:
	}
	return "give the agent the grant, or build the module without the import"
}

// wasiTypes returns the functions of WASI preview 1 that there are.
func wasiTypes() map[string]funcType {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer rt.Close(ctx) //nolint:errcheck // it holds nothing
	all := map[string]funcType{}
	b := rt.NewHostModuleBuilder(wasiModule)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(b)
	mod, err := b.Instantiate(ctx)
	if err != nil { // it cannot be: it is Go code that is there
		panic("wasm: " + err.Error())
	}
	for name, d := range mod.ExportedFunctionDefinitions() {
		all[name] = funcType{d.ParamTypes(), d.ResultTypes()}
	}
	return all
}
