// Embedbench answers each line "batch tokens" on its standard input with the milliseconds per text that
// the built-in model took for such a batch. scripts/bench-embedding.sh runs it beside another runtime.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/caxton/caxton/internal/embedding/bert"
	"github.com/caxton/caxton/internal/embedding/minilm"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "embedbench:", err)
		os.Exit(1) //nolint:forbidigo // this is a main
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("embedbench", flag.ContinueOnError)
	kernel := flags.String("kernel", "", "the `form` of the loops")
	workers := flags.Int("workers", 1, "how many goroutines a batch uses")
	list := flags.Bool("list", false, "print the forms of the loops and end")
	dir := flags.String("dir", "", "a `directory` with float32 weights instead of the built-in model")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("read the flags: %w", err)
	}
	if *list {
		_, err := fmt.Fprintln(out, strings.Join(bert.Kernels(), " "))
		return err
	}
	cfg := bert.Config{Kernel: *kernel, Workers: *workers}
	load := func() (*bert.Model, error) { return minilm.Load(cfg) }
	if *dir != "" {
		load = func() (*bert.Model, error) { return bert.LoadDir(*dir, cfg) }
	}
	m, err := load()
	if err != nil {
		return err
	}
	for {
		var count, n int
		if _, err := fmt.Fscan(in, &count, &n); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read a shape: %w", err)
		}
		ids, dst := make([][]int32, count), make([][]float32, count)
		for i := range ids {
			ids[i], dst[i] = make([]int32, n), make([]float32, m.Dimensions())
			for j := range ids[i] {
				ids[i][j] = 1000 + rand.Int32N(28000) //nolint:gosec // not a secret
			}
		}
		start := time.Now()
		if err := m.EmbedBatch(ctx, dst, ids); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%.4f\n", time.Since(start).Seconds()*1e3/float64(count)); err != nil {
			return err
		}
	}
}
