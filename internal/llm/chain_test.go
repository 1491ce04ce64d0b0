package llm_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
)

// A fake answers with its name, or fails.
type fake struct {
	name string
	err  error
	n    int
	last llm.Request
}

func (f *fake) Info() llm.Info { return llm.Info{Provider: f.name, Model: "m"} }

func (f *fake) Generate(_ context.Context, req llm.Request) (llm.Response, error) {
	f.n++
	f.last = req
	return llm.Response{Text: f.name, Provider: f.name}, f.err
}

func TestChain(t *testing.T) {
	down := caxton.Errorf(caxton.Unavailable, "down", "a is down").WithHint("wait")
	tests := []struct {
		name   string
		a, b   error
		want   string      // who answers
		kind   caxton.Kind // or how it fails
		second bool        // b was asked
	}{
		{"the first answers", nil, nil, "a", "", false},
		{"the second takes over", down, nil, "b", "", true},
		{"a bad key is no reason to give up", caxton.Errorf(caxton.Unauthenticated, "x", "x"), nil, "b", "", true},
		{"too large for the first", caxton.Errorf(caxton.TooLarge, "x", "x"), nil, "b", "", true},
		{"nobody is asked for a caller who left", caxton.Errorf(caxton.Canceled, "x", "x"), nil, "", caxton.Canceled, false},
		{"a wrong request is", caxton.Errorf(caxton.Invalid, "x", "x"), nil, "", caxton.Invalid, false},
		{"nobody answers", down, caxton.Errorf(caxton.Timeout, "x", "b is slow"), "", caxton.Unavailable, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := &fake{name: "a", err: tt.a}, &fake{name: "b", err: tt.b}
			res, err := llm.Chain{a, b}.Generate(t.Context(), llm.Request{Model: "of-a"})
			if got := caxton.KindOf(err); got != tt.kind || err == nil && res.Provider != tt.want {
				t.Errorf("answered by %q, %v, want %q, %q", res.Provider, err, tt.want, tt.kind)
			}
			if (b.n > 0) != tt.second {
				t.Errorf("b was asked %d times", b.n)
			}
			if b.n > 0 && b.last.Model != "" {
				t.Errorf("b was asked for %q, a model of a's", b.last.Model)
			}
			if tt.name == "nobody answers" && (!strings.Contains(err.Error(), "a is down") || !strings.Contains(err.Error(), "b is slow")) {
				t.Errorf("error %v, want both", err)
			}
		})
	}
}

// A hanging model answers never, or after a while.
type hanging struct {
	fake
	after time.Duration
}

func (h *hanging) Generate(ctx context.Context, _ llm.Request) (llm.Response, error) {
	select {
	case <-time.After(h.after):
		return llm.Response{Text: h.name}, nil
	case <-ctx.Done():
		return llm.Response{}, llm.Ended(ctx, h.name)
	}
}

func TestChainSharesTheTime(t *testing.T) {
	never, long := &hanging{fake{name: "never"}, time.Hour}, &hanging{fake{name: "long"}, 45 * time.Second}
	quick := &hanging{fake{name: "quick"}, time.Second}
	tests := []struct {
		name     string
		chain    llm.Chain
		deadline time.Duration
		want     string
		took     time.Duration
	}{
		{"one that hangs leaves time for the next", llm.Chain{never, quick}, time.Minute, "quick", 51 * time.Second},
		{"and for those after it", llm.Chain{never, never, quick}, time.Minute, "quick", 51 * time.Second},
		{"one that is slow may be", llm.Chain{long, quick}, time.Minute, "long", 45 * time.Second},
		{"half of a short time", llm.Chain{never, quick}, 4 * time.Second, "quick", 3 * time.Second},
		{"the last has all of it", llm.Chain{long}, 46 * time.Second, "long", 45 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
				defer cancel()
				start := time.Now()
				res, err := tt.chain.Generate(ctx, llm.Request{})
				if err != nil || res.Text != tt.want || time.Since(start) != tt.took {
					t.Errorf("%q, %v after %v, want %q after %v", res.Text, err, time.Since(start), tt.want, tt.took)
				}
				if res.Provider != tt.want {
					t.Errorf("the answer is by %q", res.Provider)
				}
			})
		})
	}
}

func TestGuard(t *testing.T) {
	f := &fake{name: "a", err: caxton.Errorf(caxton.Unavailable, "down", "down")}
	g := llm.Guard(f, slog.New(slog.DiscardHandler))
	for range 7 {
		if _, err := g.Generate(t.Context(), llm.Request{}); caxton.KindOf(err) != caxton.Unavailable {
			t.Fatalf("%v, want unavailable", err)
		}
	}
	if f.n != 5 {
		t.Errorf("the model was asked %d times, want 5: then it is left alone", f.n)
	}
	ok := &fake{name: "b", err: caxton.Errorf(caxton.Invalid, "bad", "bad")}
	g = llm.Guard(ok, slog.New(slog.DiscardHandler))
	for range 7 {
		_, _ = g.Generate(t.Context(), llm.Request{})
	}
	if ok.n != 7 {
		t.Errorf("refused requests opened the breaker after %d", ok.n)
	}
}

func TestCatalog(t *testing.T) {
	a, b := &fake{name: "a"}, &fake{name: "b"}
	c, err := llm.NewCatalog(map[string]llm.Model{"a": a, "b": b}, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		s    caxton.LLMSettings
		want string
		n    int // models in the chain
	}{
		{"the server's", caxton.LLMSettings{}, "a", 2},
		{"auto", caxton.LLMSettings{Provider: "auto"}, "a", 2},
		{"the agent's", caxton.LLMSettings{Provider: "b"}, "b", 1},
		{"with its fallback", caxton.LLMSettings{Provider: "b", Fallback: []string{"a"}}, "b", 2},
	} {
		m, err := c.For(tt.s)
		if err != nil {
			t.Fatal(err)
		}
		n := 1
		if ch, ok := m.(llm.Chain); ok {
			n = len(ch)
		}
		if m.Info().Provider != tt.want || n != tt.n {
			t.Errorf("%s: %s with %d, want %s with %d", tt.name, m.Info().Provider, n, tt.want, tt.n)
		}
	}
	if m, err := c.For(caxton.LLMSettings{Provider: "b", Fallback: []string{"b"}}); err != nil || m != llm.Model(b) {
		t.Errorf("a fallback to itself: %v, %v", m, err)
	}
	if _, err := c.For(caxton.LLMSettings{Provider: "z"}); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("For an unknown provider: %v", err)
	}
	if _, err := llm.NewCatalog(nil); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("an empty catalog: %v", err)
	}
	if _, err := llm.NewCatalog(map[string]llm.Model{"a": a}, "z"); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("a catalog with an unknown standard: %v", err)
	}
}

func TestHashAndInstructions(t *testing.T) {
	r := llm.Request{System: "be kind", Documents: []llm.Document{{Title: "T", Text: "x"}}}
	h1, err1 := llm.Hash(r)
	h2, err2 := llm.Hash(r)
	r.System = "be brief"
	h3, err3 := llm.Hash(r)
	if h1 != h2 || h1 == h3 || len(h1) != 64 || err1 != nil || err2 != nil || err3 != nil {
		t.Errorf("hashes %s %s %s", h1, h2, h3)
	}
	if got, want := llm.Instructions(r), "be brief\n\n<document title=\"T\">\nx\n</document>"; got != want {
		t.Errorf("Instructions = %q, want %q", got, want)
	}
}
