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
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func guard(m llm.Model) *llm.Guarded { return llm.Guard(m, slog.New(slog.DiscardHandler)) }

// open makes g's breaker open by five failures of f.
func open(t *testing.T, g *llm.Guarded, f *fake) {
	t.Helper()
	f.err = caxton.Errorf(caxton.Unavailable, "down", "f is down")
	for range 5 {
		_, _ = g.Generate(t.Context(), llm.Request{})
	}
}

func TestGuardCounts(t *testing.T) {
	tests := []struct {
		kind caxton.Kind
		want int // how often the model is asked in seven calls
	}{
		{caxton.Unavailable, 5},
		{caxton.Exhausted, 5},
		{caxton.Timeout, 5},
		{caxton.Unauthenticated, 5},
		{caxton.Malformed, 5},
		{caxton.Internal, 5},
		{caxton.Invalid, 7},  // one request is wrong
		{caxton.NotFound, 7}, // one agent names a model that is not there
		{caxton.Forbidden, 7},
		{caxton.TooLarge, 7},
		{caxton.Canceled, 7}, // a caller left
	}
	for _, tt := range tests {
		f := &fake{name: "f", err: caxton.Errorf(tt.kind, "x", "x")}
		g := guard(f)
		for range 7 {
			_, _ = g.Generate(t.Context(), llm.Request{})
		}
		if f.n != tt.want {
			t.Errorf("%s: the model was asked %d times, want %d", tt.kind, f.n, tt.want)
		}
	}
}

func TestGuardIgnoresCallersWhoLeave(t *testing.T) {
	down := caxton.Errorf(caxton.Unavailable, "down", "down")
	left := caxton.Errorf(caxton.Canceled, "canceled", "left").WithCause(context.Canceled)
	f := &fake{name: "f"}
	g := guard(f)
	for _, err := range []error{down, down, left, down, down, left, down} { // five failures, nothing good between
		f.err = err
		_, _ = g.Generate(t.Context(), llm.Request{})
	}
	if _, err := g.Generate(t.Context(), llm.Request{}); f.n != 7 || !strings.Contains(err.Error(), "left alone") {
		t.Errorf("asked %d times, then %v: callers who left hid the failures", f.n, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	f = &fake{name: "f", err: down}
	g = guard(f)
	for range 6 {
		if _, err := g.Generate(gone, llm.Request{}); caxton.KindOf(err) != caxton.Canceled {
			t.Errorf("a call whose caller has left: %v", err)
		}
	}
	if f.n != 0 {
		t.Errorf("the model was asked %d times for callers who had left", f.n)
	}
}

func TestGuardTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{name: "f"}
		g := guard(f)
		open(t, g, f)
		s := g.Status()
		if s.State != llm.BreakerOpen || s.Failures != 5 || !s.RetryAt.Equal(time.Now().Add(30*time.Second)) || s.Reason != "f is down" {
			t.Errorf("open: %+v", s)
		}
		_, err := g.Generate(t.Context(), llm.Request{})
		if f.n != 5 || caxton.KindOf(err) != caxton.Unavailable || !strings.Contains(err.Error(), "f is down") {
			t.Errorf("open: asked %d times, %v", f.n, err)
		}
		time.Sleep(31 * time.Second)
		if s := g.Status(); s.State != llm.BreakerHalfOpen || !s.RetryAt.IsZero() {
			t.Errorf("after the pause: %+v", s)
		}
		f.err = caxton.Errorf(caxton.Canceled, "canceled", "left")
		_, _ = g.Generate(t.Context(), llm.Request{})
		if s := g.Status(); s.State != llm.BreakerHalfOpen {
			t.Errorf("after a trial whose caller left: %+v", s)
		}
		f.err = caxton.Errorf(caxton.Unavailable, "down", "f is still down")
		_, _ = g.Generate(t.Context(), llm.Request{})
		if s := g.Status(); s.State != llm.BreakerOpen || s.Reason != "f is still down" || s.Failures != 6 {
			t.Errorf("after a trial that failed: %+v", s)
		}
		time.Sleep(31 * time.Second)
		f.err = nil
		if _, err := g.Generate(t.Context(), llm.Request{}); err != nil {
			t.Errorf("a trial: %v", err)
		}
		if s := g.Status(); s != (llm.ProviderStatus{State: llm.BreakerClosed}) {
			t.Errorf("after a trial that went well: %+v", s)
		}
	})
}

// A slow model answers when it is let.
type slow struct {
	fake
	let chan struct{}
}

func (s *slow) Generate(context.Context, llm.Request) (llm.Response, error) {
	<-s.let
	return llm.Response{}, nil
}

func TestGuardTriesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{fake: fake{name: "f"}, let: make(chan struct{})}
		f := &fake{name: "f"}
		m := &either{f}
		g := guard(m)
		open(t, g, f)
		time.Sleep(31 * time.Second)
		m.Model = s
		done := make(chan error)
		go func() {
			_, err := g.Generate(t.Context(), llm.Request{})
			done <- err
		}()
		synctest.Wait()
		if _, err := g.Generate(t.Context(), llm.Request{}); caxton.KindOf(err) != caxton.Unavailable {
			t.Errorf("a second trial at once: %v", err)
		}
		close(s.let)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

type either struct{ llm.Model }

func TestCatalogStatus(t *testing.T) {
	f := &fake{name: "scripted"} // what it says of itself is not the name it has here
	g := guard(f)
	c, err := llm.NewCatalog(map[string]llm.Model{"main": g, "aside": &fake{name: "x"}}, "main")
	if err != nil {
		t.Fatal(err)
	}
	open(t, g, f)
	one, err := c.For(caxton.LLMSettings{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Generate(t.Context(), llm.Request{}); caxton.KindOf(err) != caxton.Unavailable || f.n != 5 {
		t.Errorf("another agent asks the provider all the same: %v", err)
	}
	s := c.Status()
	if len(s) != 2 || s[0].Provider != "aside" || s[0].State != llm.BreakerClosed || s[1].Provider != "main" || s[1].State != llm.BreakerOpen {
		t.Errorf("Status = %+v", s)
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "caxton_llm_breaker_state" {
		t.Fatalf("Gather = %v, %v", families, err)
	}
	got := map[string]float64{}
	for _, m := range families[0].GetMetric() {
		got[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
	}
	if d := cmp.Diff(map[string]float64{"aside": 0, "main": 2}, got); d != "" {
		t.Errorf("caxton_llm_breaker_state (-want +got)\n%s", d)
	}
}
