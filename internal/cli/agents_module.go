package cli

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/agentfile"
	"github.com/caxton/caxton/internal/module"
	"github.com/spf13/cobra"
)

// slowModule is the size from which on compiling a module takes a while.
const slowModule = 1 << 20

// wasmFlags are the flags that stand for the agent file of a module.
type wasmFlags struct {
	names        []string // of the flags
	description  string
	capabilities []string
	tools        []string
	grants       []string
	parameters   []string
	memory       string
	message      string
	fuel         int64
	time         time.Duration

	placement string
	target    string
	prefer    []string
}

func (w *wasmFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&w.description, "description", "", "of a module: what it does")
	f.StringSliceVar(&w.capabilities, "capabilities", nil, "of a module: what it can be asked for (default: what it says, or its name)")
	f.StringSliceVar(&w.tools, "tools", nil, "of a module: the `tools` it may call")
	f.StringSliceVar(&w.grants, "grants", nil, "of a module: what it may do besides answering (default: what follows from its tools)")
	f.StringArrayVar(&w.parameters, "parameter", nil, "of a module: `KEY=VALUE` that it can read; may be repeated")
	f.StringVar(&w.memory, "max-memory", "", "of a module: `size` of its memory (default 10MB)")
	f.Int64Var(&w.fuel, "max-fuel", 0, "of a module: fuel of one turn, in thousands of instructions (default 1000000)")
	f.DurationVar(&w.time, "max-execution-time", 0, "of a module: time of one turn (default 5s)")
	f.StringVar(&w.message, "max-message-size", "", "of a module: `size` of a message it takes (default 100KB)")
	w.names = []string{"description", "capabilities", "tools", "grants", "parameter", "max-memory", "max-fuel", "max-execution-time", "max-message-size"}
	f.StringVar(&w.placement, "placement-strategy", "", "how the node is chosen: least-loaded (there is one node)")
	f.StringSliceVar(&w.prefer, "prefer-nodes", nil, "`nodes` to choose first (there is one node)")
	f.StringVar(&w.target, "target-node", "", "the `node` to run it (there is one node)")
}

// read reads what is to be deployed: a module with the flags as its definition, or an agent
// file and the module that it names.
func (w *wasmFlags) read(env *Env, cmd *cobra.Command, file string, d *api.Deploy) error {
	switch w.placement {
	case "", "least-loaded", "least_loaded":
	default:
		return errUsage("%q is not a strategy of placement", w.placement).WithHint("use least-loaded")
	}
	for _, n := range []string{"placement-strategy", "prefer-nodes", "target-node"} {
		if cmd.Flags().Changed(n) {
			env.say("--%s has no effect: there is one node, and it runs every agent", n)
		}
	}
	data, err := readAgent(env.path(file), file)
	if err != nil {
		return err
	}
	if strings.EqualFold(filepath.Ext(file), ".wasm") || bytes.HasPrefix(data, []byte("\x00asm")) {
		d.Module, d.Format = data, agentfile.MarkdownFormat
		d.Text, err = w.definition(d.Name, file)
		d.Name = ""
		return err
	}
	for _, n := range w.names {
		if cmd.Flags().Changed(n) {
			return errUsage("--%s is for modules, and %s is an agent file", n, file).WithHint("say it in the file")
		}
	}
	d.Text, d.Format = data, agentfile.Format(file, data)
	if named := agentfile.ModuleFile(file, data, d.Format); named != "" {
		d.Module, err = module.Beside(env.path(file), named)
	}
	return err
}

