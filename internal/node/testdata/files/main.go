// Command files is a guest of the tests: it does with files what its message says, a step a line,
// and answers with what came of each.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	var m struct {
		Content string `json:"content"`
	}
	raw, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var all []string
	for line := range strings.Lines(m.Content) {
		got, err := do(strings.Fields(line))
		if err != nil {
			got = "no"
		}
		all = append(all, got)
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{"content": strings.Join(all, " ")})
}

// do does one step.
func do(step []string) (string, error) {
	step = append(step, "", "")
	switch name := step[1]; step[0] {
	case "read":
		b, err := os.ReadFile(name)
		return string(b), err
	case "write":
		return "written", os.WriteFile(name, []byte(step[2]), 0o600)
	case "list":
		entries, err := os.ReadDir(name)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return strings.Join(names, ","), err
	case "mkdir":
		return "made", os.MkdirAll(name, 0o700)
	case "rename":
		return "renamed", os.Rename(name, step[2])
	case "remove":
		return "removed", os.Remove(name)
	case "symlink":
		return "linked", os.Symlink(name, step[2])
	case "link":
		return "linked", os.Link(name, step[2])
	}
	return "", fmt.Errorf("%q is no step", step[0])
}
