package meter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm/meter"
)

// A specScript is what wast2json makes of a script of the WebAssembly test suite.
type specScript struct {
	Commands []specCommand `json:"commands"`
}

type specCommand struct {
	Type     string     `json:"type"`
	Line     int        `json:"line"`
	Name     string     `json:"name"`
	Filename string     `json:"filename"`
	As       string     `json:"as"`
	Kind     string     `json:"module_type"`
	Action   specAction `json:"action"`
}

type specAction struct {
	Type   string      `json:"type"`
	Module string      `json:"module"`
	Field  string      `json:"field"`
	Args   []specValue `json:"args"`
}

type specValue struct {
	Type  string `json:"type"`
	Lane  string `json:"lane_type"`
	Value any    `json:"value"`
}

// words returns the value as the engine takes it.
func (v specValue) words() ([]uint64, error) {
	if v.Type == "v128" {
		return vectorWords(v.Lane, v.Value.([]any))
	}
	text, _ := v.Value.(string)
	if text == "null" {
		return []uint64{0}, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if v.Type == "externref" {
		n++ // the engine takes 0 for null
	}
	return []uint64{n}, err
}

func vectorWords(lane string, lanes []any) ([]uint64, error) {
	width, err := strconv.Atoi(lane[1:])
	if err != nil {
		return nil, err
	}
	words := make([]uint64, 2)
	for i, l := range lanes {
		n, err := strconv.ParseUint(l.(string), 10, 64)
		if err != nil {
			return nil, err
		}
		words[i*width/64] |= n << (i * width % 64)
	}
	return words, nil
}

// A specWorld runs a script, with its modules as they are or rewritten.
type specWorld struct {
	rewritten bool
	host      *host
	runtime   wazero.Runtime
	modules   map[string]api.Module
	all       []api.Module
	last      api.Module
}

func newSpecWorld(t *testing.T, rewritten bool) *specWorld {
	t.Helper()
	h := newHost(1 << 40)
	h.portion = 1 << 30
	w := &specWorld{
		rewritten: rewritten, host: h, modules: map[string]api.Module{},
		runtime: newRuntime(t, h, wazero.NewRuntimeConfig().WithMemoryLimitPages(1024)),
	}
	if _, err := w.load(specModule(), "spectest"); err != nil {
		t.Fatal(err)
	}
	return w
}

// load instantiates a module and returns what went wrong and whether the meter refused it.
func (w *specWorld) load(module []byte, as string) (refused bool, err error) {
	w.last = nil
	if w.rewritten {
		m, err := meter.Rewrite(module, generous())
		if err != nil {
			return true, err
		}
		module = m.Bytes
	}
	config := wazero.NewModuleConfig().WithName(as).WithStartFunctions()
	w.last, err = w.runtime.InstantiateWithConfig(context.Background(), module, config)
	if err == nil {
		w.all = append(w.all, w.last)
	}
	return false, err
}

// used is the fuel all modules have used; a call may run in another than the one called.
func (w *specWorld) used() int64 {
	fuel := w.host.granted
	for _, m := range w.all {
		fuel -= int64(m.ExportedGlobal(meter.FuelExport).Get())
	}
	return fuel
}

// act carries out an action, and returns what came of it as text.
func (w *specWorld) act(a specAction) string {
	m := w.last
	if a.Module != "" {
		m = w.modules[a.Module]
	}
	if m == nil {
		return "no module"
	}
	if a.Type == "get" {
		return fmt.Sprint(m.ExportedGlobal(a.Field).Get())
	}
	var args []uint64
	for _, v := range a.Args {
		words, err := v.words()
		if err != nil {
			return err.Error()
		}
		args = append(args, words...)
	}
	before := int64(0)
	if w.rewritten {
		before = w.used()
	}
	results, err := m.ExportedFunction(a.Field).Call(context.Background(), args...)
	if err != nil {
		return trapOf(err)
	}
	if w.rewritten && w.used() <= before {
		return "nothing was charged"
	}
	for i, t := range m.ExportedFunction(a.Field).Definition().ResultTypes() {
		if t == 0x70 && results[i] != 0 {
			results[i] = 1 // a reference to a function is an address
		}
	}
	return fmt.Sprint(results)
}

var startFunction = regexp.MustCompile(`start function\[\d+\]`)

// trapOf returns the cause of a trap without its stack, and without the index of the function.
func trapOf(err error) string {
	if errors.Is(err, errStack) {
		return "stack overflow" // as the engine says it
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return startFunction.ReplaceAllString(first, "start function")
}

// TestSpec runs the WebAssembly test suite on the modules as they are and rewritten, and
// compares each result, trap and refusal.
func TestSpec(t *testing.T) {
	dir := os.Getenv("CAXTON_WASM_SPEC")
	if dir == "" {
		t.Skip("CAXTON_WASM_SPEC does not name a directory of scripts converted by wast2json")
	}
	scripts, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts in %s: %v", dir, err)
	}
	total := map[string]int{}
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
			first, counts := runSpec(t, dir, path)
			again, _ := runSpec(t, dir, path)
			if first != again {
				t.Errorf("fuel of the script: %d, and %d when it ran again", first, again)
			}
			for k, v := range counts {
				total[k] += v
			}
		})
	}
	t.Logf("%d scripts: %v", len(scripts), total)
}

