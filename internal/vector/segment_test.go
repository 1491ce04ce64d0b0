package vector_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/vector"
)

const segDims = 256

// filled returns an index of segDims dimensions with vectors in three groups, 2,600 of them, and
// the vectors.
func filled(tb testing.TB) (*vector.Index, []float32) {
	tb.Helper()
	x := newIndex(tb, vector.Config{Dimensions: segDims, ScanLimit: 1000})
	m := newMixture(segDims, 7, 1)
	m.shift = 0.1 // so that there is a centre
	data := m.make(2, 2600)
	for i := range 2600 {
		put(tb, x, int64(i), vector.Group(min(i/1100, 2)), data[i*segDims:(i+1)*segDims])
	}
	if got, err := x.Tune(tb.Context()); err != nil || got.Oversample == 0 {
		tb.Fatalf("Tune = %+v, %v, want bits that are used", got, err)
	}
	return x, data
}

// same reports whether two indexes give the same answers.
func same(tb testing.TB, a, b *vector.Index, data []float32) {
	tb.Helper()
	for i := range 20 {
		o := vector.Options{}
		if i%2 == 1 {
			o.Groups = []vector.Group{vector.Group(i % 3)}
		}
		want, err1 := a.Search(tb.Context(), data[i*segDims:(i+1)*segDims], 15, o)
		got, err2 := b.Search(tb.Context(), data[i*segDims:(i+1)*segDims], 15, o)
		if err1 != nil || err2 != nil || !slices.Equal(got, want) {
			tb.Fatalf("the restored index finds %v, %v, want %v, %v", got, err2, want, err1)
		}
	}
}

func restore(tb testing.TB, disk map[uint32][]byte, order []uint32) *vector.Index {
	tb.Helper()
	x := newIndex(tb, vector.Config{Dimensions: segDims, ScanLimit: 1000})
	for _, id := range order {
		if err := x.Restore(vector.Segment{ID: id, Blob: disk[id]}); err != nil {
			tb.Fatal(err)
		}
	}
	return x
}

