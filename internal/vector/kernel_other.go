//go:build !amd64

package vector

// allKernels returns the loops this processor can run, the fastest last.
func allKernels() []kernels { return []kernels{genericKernels()} }
