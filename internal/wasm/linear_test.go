package wasm_test

import (
	"bytes"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm"
)

// TestLinear holds that memory keeps what is in it as it grows, that what is new holds zeros,
// and that there is no more than was reserved: in the system's memory, and on the heap, which
// takes what cannot be reserved.
func TestLinear(t *testing.T) {
	t.Parallel()
	const page = 64 << 10
	for name, most := range map[string]uint64{"reserved": 4 * page, "heap": 1 << 40} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			grow, release := wasm.Grow(most)
			defer release()
			if b := grow(0); len(b) != 0 {
				t.Fatalf("%d bytes of an empty memory", len(b))
			}
			for n := 1; n <= 4; n++ {
				b := grow(uint64(n) * page)
				if len(b) != n*page || cap(b) < len(b) {
					t.Fatalf("%d pages have %d bytes", n, len(b))
				}
				for i := range n {
					part, want := b[i*page:(i+1)*page], byte(i+1)
					if i == n-1 {
						want = 0
					}
					if !bytes.Equal(part, bytes.Repeat([]byte{want}, page)) {
						t.Fatalf("page %d of %d does not hold %d", i, n, want)
					}
				}
				copy(b[(n-1)*page:], bytes.Repeat([]byte{byte(n)}, page))
			}
			if name == "reserved" && grow(5*page) != nil {
				t.Error("there is more memory than was reserved")
			}
		})
	}
}

// TestNoMemory holds that a module for which the system has no memory is told so, and may try
// again.
func TestNoMemory(t *testing.T) {
	t.Parallel()
	b := newBench(t, wasm.Config{})
	a := b.agent(t, guest(t, "echo"), wasm.Options{})
	none := true
	b.rt.Reserve(func(n uint64) []byte {
		if none {
			return make([]byte, n+1)[1:] // it begins at no page, and cannot be made usable
		}
		return nil // the heap is used
	})
	for range 2 {
		if _, err := a.Handle(t.Context(), message("m1", "hi")); codeOf(err) != "wasm_no_memory" || caxton.KindOf(err) != caxton.Unavailable {
			t.Errorf("Handle: %v, want wasm_no_memory", err)
		}
	}
	none = false
	if got := say(t, a, "m2", "hi"); got != `"hi"` {
		t.Errorf("the answer is %s", got)
	}
}
