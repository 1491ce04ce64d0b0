package node_test

import (
	"context"
	"errors"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/node"
	"github.com/caxton/caxton/internal/recall"
)

// TestHybridLosesToNoSingleSignal measures the memory with the model in the program on a small
// world of the half that no weight was chosen on.
func TestHybridLosesToNoSingleSignal(t *testing.T) {
	if testing.Short() {
		t.Skip("embeds some hundred texts")
	}
	worlds := recall.Generate(recall.GeneratorConfig{Seed: 5, Splits: []recall.Split{recall.HeldOut}, Worlds: 1, Persons: 12, Sessions: 40, PerType: 12})
	systems := []string{node.RecallWords, node.RecallMeaning, node.RecallNamed, node.RecallHybrid}
	r, err := node.RunRecall(t.Context(), node.RecallOptions{Worlds: worlds, Systems: systems, Limit: 20})
	if err != nil {
		t.Fatal(err)
	}
	for _, single := range systems[:3] {
		for _, m := range recall.Measures() {
			cs, err := r.Compare(node.RecallHybrid, single, m)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range cs {
				if c.Type == "" && c.Difference < 0 || c.Loses() {
					t.Errorf("hybrid against %s, %q, %s: better on %d of %d, worse on %d, %+.3f", single, c.Type, m, c.Wins, c.Questions, c.Losses, c.Difference)
				}
			}
		}
	}
	if r.Questions < 60 {
		t.Errorf("%d questions are too few to tell", r.Questions)
	}
}

func TestRunRecallRefuses(t *testing.T) {
	worlds := recall.Generate(recall.GeneratorConfig{Worlds: 1, Persons: 4, Sessions: 20})
	if _, err := node.RunRecall(t.Context(), node.RecallOptions{Worlds: worlds, Systems: []string{"guess"}}); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("an unknown system: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	told := 0
	_, err := node.RunRecall(ctx, node.RecallOptions{Worlds: worlds, Progress: func(recall.Progress) { told++; cancel() }})
	if !errors.Is(err, context.Canceled) || told == 0 {
		t.Errorf("canceled after %d steps: %v", told, err)
	}
}
