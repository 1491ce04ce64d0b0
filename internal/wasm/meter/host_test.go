package meter_test

import (
	"context"
	"errors"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/caxton/caxton/internal/wasm/meter"
)

var (
	errFuel  = errors.New("out of fuel")
	errStack = errors.New("out of stack")
)

// A host answers the hook: it grants in portions until its limit is reached.
type host struct {
	limit   int64
	portion int64
	granted int64
	asked   int
}

func newHost(limit int64) *host { return &host{limit: limit, portion: 1_000_000} }

func (h *host) refuel(_ context.Context, stack []uint64) {
	h.asked++
	balance, err := h.grant(int64(stack[0]))
	if err != nil {
		panic(err)
	}
	stack[0] = uint64(balance)
}

// grant adds a portion to a balance, or what the debt needs.
func (h *host) grant(balance int64) (int64, error) {
	grant := min(max(h.portion, -balance), h.limit-h.granted)
	if balance+grant < 0 {
		return balance, errFuel
	}
	h.granted += grant
	return balance + grant, nil
}

// settle is what a host does when a call returns: a debt is still to be paid.
func (h *host) settle(m api.Module) error {
	balance := int64(m.ExportedGlobal(meter.FuelExport).Get())
	if balance >= 0 {
		return nil
	}
	balance, err := h.grant(balance)
	m.ExportedGlobal(meter.FuelExport).(api.MutableGlobal).Set(uint64(balance))
	return err
}

// used is the fuel a module has used since the host began to count.
func (h *host) used(m api.Module) int64 {
	return h.granted - int64(m.ExportedGlobal(meter.FuelExport).Get())
}

// newRuntime makes a runtime in which rewritten modules find h.
func newRuntime(tb testing.TB, h *host, config wazero.RuntimeConfig) wazero.Runtime {
	tb.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, config)
	tb.Cleanup(func() { r.Close(ctx) })
	_, err := r.NewHostModuleBuilder(meter.HookModule).NewFunctionBuilder().
		WithGoFunction(api.GoFunc(h.refuel), []api.ValueType{api.ValueTypeI64}, []api.ValueType{api.ValueTypeI64}).
		Export(meter.HookName).
		NewFunctionBuilder().WithFunc(func() { panic(errStack) }).Export(meter.OverflowName).Instantiate(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func rewrite(tb testing.TB, module []byte, opts meter.Options) *meter.Module {
	tb.Helper()
	m, err := meter.Rewrite(module, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// instantiate makes an unnamed instance that does not run _start.
func instantiate(tb testing.TB, r wazero.Runtime, module []byte) api.Module {
	tb.Helper()
	m, err := r.InstantiateWithConfig(context.Background(), module, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// generous are limits that refuse nothing an engine would run.
func generous() meter.Options {
	return meter.Options{MemoryPages: 65536, TableElements: 1 << 27, Tables: 1000, Locals: 100_000, Stack: 16 << 20}
}
