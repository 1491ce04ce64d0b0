package bert

import (
	"slices"
	"strings"

	"github.com/caxton/caxton"
)

// kernels are the loops where the time goes.
type kernels struct {
	name string

	// gemm multiplies rows × k of a, whose rows are lda apart, by b, which is k × 32, into the 32
	// columns of c, whose rows are ldc apart. It begins with bias in each row, or without one with
	// what is in c.
	gemm func(c []float32, ldc int, a []float32, lda int, b []float32, rows, k int, bias []float32)

	// unpack turns blocks of int8 and their scales into rows of 32.
	unpack func(dst []float32, src []byte, gain float32)

	// softmax turns each row of width, a multiple of 32, into weights that sum to one, having
	// multiplied it by scale.
	softmax func(x []float32, width int, scale float32)

	// gelu applies x·Φ(x) to each x; there is a multiple of 32 of them.
	gelu func(x []float32)

	// norm adds bias to each row as wide as bias, a multiple of 32, brings it to mean 0 and
	// variance 1, and applies gain and shift.
	norm func(x []float32, width int, bias, gain, shift []float32, eps float32)

	// keys transposes n rows of dim, stride apart, into panels: dim × 32 for each 32 rows, the
	// last filled up with anything finite.
	keys func(dst, src []float32, stride, n, dim int)
}

// kernelsFor returns the loops of the given name, or without one the best there are.
func kernelsFor(name string) (*kernels, error) {
	all := available()
	if name == "" {
		return all[0], nil
	}
	i := slices.IndexFunc(all, func(k *kernels) bool { return k.name == name })
	if i < 0 {
		return nil, caxton.Errorf(caxton.Invalid, "kernel_unknown", "no kernel %q on this processor", name).
			WithHint("there are %s", strings.Join(Kernels(), ", "))
	}
	return all[i], nil
}

// Kernels returns the names of the forms of the loops this processor can run, the fastest first.
func Kernels() []string {
	var names []string
	for _, k := range available() {
		names = append(names, k.name)
	}
	return names
}
