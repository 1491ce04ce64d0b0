// Gen makes a weights file out of a model directory: model.safetensors, vocab.txt and config.json as
// sentence-transformers publishes them.
//
//	go run ./internal/embedding/bert/gen -name all-MiniLM-L6-v2 -o FILE DIRECTORY
package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/caxton/caxton/internal/embedding/bert"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1) //nolint:forbidigo // this is a main
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	name := flags.String("name", "", "the `name` of the model")
	source := flags.String("source", "", "where the weights came `from`")
	licence := flags.String("licence", "", "the SPDX `identifier` of their licence")
	file := flags.String("o", "", "the `file` to write")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("read the flags: %w", err)
	}
	if *name == "" || *file == "" || flags.NArg() != 1 {
		return errors.New("use: gen -name NAME -o FILE DIRECTORY")
	}
	data, err := bert.Quantise(flags.Arg(0), *name, *source, *licence)
	if err != nil {
		return fmt.Errorf("quantise %s: %w", flags.Arg(0), err)
	}
	if err := os.WriteFile(*file, data, 0o644); err != nil { //nolint:gosec // everybody may read it
		return fmt.Errorf("write the weights: %w", err)
	}
	_, err = fmt.Fprintf(out, "%s: %d bytes, sha256 %x\n", *file, len(data), sha256.Sum256(data))
	return err
}
