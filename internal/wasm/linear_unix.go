//go:build unix

package wasm

import "golang.org/x/sys/unix"

// reserve returns addresses for n bytes that cannot be used yet, or nil.
func reserve(n uint64) []byte {
	if n == 0 || n > 1<<32 {
		return nil
	}
	b, err := unix.Mmap(-1, 0, int(n), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil { // too many areas, or none so large is free
		return nil
	}
	return b
}

// commit makes reserved bytes usable. They begin and end at pages.
func commit(b []byte) bool { return unix.Mprotect(b, unix.PROT_READ|unix.PROT_WRITE) == nil }

// unreserve gives back what reserve returned.
func unreserve(b []byte) { _ = unix.Munmap(b) } // it fails for what was not reserved only
