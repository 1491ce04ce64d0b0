package docs_test

import (
	"os"
	"strings"
	"testing"

	"github.com/caxton/caxton"
)

// TestWebhookEvents holds that webhooks.md names every event.
func TestWebhookEvents(t *testing.T) {
	text, err := os.ReadFile("webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| event | when |")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, k := range append(caxton.RecordKinds(), caxton.EventRollout) {
		if !strings.Contains(table, "`"+string(k)+"`") {
			t.Errorf("webhooks.md does not tell of %s", k)
		}
	}
}
