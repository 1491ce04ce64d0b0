//go:build !amd64

package bert

// available returns the loops this processor can run, the fastest first.
func available() []*kernels { return []*kernels{plainKernels()} }
