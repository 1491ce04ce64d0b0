package wasm

import "github.com/tetratelabs/wazero/experimental"

// A linear is the memory of one guest. Where the system can, all that the guest may ever have
// is reserved apart from Go's heap, and becomes real as the guest grows: nothing is copied
// then, no garbage is left behind, and what a guest had goes back to the system when its
// instance ends.
type linear struct {
	reserve  func(n uint64) []byte // asks the system for it
	reserved []byte                // of the system; nil: the heap is used
	usable   uint64                // of it, the bytes that may be read and written
	heap     []byte
	begun    bool // there was enough to begin with
	lacking  bool // there was not: wazero panics
}

// Allocate is called once for an instance, if it has a memory.
func (l *linear) Allocate(_, most uint64) experimental.LinearMemory {
	l.reserved = l.reserve(most)
	return l
}

// Reallocate returns the memory with a new size, which is never less than the last, or nil
// when it cannot be had. What is new holds zeros.
func (l *linear) Reallocate(size uint64) []byte {
	b := l.resized(size)
	l.lacking = l.lacking || b == nil && !l.begun && size > 0
	l.begun = true
	return b
}

func (l *linear) resized(size uint64) []byte {
	if l.reserved == nil {
		if n := size - uint64(len(l.heap)); n > 0 {
			l.heap = append(l.heap, make([]byte, n)...)
		}
		return l.heap
	}
	if size > uint64(len(l.reserved)) {
		return nil
	}
	if size > l.usable {
		if !commit(l.reserved[l.usable:size]) {
			return nil
		}
		l.usable = size
	}
	return l.reserved[:size:size]
}

// Free does nothing. wazero calls it when a guest ends itself, in the midst of a call: the
// memory is given back by release, when nobody can hold a part of it any more.
func (l *linear) Free() {}

// release gives the memory back. Nothing may point into it.
func (l *linear) release() {
	if l.reserved != nil {
		unreserve(l.reserved)
	}
	*l = linear{}
}
