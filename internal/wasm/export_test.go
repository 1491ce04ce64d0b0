package wasm

import (
	"context"
	"slices"

	"github.com/tetratelabs/wazero"
)

// Sweep releases idle instances now.
func (r *Runtime) Sweep(ctx context.Context) { r.sweep(ctx) }

// CacheKey is the name of a module's entry in the cache.
func CacheKey(module []byte, l Limits) string {
	l = l.or(defaults())
	s := store{generation: generation()}
	return s.key(hashOf(module), optionsKey(&l))
}

// Compile has modules compiled by f, which is given the compiler.
func (r *Runtime) Compile(f func(compile func() (wazero.CompiledModule, error)) (wazero.CompiledModule, error)) {
	r.machine = func(ctx context.Context, rt wazero.Runtime, code []byte) (wazero.CompiledModule, error) {
		return f(func() (wazero.CompiledModule, error) { return machineCode(ctx, rt, code) })
	}
}

// Modules returns how many compiled modules there are.
func (r *Runtime) Modules() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.modules)
}

// Waiting returns how many wait for modules that are being compiled.
func (r *Runtime) Waiting() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.flights {
		n += f.waiting
	}
	return n
}

// HostNames returns the names of all functions that can be imported.
func HostNames() []string {
	var names []string
	for _, f := range slices.Concat(hostFuncs(), extismFuncs()) {
		names = append(names, f.name)
	}
	return names
}

// ParseOutput reads what a guest wrote.
func ParseOutput(data []byte, most int) error {
	_, err := parseOutput(data, most, "m1")
	return err
}

// Grow returns the memory of a guest of at most most bytes as it grows, and what gives it back.
func Grow(most uint64) (grow func(size uint64) []byte, release func()) {
	l := &linear{reserve: reserve}
	return l.Allocate(0, most).Reallocate, l.release
}

// Reserve has the memory of guests reserved by f.
func (r *Runtime) Reserve(f func(n uint64) []byte) { r.reserve = f }
