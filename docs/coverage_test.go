// Package docs_test keeps the generated documents true.
package docs_test

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite coverage.md")

// read returns the rows of a table without its head.
func read(t *testing.T, name string) [][]string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for _, line := range strings.Split(strings.TrimRight(string(text), "\n"), "\n")[1:] {
		rows = append(rows, strings.Split(line, "\t"))
	}
	return rows
}

// TestCoverage holds coverage.md to its table: every row has a known state, and the page is
// what the table says.
func TestCoverage(t *testing.T) {
	rows := read(t, "coverage.tsv")
	seen := map[string]bool{}
	count := map[string]map[string]int{}
	var b, body bytes.Buffer
	area := ""
	for _, r := range rows {
		if len(r) != 5 || seen[r[0]] {
			t.Fatalf("row %q is not well formed, or its ID is there twice", r)
		}
		seen[r[0]] = true
		switch r[3] {
		case "works", "alias of", "not yet":
		default:
			t.Errorf("%s: %q is not a state", r[0], r[3])
		}
		if count[r[1]] == nil {
			count[r[1]] = map[string]int{}
		}
		count[r[1]][r[3]]++
		if r[1] != area {
			area = r[1]
			fmt.Fprintf(&body, "\n## %s\n\n| | name | state | note |\n|---|---|---|---|\n", area)
		}
		fmt.Fprintf(&body, "| %s | `%s` | *%s* | %s |\n", r[0], strings.ReplaceAll(cmp.Or(r[2], "-"), "`", "'"), r[3], r[4])
	}
	b.WriteString("# Coverage\n\nEvery documented command, endpoint, key, metric and figure, and whether it works in this version. Generated from coverage.tsv:\n`go test ./docs -update`.\n\n| area | works | alias | not yet |\n|---|---|---|---|\n")
	for _, a := range []string{"commands", "http", "config", "metrics", "targets"} {
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", a, count[a]["works"], count[a]["alias of"], count[a]["not yet"])
	}
	b.Write(body.Bytes())
	if *update {
		if err := os.WriteFile("coverage.md", b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("coverage.md")
	if err != nil || !bytes.Equal(got, b.Bytes()) {
		t.Errorf("coverage.md is not what coverage.tsv says (%v): go test ./docs -update", err)
	}
	for _, name := range []string{"commands", "http", "config", "metrics", "targets"} {
		inventory := filepath.Join("..", "..", "shared", "spec", name+".tsv")
		if _, err := os.Stat(inventory); err != nil {
			t.Skip("the inventories are not here")
		}
		for _, r := range read(t, inventory) {
			if len(r) > 3 && !seen[r[0]] {
				t.Errorf("%s of %s has no row", r[0], name)
			}
		}
	}
}
