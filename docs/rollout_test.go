package docs_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caxton/caxton"
)

// TestRolloutPage holds that rollout.md names every strategy and state, and that the stages
// and gates that it shows can be read.
func TestRolloutPage(t *testing.T) {
	b, err := os.ReadFile("rollout.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, s := range []caxton.RolloutStrategy{
		caxton.RolloutImmediate, caxton.RolloutRolling, caxton.RolloutBlueGreen, caxton.RolloutCanary, caxton.RolloutShadow,
	} {
		if !strings.Contains(text, "| `"+string(s)+"` |") {
			t.Errorf("rollout.md does not tell of the strategy %s", s)
		}
	}
	for _, s := range []caxton.RolloutState{
		caxton.RolloutPreparing, caxton.RolloutRunning, caxton.RolloutCompleted, caxton.RolloutRolledBack, caxton.RolloutAborted, caxton.RolloutFailed,
	} {
		if !strings.Contains(text, "`"+string(s)+"`") {
			t.Errorf("rollout.md does not tell of the state %s", s)
		}
	}
	gates := regexp.MustCompile("`((?:error_rate|p50|p99)>[^`]*)`").FindAllStringSubmatch(text, -1)
	if len(gates) < 8 {
		t.Errorf("rollout.md shows %d gates", len(gates))
	}
	for _, g := range gates {
		if _, err := caxton.ParseRolloutGates(g[1]); err != nil {
			t.Errorf("%s: %v", g[1], err)
		}
	}
	for _, s := range regexp.MustCompile(`--canary-stages "([^"]*)"`).FindAllStringSubmatch(text, -1) {
		if _, err := caxton.ParseRolloutStages(s[1]); err != nil {
			t.Errorf("%s: %v", s[1], err)
		}
	}
}
