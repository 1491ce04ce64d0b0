package agentfile_test

import (
	"testing"

	"github.com/caxton/caxton/internal/agentfile"
)

func TestCompanion(t *testing.T) {
	for name, want := range map[string]bool{
		"greeter.test.yaml": true, "greeter.polite.test.yml": true, "GREETER.TEST.JSON": true, "a.test.toml": true, "a.script.yaml": true,
		"greeter.yaml": false, "test.yaml": false, "greeter.test.md": false, "greeter.test": false, "greetertest.yaml": false, "greeter.v2.yaml": false,
	} {
		if got := agentfile.Companion(name); got != want {
			t.Errorf("Companion(%q) = %v, want %v", name, got, want)
		}
	}
}
