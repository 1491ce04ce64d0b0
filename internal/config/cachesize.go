package config

import (
	"strconv"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tree"
)

// A CacheSize is a size whose plain numbers count KiB: "100000" is 100000 KiB. A negative
// number means the same as its opposite, because SQLite writes KiB that way. With a unit it
// is read as a caxton.Size.
type CacheSize caxton.Size

// UnmarshalText reads a number of KiB or a size with a unit, or returns an Invalid error.
func (c *CacheSize) UnmarshalText(b []byte) error {
	s := strings.TrimSpace(string(b))
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		n = max(n, -n)
		if n < 0 || n > 1<<40 {
			return caxton.Errorf(caxton.Invalid, "size_invalid", "%q is not a size", s).WithHint("write a number of KiB, or a size such as 100MB")
		}
		*c = CacheSize(n) * CacheSize(caxton.KiB)
		return nil
	}
	return (*caxton.Size)(c).UnmarshalText(b)
}

// MarshalText prints the size with its unit.
func (c CacheSize) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// String prints the size with its unit.
func (c CacheSize) String() string { return caxton.Size(c).String() }

// Schema returns the JSON Schema of a CacheSize.
func (CacheSize) Schema() map[string]any {
	m := tree.SchemaOf[caxton.Size]()
	delete(m, "minimum")
	m["pattern"] = `^\s*-?[0-9.]+\s*([kKmMgGtT]([iI]?[bB])?|[bB])?\s*$`
	return m
}
