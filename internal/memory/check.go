package memory

import (
	"slices"

	"github.com/caxton/caxton"
)

// Sees reports whether what is in s may be seen.
func (a Access) Sees(s caxton.Scope) bool { return a.All || slices.Contains(a.Scopes, s) }

// Past reports whether the group holds what is no longer current.
func (g Group) Past() bool { return g&1 == 1 }