func runSpec(t *testing.T, dir, path string) (fuel int64, counts map[string]int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var script specScript
	if err := json.Unmarshal(text, &script); err != nil {
		t.Fatal(err)
	}
	plain, metered := newSpecWorld(t, false), newSpecWorld(t, true)
	counts = map[string]int{}
	for i, c := range script.Commands {
		switch c.Type {
		case "module", "assert_invalid", "assert_malformed", "assert_unlinkable", "assert_uninstantiable":
			if c.Kind == "text" {
				continue
			}
			counts[c.Type]++
			compareLoad(t, dir, script.Commands[i:], plain, metered, counts)
		case "action", "assert_return", "assert_trap", "assert_exhaustion":
			counts[c.Type]++
			if got, want := metered.act(c.Action), plain.act(c.Action); got != want {
				t.Errorf("line %d: %s %v rewritten = %s, want %s", c.Line, c.Action.Field, c.Action.Args, got, want)
			}
		case "register":
		default:
			t.Errorf("line %d: command %q is not known", c.Line, c.Type)
		}
	}
	return metered.used(), counts
}

// compareLoad loads the module of the first command into both worlds.
func compareLoad(t *testing.T, dir string, commands []specCommand, plain, metered *specWorld, counts map[string]int) {
	t.Helper()
	c := commands[0]
	module, err := os.ReadFile(filepath.Join(dir, c.Filename))
	if err != nil {
		t.Fatal(err)
	}
	as := ""
	next := slices.IndexFunc(commands[1:], func(n specCommand) bool { return n.Type == "module" })
	for i, n := range commands[1:] {
		if n.Type == "register" && (n.Name == c.Name && c.Name != "" || n.Name == "" && (next < 0 || i < next)) {
			as = n.As
		}
	}
	keep := [2]api.Module{plain.last, metered.last}
	_, want := plain.load(module, as)
	refused, got := metered.load(module, as)
	if e := (*caxton.Error)(nil); refused && !errors.As(got, &e) {
		t.Errorf("line %d: %T is no *caxton.Error", c.Line, got)
	}
	switch {
	case refused && want == nil:
		t.Errorf("line %d: %s is refused: %v", c.Line, c.Filename, got)
	case (want == nil) != (got == nil):
		t.Errorf("line %d: %s rewritten: %v, want %v", c.Line, c.Filename, got, want)
	case refused:
		counts["refused by the meter"]++
	case c.Type == "assert_uninstantiable" && want != nil && trapOf(want) != trapOf(got):
		t.Errorf("line %d: %s rewritten: %v, want %v", c.Line, c.Filename, got, want)
	}
	if c.Type != "module" {
		plain.last, metered.last = keep[0], keep[1]
		return
	}
	if c.Name != "" {
		plain.modules[c.Name], metered.modules[c.Name] = plain.last, metered.last
	}
}
