// Package memorytest is what every memory.Store must pass: TestStore its contract case by case,
// TestTruth the two clocks over a long life, TestModel any order of writes against a model of maps and
// slices, and TestScopes that nothing is seen outside an access.
//
// Only tests import it.
package memorytest
