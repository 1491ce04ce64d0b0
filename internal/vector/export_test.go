package vector

// A Kernel is one set of inner loops, for tests that compare them.
type Kernel struct {
	Name    string
	Hamming func(dist []uint16, tiles, query []uint64)
	Below   func(masks, dist []uint16, limit uint16)
	Dots    func(out []int32, codes []byte, query []int16)
}

// Kernels returns those this processor can run, plain Go first.
func Kernels() []Kernel {
	var ks []Kernel
	for _, k := range allKernels() {
		ks = append(ks, Kernel{k.name, k.hamming, k.below, k.dots})
	}
	return ks
}

// UseKernel makes x use the loops of that name.
func (x *Index) UseKernel(name string) {
	for _, k := range allKernels() {
		if k.name == name {
			x.kernels = k
		}
	}
}

// RowsOf returns what identifies the memory that holds a vector.
func (x *Index) RowsOf(id int64) any {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.blocks[x.places[id].block()].rows
}
