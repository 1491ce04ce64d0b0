//go:build race

package vector_test

// slow says that the race detector is on: the data of the tests takes minutes to make.
const slow = true
