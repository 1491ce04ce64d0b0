package node_test

import (
	"os"
	"path/filepath"
	"testing"
)

// What is said about agents through the API holds after a restart, though their files say
// otherwise.
func TestAgentsOverRestarts(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, 1)
	c, _, stop := run(t, dir)
	write(t, dir, 2)
	if _, err := c.Reload(t.Context(), "greeter"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Rollback(t.Context(), "greeter", 0); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	c, _, stop = run(t, dir)
	if a, err := c.Agent(t.Context(), "greeter"); err != nil || a.Version != 1 || a.Versions != 2 {
		t.Errorf("after a restart version %d of %d, %v: want the one rolled back to", a.Version, a.Versions, err)
	}
	if err := c.RemoveAgent(t.Context(), "greeter", false); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	c, _, _ = run(t, dir)
	if _, err := c.Agent(t.Context(), "greeter"); err == nil {
		t.Error("the agent that was removed is back after a restart")
	}
	if _, err := os.Stat(filepath.Join(dir, "agents", "greeter.md.removed")); err != nil {
		t.Errorf("its file: %v, want it set aside", err)
	}
}
