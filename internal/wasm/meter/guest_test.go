package meter_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/caxton/caxton/internal/wasm/meter"
)

// The work each guest of testdata/guests can do.
func guestWork() []string { return []string{"fib", "sieve", "matmul", "json"} }

// guests returns the guests by language: those that scripts/build-wasm-guests.sh built into
// the directory CAXTON_WASM_GUESTS names, or the one in Go, built now.
func guests(tb testing.TB) map[string][]byte {
	tb.Helper()
	found := map[string][]byte{}
	read := func(path string) {
		module, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		found[strings.TrimSuffix(filepath.Base(path), ".wasm")] = module
	}
	if dir := os.Getenv("CAXTON_WASM_GUESTS"); dir != "" {
		paths, err := filepath.Glob(filepath.Join(dir, "*.wasm"))
		if err != nil || len(paths) == 0 {
			tb.Fatalf("no modules in %s: %v", dir, err)
		}
		for _, path := range paths {
			read(path)
		}
		return found
	}
	if testing.Short() {
		tb.Skip("building a guest takes a while")
	}
	path := filepath.Join(tb.TempDir(), "go.wasm")
	build := exec.Command("go", "build", "-o", path, filepath.Join("testdata", "guests", "guest.go"))
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("%v\n%s", err, out)
	}
	read(path)
	return found
}

// A guest is a module that is compiled and ready to run.
type guest struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	host     *host
	portion  int64 // that the host grants at a time
	metered  bool
}

func newGuest(tb testing.TB, module []byte, metered bool) *guest {
	tb.Helper()
	ctx := context.Background()
	g := &guest{host: newHost(1 << 50), portion: 1_000_000, metered: metered}
	g.runtime = newRuntime(tb, g.host, wazero.NewRuntimeConfig())
	wasi_snapshot_preview1.MustInstantiate(ctx, g.runtime)
	_, err := g.runtime.NewHostModuleBuilder("env").NewFunctionBuilder().
		WithFunc(func(int32, int32, int32, int32) { panic("abort") }).Export("abort").Instantiate(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	if metered {
		module = rewrite(tb, module, meter.Options{}).Bytes
	}
	if g.compiled, err = g.runtime.CompileModule(ctx, module); err != nil {
		tb.Fatal(err)
	}
	return g
}

// run does a piece of work in a new instance.
func (g *guest) run(tb testing.TB, work string) (output string, fuel int64) {
	tb.Helper()
	ctx := context.Background()
	*g.host = host{limit: 1 << 50, portion: g.portion}
	var stdout bytes.Buffer
	m, err := g.runtime.InstantiateModule(ctx, g.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions().
		WithArgs("guest", work).WithStdout(&stdout).WithStderr(os.Stderr))
	if err != nil {
		tb.Fatal(err)
	}
	defer m.Close(ctx)
	balance := api.Global(nil)
	if g.metered {
		balance = m.ExportedGlobal(meter.FuelExport)
	}
	if start := m.ExportedFunction("_start"); start != nil {
		_, err = start.Call(ctx)
		if exit, ok := err.(*sys.ExitError); ok && exit.ExitCode() == 0 { //nolint:errorlint // the engine gives it bare
			err = nil
		}
		output = strings.TrimSpace(stdout.String())
	} else {
		var results []uint64
		if results, err = m.ExportedFunction(work).Call(ctx); err == nil {
			output = fmt.Sprint(int32(results[0]))
		}
	}
	if err != nil {
		tb.Fatal(err)
	}
	if g.metered {
		fuel = g.host.granted - int64(balance.Get())
	}
	return output, fuel
}

// TestGuests runs what compilers make, as it is and rewritten: same output, and twice the
// same fuel.
func TestGuests(t *testing.T) {
	t.Parallel()
	answers := map[string]string{"fib": "196418", "sieve": "148933"}
	for language, module := range guests(t) {
		plain, metered := newGuest(t, module, false), newGuest(t, module, true)
		for _, work := range guestWork() {
			want, _ := plain.run(t, work)
			if answer, ok := answers[work]; ok && want != answer {
				t.Errorf("%s %s = %s, want %s", language, work, want, answer)
			}
			got, fuel := metered.run(t, work)
			_, again := metered.run(t, work)
			if got != want {
				t.Errorf("%s %s rewritten = %s, want %s", language, work, got, want)
			}
			if fuel <= 0 || fuel != again {
				t.Errorf("%s %s used %d, then %d", language, work, fuel, again)
			}
			t.Logf("%s %s = %s, fuel %d, %d", language, work, got, fuel, again)
		}
	}
}

// TestGuestsRepeat runs what compilers make again and again, with the host answering after ever
// other amounts: each run of a piece of work uses the same fuel. As a soak it runs each a
// thousand times, in every language whose compiler is there.
func TestGuestsRepeat(t *testing.T) {
	t.Parallel()
	runs, found := 5, map[string][]byte{}
	if os.Getenv("CAXTON_SOAK") == "" {
		found = guests(t)
	} else {
		runs = 1000
		dir := os.Getenv("CAXTON_WASM_GUESTS")
		if dir == "" {
			dir = t.TempDir()
			script := filepath.Join("..", "..", "..", "scripts", "build-wasm-guests.sh")
			if out, err := exec.CommandContext(t.Context(), "bash", script, dir).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		for _, language := range []string{"go", "c", "rust", "assemblyscript"} {
			module, err := os.ReadFile(filepath.Join(dir, language+".wasm"))
			if err != nil {
				t.Run(language, func(t *testing.T) {
					t.Skipf("there is no compiler for %s: scripts/build-wasm-guests.sh says what it takes", language)
				})
				continue
			}
			found[language] = module
		}
	}
	for language, module := range found {
		t.Run(language, func(t *testing.T) {
			g := newGuest(t, module, true)
			for _, work := range guestWork() {
				wantOutput, want := g.run(t, work)
				for i := range runs {
					g.portion = 1 + int64(i*i*1009)
					if output, fuel := g.run(t, work); fuel != want || output != wantOutput {
						t.Fatalf("run %d of %s = %s and used %d; the first was %s and used %d", i, work, output, fuel, wantOutput, want)
					}
				}
				t.Logf("%s: %d, %d times", work, want, runs+1)
			}
		})
	}
}
