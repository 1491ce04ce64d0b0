package memory_test

import (
	"strings"
	"testing"

	"github.com/caxton/caxton/internal/memory"
)

func TestMeaningTextAndSubject(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, kind, text string
		meaning, subject string
		person           bool
	}{
		{"Alice", "person", "lives in Rome", "lives in Rome", "Alice", true},
		{"Alice", "Customer", "lives in Rome", "lives in Rome", "Alice", true},
		{"Apollo", "project", "is late", "Apollo: is late", "Apollo", false},
		{"Apollo", "project", "", "Apollo (project)", "Apollo", false},
		{"turn 1", "episode", "Alice Smith: I said: no", "I said: no", "Alice Smith", true},
		{"turn 1", "episode", "user: hello", "hello", "", false},
		{"turn 1", "episode", "It ended. So: what now", "It ended. So: what now", "", true},
		{"turn 1", "episode", "Alice: ", "Alice: ", "", true},
		{"turn 1", "episode", strings.Repeat("x", 200) + ": y", strings.Repeat("x", 200) + ": y", "", true},
	}
	for _, tt := range tests {
		if got := memory.MeaningText(tt.name, tt.kind, tt.text); got != tt.meaning {
			t.Errorf("MeaningText(%q, %q, %q) = %q, want %q", tt.name, tt.kind, tt.text, got, tt.meaning)
		}
		if subject, person := memory.Subject(tt.name, tt.kind, tt.text); subject != tt.subject || person != tt.person {
			t.Errorf("Subject(%q, %q, %q) = %q, %v, want %q, %v", tt.name, tt.kind, tt.text, subject, person, tt.subject, tt.person)
		}
	}
}
