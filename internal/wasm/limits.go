package wasm

import (
	"cmp"
	"time"

	"github.com/caxton/caxton"
)

// InstructionsPerFuel is how many instructions one unit of fuel pays for. The million units
// that a deployment asks for by default are then a billion instructions, about a second of
// work: in proportion to the five seconds that it may take, and enough for guests whose
// language brings a runtime of its own. See docs/wasm.md.
const InstructionsPerFuel = 1000

// Limits bound one agent. Zero fields mean the defaults given here; what is above the
// server's ceiling means the ceiling.
type Limits struct {
	Memory      caxton.Size   // of the linear memory of one instance: 10 MiB
	Stack       caxton.Size   // of calls within calls, as docs/fuel.md counts: 1 MiB
	Fuel        int64         // of one turn: 1,000,000 units of InstructionsPerFuel
	Time        time.Duration // of one turn: 5 s
	MessageSize caxton.Size   // of the message that goes in: 100 KiB
	OutputSize  caxton.Size   // of all that comes out in one turn: 1 MiB
	LogSize     caxton.Size   // of what is logged in one turn, each line with 100 bytes besides: 64 KiB
	StateSize   caxton.Size   // of one value, and of all that is written in one turn: 1 MiB
	FileSize    caxton.Size   // of what is written to files in one turn: 10 MiB
	HostCalls   int           // of one turn: 10,000
	ToolCalls   int           // of them, calls of tools and messages to others: 100
	Outputs     int           // messages of one turn: 100
	Tables      int           // elements of one table: 100,000
	Instances   int           // kept ready for the next turn, and idle meanwhile: 4
	Startup     time.Duration // until an instance is ready: 10 s
	Shutdown    time.Duration // for agent_shutdown: 5 s
	Idle        time.Duration // after which an instance that has nothing to do is released: 5 min
}

// defaults returns the limits of an agent that asks for nothing.
func defaults() Limits {
	return Limits{
		Memory: 10 * caxton.MiB, Stack: caxton.MiB, Fuel: 1_000_000, Time: 5 * time.Second,
		MessageSize: 100 * caxton.KiB, OutputSize: caxton.MiB, LogSize: 64 * caxton.KiB, StateSize: caxton.MiB,
		FileSize: 10 * caxton.MiB, HostCalls: 10_000, ToolCalls: 100, Outputs: 100, Tables: 100_000, Instances: 4,
		Startup: 10 * time.Second, Shutdown: 5 * time.Second, Idle: 5 * time.Minute,
	}
}

// Ceilings returns the highest limits that a server allows unless it is set otherwise.
func Ceilings() Limits {
	return Limits{
		Memory: 512 * caxton.MiB, Stack: 16 * caxton.MiB, Fuel: 1_000_000_000, Time: 30 * time.Second,
		MessageSize: 10 * caxton.MiB, OutputSize: 16 * caxton.MiB, LogSize: caxton.MiB, StateSize: 16 * caxton.MiB,
		FileSize: caxton.GiB, HostCalls: 1_000_000, ToolCalls: 10_000, Outputs: 10_000, Tables: 10_000_000, Instances: 100,
		Startup: time.Minute, Shutdown: 30 * time.Second, Idle: 24 * time.Hour,
	}
}

// or returns l with its zero fields taken from def.
func (l Limits) or(def Limits) Limits {
	return Limits{
		Memory:      cmp.Or(l.Memory, def.Memory),
		Stack:       cmp.Or(l.Stack, def.Stack),
		Fuel:        cmp.Or(l.Fuel, def.Fuel),
		Time:        cmp.Or(l.Time, def.Time),
		MessageSize: cmp.Or(l.MessageSize, def.MessageSize),
		OutputSize:  cmp.Or(l.OutputSize, def.OutputSize),
		LogSize:     cmp.Or(l.LogSize, def.LogSize),
		StateSize:   cmp.Or(l.StateSize, def.StateSize),
		FileSize:    cmp.Or(l.FileSize, def.FileSize),
		HostCalls:   cmp.Or(l.HostCalls, def.HostCalls),
		ToolCalls:   cmp.Or(l.ToolCalls, def.ToolCalls),
		Outputs:     cmp.Or(l.Outputs, def.Outputs),
		Tables:      cmp.Or(l.Tables, def.Tables),
		Instances:   cmp.Or(l.Instances, def.Instances),
		Startup:     cmp.Or(l.Startup, def.Startup),
		Shutdown:    cmp.Or(l.Shutdown, def.Shutdown),
		Idle:        cmp.Or(l.Idle, def.Idle),
	}
}

// below returns l with nothing above the ceiling.
func (l Limits) below(ceiling Limits) Limits {
	return Limits{
		Memory:      min(l.Memory, ceiling.Memory),
		Stack:       min(l.Stack, ceiling.Stack),
		Fuel:        min(l.Fuel, ceiling.Fuel),
		Time:        min(l.Time, ceiling.Time),
		MessageSize: min(l.MessageSize, ceiling.MessageSize),
		OutputSize:  min(l.OutputSize, ceiling.OutputSize),
		LogSize:     min(l.LogSize, ceiling.LogSize),
		StateSize:   min(l.StateSize, ceiling.StateSize),
		FileSize:    min(l.FileSize, ceiling.FileSize),
		HostCalls:   min(l.HostCalls, ceiling.HostCalls),
		ToolCalls:   min(l.ToolCalls, ceiling.ToolCalls),
		Outputs:     min(l.Outputs, ceiling.Outputs),
		Tables:      min(l.Tables, ceiling.Tables),
		Instances:   min(l.Instances, ceiling.Instances),
		Startup:     min(l.Startup, ceiling.Startup),
		Shutdown:    min(l.Shutdown, ceiling.Shutdown),
		Idle:        min(l.Idle, ceiling.Idle),
	}
}

// LimitsOf returns the limits that a definition asks for. Time is the shorter of what it
// says of time and of the processor: a guest does not sleep at the server's cost.
func LimitsOf(d *caxton.Definition) Limits {
	l := Limits{
		Memory: d.Limits.MaxMemoryBytes, Fuel: d.Limits.MaxFuel,
		Time: d.Limits.MaxExecutionTime, MessageSize: d.Limits.MaxMessageSize,
	}
	if cpu := d.Limits.MaxCPU; cpu > 0 && (l.Time == 0 || cpu < l.Time) {
		l.Time = cpu
	}
	return l
}
