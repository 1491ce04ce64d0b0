package wasm

import (
	"context"
	"strings"

	"github.com/caxton/caxton"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// What a call of WASI costs, in instructions, besides the bytes that it moves: about the time
// that the host works for it.
const (
	wasiCall = 100  // any
	wasiPath = 2000 // one that looks for a file
	wasiItem = 10   // each buffer, event and byte of a path
)

// maxItems is how many buffers or events a guest may hand over in one call, and how long a path
// may be. POSIX has the same for buffers, and Linux for paths.
const (
	maxItems = 1024
	maxPath  = 4096
)

// A wasiMeter books the calls of WASI: the compiler's WASI knows neither fuel nor deadlines.
type wasiMeter struct{}

// NewFunctionListener returns what is called before each call of a function.
func (wasiMeter) NewFunctionListener(def api.FunctionDefinition) experimental.FunctionListener {
	l := wasiListener{name: def.Name(), price: wasiCall}
	for i, p := range def.ParamNames() {
		switch {
		case strings.HasSuffix(p, "path_len"):
			l.price = wasiPath
			l.lists = append(l.lists, wasiList{i, maxPath})
		case p == "iovs_len" || p == "nsubscriptions" || p == "ri_data_len" || p == "si_data_len":
			l.lists = append(l.lists, wasiList{i, maxItems})
		}
	}
	return &l
}

// A wasiListener books the calls of one function.
type wasiListener struct {
	name  string
	price int
	lists []wasiList
}

// A wasiList is a parameter that says how long a list is.
type wasiList struct {
	param int
	most  uint32
}

// Before books a call, or ends the guest.
func (l *wasiListener) Before(ctx context.Context, mod api.Module, _ api.FunctionDefinition, params []uint64, _ experimental.StackIterator) {
	t := turnOf(ctx)
	if ctx.Err() != nil {
		halt(errDeadline(ctx, &t.limits))
	}
	price := l.price
	for _, list := range l.lists {
		n := uint32(params[list.param]) //nolint:gosec // it is of 32 bits
		if n > list.most {
			halt(caxton.Errorf(caxton.Invalid, "wasm_bad_length", "the module hands over a list of %d to %s; %d is the most", n, l.name, list.most))
		}
		price += wasiItem * int(n)
	}
	spend(mod, price)
}

// After does nothing.
func (*wasiListener) After(context.Context, api.Module, api.FunctionDefinition, []uint64) {}

// Abort does nothing.
func (*wasiListener) Abort(context.Context, api.Module, api.FunctionDefinition, error) {}
