package wasm

import (
	"context"
	"slices"
)

// Sweep releases idle instances now.
func (r *Runtime) Sweep(ctx context.Context) { r.sweep(ctx) }

// CacheKey is the name of a module's entry in the cache.
func CacheKey(module []byte, l Limits) string {
	l = l.or(defaults())
	return cacheKey(module, optionsKey(&l))
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
	l := new(linear)
	return l.Allocate(0, most).Reallocate, l.release
}