func TestSegments(t *testing.T) {
	x, data := filled(t)
	disk := map[uint32][]byte{}
	save(t, x, disk, true)
	if len(disk) != 1+2+2+1 {
		t.Fatalf("%d segments, want the tuning and five blocks", len(disk))
	}
	order := slices.Sorted(maps.Keys(disk))

	t.Run("restored in order, backwards and at once they give the same answers", func(t *testing.T) {
		r := restore(t, disk, order)
		same(t, x, r, data)
		if d := r.Stats().Dirty; d != 0 {
			t.Errorf("%d segments are dirty after Restore", d)
		}
		if got, want := r.Stats().Tuning, x.Stats().Tuning; got != want {
			t.Errorf("tuning %+v, want %+v", got, want)
		}
		back := slices.Clone(order)
		slices.Reverse(back)
		backwards := restore(t, disk, back)
		same(t, x, backwards, data)
		before := backwards.Stats().Segments
		for g := range 3 {
			put(t, backwards, int64(9000+g), vector.Group(g), data[:segDims])
		}
		if after := backwards.Stats().Segments; after != before {
			t.Errorf("%d segments became %d though there was room", before, after)
		}
		at := newIndex(t, vector.Config{Dimensions: segDims, ScanLimit: 1000})
		var all sync.WaitGroup
		for id, blob := range disk {
			all.Go(func() {
				if err := at.Restore(vector.Segment{ID: id, Blob: blob}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		same(t, x, at, data)
	})

	t.Run("without the tuning the bits are made anew", func(t *testing.T) {
		r, untuned := restore(t, disk, order[1:]), newIndex(t, vector.Config{Dimensions: segDims, ScanLimit: 1000})
		for i := range 2600 {
			put(t, untuned, int64(i), vector.Group(min(i/1100, 2)), data[i*segDims:(i+1)*segDims])
		}
		same(t, untuned, r, data)
		if s := r.Stats(); s.Dirty != len(order)-1 || !s.TuneDue {
			t.Errorf("Stats = %+v, want all segments dirty and Tune due", s)
		}
	})

	t.Run("the blob may be used again", func(t *testing.T) {
		blobs := map[uint32][]byte{}
		for id, b := range disk {
			blobs[id] = bytes.Clone(b)
		}
		r := restore(t, blobs, order)
		for _, b := range blobs {
			clear(b)
		}
		same(t, x, r, data)
	})

	t.Run("only what changed is written", func(t *testing.T) {
		r := restore(t, disk, order)
		r.Move(0, 2) // from the first block of group 0; its last row is in the second
		var ids []uint32
		err := r.Checkpoint(true, func(segments iter.Seq[vector.Segment]) error {
			for s := range segments {
				ids = append(ids, s.ID)
			}
			return nil
		})
		if err != nil || len(ids) != 3 {
			t.Errorf("a move wrote segments %v (%v), want three", ids, err)
		}
		if err := r.Checkpoint(true, func(segments iter.Seq[vector.Segment]) error {
			for s := range segments {
				t.Errorf("segment %d was written again", s.ID)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})

	t.Run("a failed write is made up for", func(t *testing.T) {
		r := restore(t, disk, order)
		r.Remove(3)
		broken := errors.New("disk full")
		err := r.Checkpoint(true, func(segments iter.Seq[vector.Segment]) error {
			for range segments {
				break
			}
			return broken
		})
		if !errors.Is(err, broken) {
			t.Fatalf("Checkpoint: %v, want %v", err, broken)
		}
		again := maps.Clone(disk)
		save(t, r, again, true)
		same(t, r, restore(t, again, order), data)
	})

	t.Run("an emptied segment is deleted, its number given again", func(t *testing.T) {
		r, now := restore(t, disk, order), maps.Clone(disk)
		for id := range int64(2600) {
			if id >= 2200 {
				r.Remove(id) // all of group 2
			}
		}
		put(t, r, 5000, 9, data[:segDims]) // takes the number
		r.Remove(5000)
		save(t, r, now, true)
		if len(now) != len(disk)-1 {
			t.Errorf("%d segments are left, want %d", len(now), len(disk)-1)
		}
		put(t, r, 5000, 9, data[:segDims])
		put(t, r, 5001, 8, data[:segDims])
		r.Remove(5000)
		save(t, r, now, true)
		same(t, r, restore(t, now, slices.Sorted(maps.Keys(now))), data)
	})

	t.Run("what is written during a checkpoint belongs to the next", func(t *testing.T) {
		r, now := restore(t, disk, order), maps.Clone(disk)
		state := restore(t, disk, order)
		put(t, r, 1, 0, data[segDims*9:segDims*10])
		put(t, state, 1, 0, data[segDims*9:segDims*10])
		for _, x := range []*vector.Index{r, state} {
			put(t, x, 8000, 7, data[:segDims]) // in a block the store has not
		}
		err := r.Checkpoint(false, func(segments iter.Seq[vector.Segment]) error {
			for id := range int64(2600) {
				if id >= 1100 {
					r.Remove(id) // three blocks, of which one is made again
				}
			}
			put(t, r, 0, 0, data[segDims*7:segDims*8])
			put(t, r, 7000, 4, data[segDims*7:segDims*8])
			r.Remove(8000)
			for s := range segments {
				now[s.ID] = s.Blob
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		same(t, state, restore(t, now, slices.Sorted(maps.Keys(now))), data)
		save(t, r, now, true)
		same(t, r, restore(t, now, slices.Sorted(maps.Keys(now))), data)
	})

	t.Run("later changes are replayed over them", func(t *testing.T) {
		a, b := restore(t, disk, order), restore(t, disk, order)
		for _, r := range []*vector.Index{a, a, b} { // twice is once
			put(t, r, 5, 2, data[segDims*100:segDims*101])
			r.Remove(77)
			r.Move(78, 1)
		}
		same(t, a, b, data)
	})
}

func TestRestoreRefuses(t *testing.T) {
	x, data := filled(t)
	disk := map[uint32][]byte{}
	save(t, x, disk, true)
	sealed := func(b []byte) []byte {
		return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	}
	// edit changes a byte and makes the checksum right again.
	edit := func(id uint32, at int, to ...byte) []byte {
		b := bytes.Clone(disk[id][:len(disk[id])-4])
		copy(b[at:], to)
		return sealed(b)
	}
	const rowsAt, scalesAt = 16 + 16, 16 + 16 + 1024*8 // in segment 1, of 1,024 vectors
	tests := []struct {
		name string
		id   uint32
		blob []byte
	}{
		{"nil", 1, nil},
		{"empty", 1, []byte{}},
		{"cut short", 1, disk[1][:len(disk[1])/2]},
		{"too long", 1, append(bytes.Clone(disk[1]), 0)},
		{"a row too few", 1, sealed(bytes.Clone(disk[1][:len(disk[1])-4-segDims-segDims/8-12]))},
		{"another's number", 2, disk[1]},
		{"the tuning as a block", 1, disk[0]},
		{"a block as the tuning", 0, disk[1]},
		{"other magic", 1, edit(1, 0, 'X')},
		{"a later version", 1, edit(1, 4, 2)},
		{"unknown kind", 1, edit(1, 6, 2)},
		{"tuning under a number", 1, edit(1, 6, 0)},
		{"other dimensions", 1, edit(1, 12, 128)},
		{"no vectors", 1, edit(1, 16, 0, 0, 0, 0)},
		{"more vectors than a block has", 1, edit(1, 16, 1, 4, 0, 0)},
		{"four thousand million vectors", 1, edit(1, 16, 255, 255, 255, 255)},
		{"an id twice", 1, edit(1, rowsAt, disk[1][rowsAt+8:rowsAt+16]...)},
		{"a scale of zero", 1, edit(1, scalesAt, 0, 0, 0, 0)},
		{"a scale that is NaN", 1, edit(1, scalesAt, 0, 0, 192, 127)},
		{"a negative scale", 1, edit(1, scalesAt+3, disk[1][scalesAt+3]|0x80)},
		{"a head and no more", 1, sealed(bytes.Clone(disk[1][:16]))},
		{"a tuning cut short", 0, sealed(bytes.Clone(disk[0][:len(disk[0])-8]))},
		{"a centre that is NaN", 0, edit(0, 16+24, 0, 0, 192, 127)},
		{"a centre far away", 0, edit(0, 16+24, 0, 0, 0, 66)},
		{"an oversample of a half", 0, edit(0, 16+8, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f)},
	}
	check := func(t *testing.T, id uint32, blob []byte) {
		t.Helper()
		r := newIndex(t, vector.Config{Dimensions: segDims, ScanLimit: 1000})
		put(t, r, 2000, 6, data[:segDims]) // an id of none of the segments 1 to 2
		before := r.Stats()
		err := r.Restore(vector.Segment{ID: id, Blob: blob})
		e, ok := errors.AsType[*caxton.Error](err)
		if !ok || e.Kind != caxton.Malformed || e.Code != "vector_segment_damaged" || e.Hint == "" {
			t.Fatalf("Restore: %v, want Malformed vector_segment_damaged with a hint", err)
		}
		if after := r.Stats(); after != before || r.Contains(1) {
			t.Fatalf("Restore left %+v, want %+v", after, before)
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { check(t, tt.id, tt.blob) })
	}
	t.Run("any bit flipped", func(t *testing.T) {
		for id, blob := range disk {
			for at := 0; at < len(blob); at += 1 + len(blob)/300 {
				b := bytes.Clone(blob)
				b[at] ^= 1 << (at % 8)
				check(t, id, b)
			}
		}
	})
	t.Run("a segment that is there", func(t *testing.T) {
		r := restore(t, disk, []uint32{0, 1})
		if err := r.Restore(vector.Segment{ID: 1, Blob: disk[1]}); caxton.KindOf(err) != caxton.Malformed {
			t.Errorf("Restore: %v, want Malformed", err)
		}
	})
	t.Run("a vector that is there", func(t *testing.T) {
		r := newIndex(t, vector.Config{Dimensions: segDims})
		put(t, r, 900, 0, data[:segDims]) // is in segment 1, but its number is
		put(t, r, 901, 1, data[:segDims])
		r.Remove(900) // not any more
		if err := r.Restore(vector.Segment{ID: 1, Blob: disk[1]}); caxton.KindOf(err) != caxton.Malformed {
			t.Errorf("Restore: %v, want Malformed", err)
		}
		if r.Len() != 1 || r.Contains(0) {
			t.Errorf("Restore left %d vectors, want 1", r.Len())
		}
		r.Remove(901)
		if err := r.Restore(vector.Segment{ID: 1, Blob: disk[1]}); err != nil {
			t.Errorf("Restore after that: %v", err)
		}
		for i := range 40 { // numbers of blocks freed before Restore are not given twice
			put(t, r, int64(10_000+i), vector.Group(100+i), data[:segDims])
		}
		if r.Len() != 1024+40 || r.Stats().Segments != 41 {
			t.Errorf("%d vectors in %d segments, want 1064 in 41", r.Len(), r.Stats().Segments)
		}
	})
}

// FuzzRestore feeds blobs to an index, with their checksum made right so that what is behind
// it is reached. Whatever is taken in must be searchable and come back the same.
func FuzzRestore(f *testing.F) {
	x := newIndex(f, vector.Config{Dimensions: 64, ScanLimit: 1})
	data := newMixture(64, 7, 1).make(2, 40)
	load(f, x, data, 64, 3)
	if _, err := x.Tune(f.Context()); err != nil {
		f.Fatal(err)
	}
	disk := map[uint32][]byte{}
	save(f, x, disk, true)
	for id, blob := range disk {
		f.Add(id, blob, true)
		f.Add(id, blob, false)
	}
	f.Fuzz(func(t *testing.T, id uint32, blob []byte, right bool) {
		if right && len(blob) >= 4 {
			blob = bytes.Clone(blob)
			binary.LittleEndian.PutUint32(blob[len(blob)-4:], crc32.Checksum(blob[:len(blob)-4], crc32.MakeTable(crc32.Castagnoli)))
		}
		r := newIndex(t, vector.Config{Dimensions: 64, ScanLimit: 1})
		if err := r.Restore(vector.Segment{ID: id, Blob: blob}); err != nil {
			if caxton.KindOf(err) != caxton.Malformed || r.Len() != 0 {
				t.Fatalf("Restore: %v, and %d vectors", err, r.Len())
			}
			return
		}
		if _, err := r.Search(t.Context(), data[:64], 3, vector.Options{}); err != nil {
			t.Fatal(err)
		}
		now := map[uint32][]byte{}
		save(t, r, now, false)
		if id == 0 {
			if !bytes.Equal(now[0], blob) {
				t.Fatal("the tuning came back otherwise")
			}
			return
		}
		again := newIndex(t, vector.Config{Dimensions: 64, ScanLimit: 1})
		for _, id := range []uint32{0, id} {
			if err := again.Restore(vector.Segment{ID: id, Blob: now[id]}); err != nil {
				t.Fatal(err)
			}
		}
		if again.Len() != r.Len() {
			t.Fatalf("%d vectors came back of %d", again.Len(), r.Len())
		}
		for i := range int64(3) {
			put(t, r, i, vector.Group(i), data[:64])
			r.Remove(i)
		}
	})
}
