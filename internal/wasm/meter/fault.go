package meter

import (
	"fmt"
	"strings"

	"github.com/caxton/caxton"
)

// The codes of the errors of Rewrite.
const (
	CodeMalformed   = "wasm_malformed"   // not a WebAssembly module, or a broken one
	CodeInvalid     = "wasm_invalid"     // names something the module does not have
	CodeUnsupported = "wasm_unsupported" // uses a feature that the server does not run
	CodeTooLarge    = "wasm_too_large"   // over a limit of Options
	CodeReserved    = "wasm_reserved"    // uses a name that belongs to the meter
)

// A fault is the first thing found wrong with a module, and where.
type fault struct {
	code   string
	what   string
	hint   string
	offset int // in the module
}

func (f *fault) kind() caxton.Kind {
	switch f.code {
	case CodeMalformed:
		return caxton.Malformed
	case CodeTooLarge:
		return caxton.TooLarge
	default:
		return caxton.Invalid
	}
}

// place says where a fault is: the section, and the function when it is in the code.
type place struct {
	section  string
	function int // index in the original module, or -1
	name     string
}

func (f *fault) at(p place) *caxton.Error {
	var b strings.Builder
	b.WriteString("WebAssembly module")
	if p.section != "" {
		fmt.Fprintf(&b, ", %s section", p.section)
	}
	if p.function >= 0 {
		fmt.Fprintf(&b, ", function %d", p.function)
		if p.name != "" {
			fmt.Fprintf(&b, " (%s)", p.name)
		}
	}
	fmt.Fprintf(&b, ", offset %#x: %s", f.offset, f.what)
	e := caxton.Errorf(f.kind(), f.code, "%s", b.String())
	e.Hint = f.hint
	return e
}
