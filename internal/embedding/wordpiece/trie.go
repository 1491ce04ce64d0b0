package wordpiece

import (
	"bytes"
	"slices"
)

// A cell of the double array: its node's children stand at base plus their byte, and name
// their parent in check.
type cell struct {
	base, check int32
	token       int32 // the token that ends here, or -1
}

const free = -1

// A trie finds the longest token that a text begins with. Node 0 is the root.
type trie []cell

// child returns the node that c leads to, or false.
func (t trie) child(node int32, c byte) (int32, bool) {
	next := t[node].base + int32(c)
	return next, t[next].check == node
}

// find returns the node at the end of s, or false.
func (t trie) find(s string) (int32, bool) {
	node := int32(0)
	for i := range len(s) {
		next, ok := t.child(node, s[i])
		if !ok {
			return 0, false
		}
		node = next
	}
	return node, true
}

// longest returns the longest token below node that s begins with, and its length; the token
// is -1 when there is none.
func (t trie) longest(node int32, s []byte) (token int32, size int) {
	token = -1
	for i, c := range s {
		next := t[node].base + int32(c)
		if t[next].check != node {
			break
		}
		node = next
		if at := t[node].token; at >= 0 {
			token, size = at, i+1
		}
	}
	return token, size
}

type entry struct {
	text  []byte
	token int32
}

// newTrie returns a trie of entries, which are not empty and all different. It sorts them.
func newTrie(entries []entry) trie {
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.text, b.text) })
	b := builder{hint: 0x100, sparse: 0x100} // so that a base is at least 1
	b.grow(0x100)
	b.cells[0].check = 0 // taken; no byte leads from the root to itself, as base is at least 1
	b.add(0, 0, entries)
	b.cells = append(b.cells, slices.Repeat(trie{{check: free, token: -1}}, 0x100)...) // so that base plus a byte is always within
	return slices.Clip(b.cells)
}

type builder struct {
	cells  trie
	hint   int // no cell below it is free
	sparse int // below it, it takes long to find room for more than one child
}

func (b *builder) grow(n int) {
	for len(b.cells) < n {
		b.cells = append(b.cells, cell{check: free, token: -1})
	}
}

// add puts entries below node, whose text is their first depth bytes.
func (b *builder) add(node int32, depth int, entries []entry) {
	if len(entries[0].text) == depth {
		b.cells[node].token = entries[0].token
		entries = entries[1:]
	}
	if len(entries) == 0 {
		return
	}
	var starts []int // of the entries of each child
	for i := range entries {
		if i == 0 || entries[i].text[depth] != entries[i-1].text[depth] {
			starts = append(starts, i)
		}
	}
	base := b.place(entries, starts, depth)
	b.cells[node].base = int32(base) //nolint:gosec // less than the bytes of the vocabulary
	for _, at := range starts {
		b.cells[base+int(entries[at].text[depth])].check = node
	}
	for i, at := range starts {
		end := len(entries)
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		b.add(int32(base+int(entries[at].text[depth])), depth+1, entries[at:end]) //nolint:gosec // as above
	}
}

// place returns a base at which the cells of all children are free: the lowest for one child,
// one from b.sparse on for more.
func (b *builder) place(entries []entry, starts []int, depth int) int {
	first := int(entries[0].text[depth])
	from := &b.sparse
	if len(starts) == 1 {
		from = &b.hint
		for b.grow(*from + 1); b.cells[*from].check != free; b.grow(*from + 1) {
			*from++
		}
	}
	for base := *from - first; ; base++ {
		b.grow(base + 0x100)
		if !b.fits(base, entries, starts, depth) {
			continue
		}
		if len(starts) > 1 && base+first-*from > 0x100 {
			*from = base + first // nodes of one child fill what lies before
		}
		return base
	}
}

func (b *builder) fits(base int, entries []entry, starts []int, depth int) bool {
	for _, at := range starts {
		if b.cells[base+int(entries[at].text[depth])].check != free {
			return false
		}
	}
	return true
}
