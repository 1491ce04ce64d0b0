// Package vector finds the vectors nearest to a query by cosine. It owns an index in memory
// that looks at every vector of the groups asked for, in three tiers: one bit a dimension,
// one byte a dimension, and the caller's own float32. It refuses to know what a vector
// stands for, to keep the float32 vectors, to open files, and to start anything.
//
// A vector comes in by Put with an id and a Group; it is scaled to length 1 and rounded to
// signed bytes with one scale, and the bits say which bytes lie above the centre of all
// vectors. Groups keep their vectors in blocks of 1,024, so a search over some groups reads
// those blocks only, and a removed vector is gone: the last of its group takes its place.
// Search scans the bytes of a small selection. Of a large one it scans the bits, takes the
// nearest thousand or 0.3 %, ranks these by their bytes, and the best 40 by Options.Exact.
// How many the bits must hand on depends on the model that made the vectors: Tune measures
// that on vectors of the index and sets the centre and Stats.Oversample.
//
// Checkpoint hands out the blocks that have changed as Segments, blobs with a version and a
// checksum, and Restore takes them back; what was put, moved or removed later the store
// replays. A damaged segment is refused, and the store then puts its own vectors again.
//
// Any goroutine may call any method. A search works on the state at its beginning and holds
// no lock while it scans; a writer copies a block that a search still reads. Search and Tune
// use up to Config.Workers goroutines and wait for them. The engine of memory fills, searches
// and saves an Index; internal/memdb keeps its segments.
package vector

//go:generate go -C asm run . -pkg vector -out ../kernels_amd64.s -stubs ../kernels_amd64.go
