package wasm

import (
	"context"
	"fmt"
	"runtime"

	"github.com/caxton/caxton/internal/wasm/meter"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// chunk is how many instructions a guest is given at once: about a millisecond of work. After
// that many the hook looks at its budget and its deadline.
const chunk = 1 << 20

const pageSize = 64 << 10

// meterOptions returns the limits that the module itself is held to.
func meterOptions(l *Limits) meter.Options {
	return meter.Options{
		MemoryPages:   uint32(min(int64(l.Memory)/pageSize, 1<<16)), //nolint:gosec // at most 65,536
		TableElements: uint32(min(l.Tables, 1<<31-1)),               //nolint:gosec // not negative
		Stack:         int64(l.Stack),
	}
}

// optionsKey prints what of the limits goes into the rewritten module.
func optionsKey(l *Limits) string {
	o := meterOptions(l)
	return fmt.Sprintf("meter %d, %d pages, %d elements, stack %d", meter.Scheme, o.MemoryPages, o.TableElements, o.Stack)
}

// shapeOf returns what a module shows to the outside.
func shapeOf(m *meter.Module) *shape {
	s := &shape{functions: map[string]funcType{}}
	for _, i := range m.Imports {
		imp := imported{module: i.Module, name: i.Name, kind: i.Kind.String()}
		if i.Signature != nil {
			imp.typ = typeOf(i.Signature)
		}
		s.imports = append(s.imports, imp)
	}
	for _, e := range m.Exports {
		switch {
		case e.Signature != nil:
			s.functions[e.Name] = typeOf(e.Signature)
		case e.Kind == meter.MemoryKind && e.Name == "memory":
			s.memory = true
		}
	}
	return s
}

func typeOf(s *meter.Signature) funcType {
	list := func(ts []meter.ValueType) (all []api.ValueType) {
		for _, t := range ts {
			all = append(all, api.ValueType(t))
		}
		return all
	}
	return funcType{list(s.Parameters), list(s.Results)}
}

// addHooks makes the functions by which a guest asks for more instructions, and says that its
// stack is used up.
func addHooks(b wazero.HostModuleBuilder) {
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(refuel), types(i64), types(i64)).WithName(meter.HookName).Export(meter.HookName)
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(overflow), nil, nil).WithName(meter.OverflowName).Export(meter.OverflowName)
}

// overflow ends a guest that goes deeper than its stack allows. The instance is not used again.
func overflow(ctx context.Context, _ api.Module, _ []uint64) {
	halt(errStack(&turnOf(ctx).limits))
}

// refuel gives a guest more instructions, or ends it. balance is what it is short of.
func refuel(ctx context.Context, _ api.Module, stack []uint64) {
	balance := int64(stack[0]) //nolint:gosec // the bits count
	t := turnOf(ctx)
	if ctx.Err() != nil {
		halt(errDeadline(ctx, &t.limits))
	}
	if t.granted > 0 { // it has run for about a millisecond
		t.queue(ctx)
	}
	grant := min(max(0, -balance)+chunk, t.fuel)
	if grant <= 0 || balance+grant < 0 {
		halt(errFuel(&t.limits))
	}
	t.fuel -= grant
	t.granted += grant
	stack[0] = uint64(balance + grant) //nolint:gosec // not negative
}

// queue lets others have the processor, and waits until a guest that works for longer may go
// on. Go cannot interrupt a guest between two looks: with guests on all processors everybody
// else would wait for these, and the network would be looked at every ten milliseconds only.
func (t *turn) queue(ctx context.Context) {
	t.unqueue()
	runtime.Gosched()
	select {
	case t.a.rt.lanes <- struct{}{}:
		t.lane = true
	case <-ctx.Done():
		halt(errDeadline(ctx, &t.limits))
	}
}

// unqueue gives back what queue took. The guest has ended, or waits.
func (t *turn) unqueue() {
	if t.lane {
		t.lane = false
		<-t.a.rt.lanes
	}
}

// apart has a guest wait for something else. Others may work for longer meanwhile; it queues
// again before it goes on, so that waiting for nothing much is no way around the queue.
func (t *turn) apart(ctx context.Context, wait func() error) error {
	queued := t.lane
	t.unqueue()
	err := wait()
	if queued {
		t.queue(ctx)
	}
	return err
}

// gauge returns the global in which an instance counts.
func gauge(mod api.Module) api.MutableGlobal {
	g, ok := mod.ExportedGlobal(meter.FuelExport).(api.MutableGlobal)
	if !ok { // it cannot be: only rewritten modules are compiled
		panic("wasm: a module does not count what it executes")
	}
	return g
}

// fuelLeft returns how many instructions the turn has left.
func (t *turn) fuelLeft(mod api.Module) int64 {
	return t.fuel + max(0, int64(gauge(mod).Get())) //nolint:gosec // the bits count
}

// pay books what a guest has used since it was last booked, and takes back the rest.
func (t *turn) pay(mod api.Module) {
	g := gauge(mod)
	left := int64(g.Get()) //nolint:gosec // the bits count
	t.used += t.granted - left
	t.fuel += left // a debt too: what the host did for the guest
	t.granted = 0
	g.Set(0)
}

// charge takes instructions for what the host does.
func (t *turn) charge(n int64) error {
	t.fuel -= n
	t.used += n
	if t.fuel < 0 {
		return errFuel(&t.limits)
	}
	return nil
}
