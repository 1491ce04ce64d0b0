package caxton

import (
	"fmt"
	"regexp"
)

// A Capability names something agents can do: lower-case words joined by hyphens or
// dots, at most 100 bytes. Only ParseCapability makes one, so it is well formed, or zero,
// wherever it is met. Names that begin with "system:" belong to the server.
type Capability struct{ name string }

var capabilityForm = regexp.MustCompile(`^(system:)?[a-z][a-z0-9]*([-.][a-z0-9]+)*$`)

// ParseCapability returns s as a Capability, or an Invalid error.
func ParseCapability(s string) (Capability, error) {
	if len(s) > 100 || !capabilityForm.MatchString(s) {
		return Capability{}, &Error{
			Kind: Invalid, Code: "capability_invalid",
			Message: fmt.Sprintf("%q is not a capability name", s),
			Hint:    "write it like data-analysis",
		}
	}
	return Capability{s}, nil
}

// String returns the name, or "" for the zero Capability.
func (c Capability) String() string { return c.name }

// IsZero reports whether c names nothing.
func (c Capability) IsZero() bool { return c.name == "" }

// Reserved reports whether the capability belongs to the server ("system:…").
func (c Capability) Reserved() bool { return len(c.name) > 7 && c.name[:7] == "system:" }

// MarshalText writes the name.
func (c Capability) MarshalText() ([]byte, error) { return []byte(c.name), nil }

// UnmarshalText parses a name; the empty text is the zero Capability.
func (c *Capability) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*c = Capability{}
		return nil
	}
	p, err := ParseCapability(string(b))
	if err != nil {
		return err
	}
	*c = p
	return nil
}