// definition returns the definition that the flags stand for.
func (w *wasmFlags) definition(name, file string) ([]byte, error) {
	if name == "" {
		name = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	}
	def := caxton.Definition{Name: name, Description: w.description, Type: caxton.WASMAgent, Priority: 50, Module: caxton.Module{Grants: w.grants}}
	for _, s := range w.capabilities {
		c, err := caxton.ParseCapability(s)
		if err != nil {
			return nil, err
		}
		def.Capabilities = append(def.Capabilities, c)
	}
	for _, t := range w.tools {
		def.Tools = append(def.Tools, caxton.ToolGrant{Name: t})
	}
	for _, p := range w.parameters {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return nil, errUsage("--parameter %q is not KEY=VALUE", p)
		}
		if def.Parameters == nil {
			def.Parameters = map[string]any{}
		}
		def.Parameters[k] = v
	}
	for _, s := range []struct {
		flag, text string
		size       *caxton.Size
	}{{"max-memory", w.memory, &def.Limits.MaxMemoryBytes}, {"max-message-size", w.message, &def.Limits.MaxMessageSize}} {
		if s.text == "" {
			continue
		}
		if err := s.size.UnmarshalText([]byte(s.text)); err != nil || *s.size <= 0 {
			return nil, errUsage("--%s %q is not a size", s.flag, s.text).WithHint("write it like 10MB")
		}
	}
	if w.fuel < 0 || w.time < 0 {
		return nil, errUsage("a limit cannot be negative")
	}
	def.Limits.MaxFuel, def.Limits.MaxExecutionTime = w.fuel, w.time
	return agentfile.Markdown(def), nil
}

// printModule prints what a module is and runs under.
func printModule(p *printer, m *api.Module) {
	if m == nil {
		return
	}
	p.row("Module:", moduleLine(m))
	if l := m.Limits; l != nil {
		p.row("Limits:", fmt.Sprintf("memory %v, fuel %d, time %v, messages %v", caxton.Size(l.MaxMemoryBytes), l.MaxFuel,
			time.Duration(l.MaxExecutionTime)*time.Millisecond, caxton.Size(l.MaxMessageSize)))
	}
	if len(m.Grants) > 0 {
		p.row("Grants:", strings.Join(m.Grants, ", "))
	}
	for _, d := range m.Directories {
		how := "read"
		if d.Write {
			how = "write"
		}
		p.row("Directory:", d.Guest+" is "+d.Host+" ("+how+")")
	}
	if len(m.Imports) > 0 {
		p.row("Imports:", imports(m.Imports))
	}
	if u := m.Use; u != nil {
		p.row("Used:", fmt.Sprintf("%d turns, %d failed, %d traps, fuel %d, %.1f ms, memory up to %s, %d host calls",
			u.Turns, u.Errors, u.Traps, u.Fuel, u.Millis, size(u.MemoryHighWater), u.HostCalls))
	}
}

// imports prints functions by their modules: "caxton: respond, log (log); env: abort".
func imports(all []api.ModuleImport) string {
	var b strings.Builder
	of := ""
	for i, x := range all {
		switch {
		case i == 0 || x.Module != of:
			if of = x.Module; i > 0 {
				b.WriteString("; ")
			}
			b.WriteString(of + ": ")
		default:
			b.WriteString(", ")
		}
		if b.WriteString(x.Name); x.Grant != "" {
			b.WriteString(" (" + x.Grant + ")")
		}
	}
	return b.String()
}

// printExecutions prints the newest turns of a module.
func printExecutions(p *printer, m *api.Module) {
	if m == nil || m.Use == nil || len(m.Use.Last) == 0 {
		return
	}
	p.line("Newest turns:")
	p.row("  AT", "MESSAGE", "VERSION", "MS", "FUEL", "MEMORY", "HOST CALLS", "TOOLS", "LOG", "ERROR")
	for _, x := range m.Use.Last {
		p.row("  "+x.At.Local().Format(time.TimeOnly), x.MessageID, strconv.Itoa(x.Version), fmt.Sprintf("%.2f", x.Millis), strconv.FormatInt(x.Fuel, 10),
			size(x.MemoryBytes), strconv.Itoa(x.HostCalls), strconv.Itoa(x.ToolCalls), loggedBy(&x), strings.TrimSpace(x.Code+" "+x.Trap))
	}
}

// loggedBy says what a turn logged, and what was dropped of it.
func loggedBy(x *api.Execution) string {
	if x.LogLost == 0 {
		return size(int64(x.LogBytes))
	}
	return fmt.Sprintf("%s, %d lines dropped", size(int64(x.LogBytes)), x.LogLost)
}

// moduleLine names a module in a line.
func moduleLine(m *api.Module) string {
	if m == nil {
		return ""
	}
	return fmt.Sprintf("%.12s %s %s", m.SHA256, size(m.Size), m.Contract)
}
