package caxton_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseRolloutStrategy(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]caxton.RolloutStrategy{
		"": caxton.RolloutImmediate, "blue-green": caxton.RolloutBlueGreen, "Blue_Green": caxton.RolloutBlueGreen, "bluegreen": caxton.RolloutBlueGreen,
		"CANARY": caxton.RolloutCanary, "rolling": caxton.RolloutRolling, "shadow": caxton.RolloutShadow,
	} {
		if got, err := caxton.ParseRolloutStrategy(text); err != nil || got != want {
			t.Errorf("ParseRolloutStrategy(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	if _, err := caxton.ParseRolloutStrategy("yolo"); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("ParseRolloutStrategy(yolo): %v", err)
	}
}

func TestParseRolloutStages(t *testing.T) {
	t.Parallel()
	got, err := caxton.ParseRolloutStages("5:5m, 25%:10m ,100")
	want := []caxton.RolloutStage{{Percent: 5, Duration: 5 * time.Minute}, {Percent: 25, Duration: 10 * time.Minute}, {Percent: 100}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	if again, err := caxton.ParseRolloutStages(caxton.RolloutStagesText(want)); err != nil || !cmp.Equal(want, again) {
		t.Errorf("printed and read: %v, %v", again, err)
	}
	for _, text := range []string{"", "5", "0:5m", "101:5m", "5:5m,5:5m", "50:5m,5:5m", "x:5m", "5:soon", "5:-5m"} {
		if _, err := caxton.ParseRolloutStages(text); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("ParseRolloutStages(%q): %v, want Invalid", text, err)
		}
	}
}

func TestParseRolloutGates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"error_rate>1%,p99>100ms": "error_rate>1%,p99>100ms", " error-rate > +5% ": "error_rate>+5%", "p99>1.5x": "p99>1.5x",
		"p50>+0.02s": "p50>+20ms", "none": "none", "p99>1s": "p99>1000ms",
	} {
		got, err := caxton.ParseRolloutGates(text)
		if err != nil || caxton.RolloutGatesText(got) != want {
			t.Errorf("ParseRolloutGates(%q) = %s, %v, want %s", text, caxton.RolloutGatesText(got), err, want)
		}
	}
	for _, text := range []string{"", "error_rate", "error_rate>5", "error_rate>5ms", "p99>5%", "p99>", "p98>5ms", "p99<5ms", "p99>0x", "p99>NaNx", "error_rate>-1%", "p99>2x,,"} {
		if _, err := caxton.ParseRolloutGates(text); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("ParseRolloutGates(%q): %v, want Invalid", text, err)
		}
	}
}

func TestRolloutGates(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	tests := []struct {
		gate     string
		from, to caxton.VersionCounts
		want     bool
	}{
		{"error_rate>1%", caxton.VersionCounts{}, caxton.VersionCounts{Handled: 98, Failed: 2}, true},
		{"error_rate>2%", caxton.VersionCounts{}, caxton.VersionCounts{Handled: 98, Failed: 2}, false},
		{"error_rate>+5%", caxton.VersionCounts{Handled: 90, Failed: 10}, caxton.VersionCounts{Handled: 86, Failed: 14}, false},
		{"error_rate>+5%", caxton.VersionCounts{Handled: 90, Failed: 10}, caxton.VersionCounts{Handled: 84, Failed: 16}, true},
		{"error_rate>+5%", caxton.VersionCounts{Handled: 3}, caxton.VersionCounts{Failed: 100}, false}, // nothing to compare with
		{"p99>2x", caxton.VersionCounts{Handled: 50, P99: 50 * ms}, caxton.VersionCounts{Handled: 50, P99: 101 * ms}, true},
		{"p99>2x", caxton.VersionCounts{Handled: 50, P99: ms}, caxton.VersionCounts{Handled: 50, P99: 9 * ms}, false}, // noise
		{"p99>100ms", caxton.VersionCounts{}, caxton.VersionCounts{P99: 101 * ms}, true},
		{"p50>+20ms", caxton.VersionCounts{Handled: 50, P50: 10 * ms}, caxton.VersionCounts{P50: 31 * ms}, true},
	}
	for _, tt := range tests {
		gs, err := caxton.ParseRolloutGates(tt.gate)
		if err != nil {
			t.Fatal(err)
		}
		if got := gs[0].Breached(&tt.from, &tt.to, 20); (got != "") != tt.want {
			t.Errorf("%s of %+v against %+v: %q, want breached %v", tt.gate, tt.to, tt.from, got, tt.want)
		}
	}
}

func TestRolloutPlan(t *testing.T) {
	t.Parallel()
	for _, p := range []caxton.RolloutPlan{
		{Strategy: caxton.RolloutImmediate},
		{Strategy: "odd"},
		{Strategy: caxton.RolloutRolling, Stages: []caxton.RolloutStage{{Percent: 5, Duration: time.Minute}}},
		{Strategy: caxton.RolloutCanary, Percent: 5},
		{Strategy: caxton.RolloutShadow, Percent: 101},
		{Strategy: caxton.RolloutRolling, Hold: -1},
		{Strategy: caxton.RolloutCanary, Gates: []caxton.RolloutGate{{Measure: "odd", Than: caxton.ThanLimit}}},
	} {
		if _, err := p.Rollout(); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("plan %+v: %v, want Invalid", p, err)
		}
	}
	p := caxton.RolloutPlan{Strategy: caxton.RolloutCanary}
	if r, err := p.Rollout(); err != nil || caxton.RolloutStagesText(r.Stages) != "5:5m0s,25:10m0s,50:10m0s" || len(r.Gates) != 2 {
		t.Errorf("a canary by default: %+v, %v", r, err)
	}
	p.NoGates = true
	if r, err := p.Rollout(); err != nil || len(r.Gates) != 0 {
		t.Errorf("a canary without gates: %+v, %v", r, err)
	}
}

// TestRolloutTakes holds that the share is met, that a conversation in a small share is in
// every larger one, and that the same names give the same answer.
func TestRolloutTakes(t *testing.T) {
	t.Parallel()
	const n = 20000
	shares := []int{1, 5, 25, 50, 99, 100}
	taken := map[int]int{}
	for i := range n {
		conv := caxton.ConversationID(fmt.Sprintf("conversation-%d", i))
		in := false
		for _, p := range shares {
			r := &caxton.Rollout{Strategy: caxton.RolloutCanary, State: caxton.RolloutRunning, To: 2, Stage: 1, Stages: []caxton.RolloutStage{{Percent: p}}}
			takes := r.Takes("a1", conv)
			if in && !takes {
				t.Fatalf("%s left the share when it grew to %d%%", conv, p)
			}
			in = takes
			if takes {
				taken[p]++
			}
		}
	}
	for _, p := range shares {
		if share := 100 * float64(taken[p]) / n; share < float64(p)-1.5 || share > float64(p)+1.5 {
			t.Errorf("a share of %d%% took %.1f%%", p, share)
		}
	}
	r := &caxton.Rollout{Strategy: caxton.RolloutCanary, State: caxton.RolloutRunning, To: 2, Stage: 1, Stages: []caxton.RolloutStage{{Percent: 50}}}
	var got []bool
	for i := range 8 {
		got = append(got, r.Takes("a1", caxton.ConversationID(fmt.Sprint("c", i))))
	}
	if want := []bool{true, true, true, false, false, true, true, true}; !cmp.Equal(want, got) { // another answer would move conversations at an upgrade
		t.Errorf("taken %v, want %v", got, want)
	}
}

func TestRolloutGatesPrintAndParse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		g := caxton.RolloutGate{
			Measure: rapid.SampledFrom([]caxton.RolloutMeasure{caxton.MeasureErrorRate, caxton.MeasureP50, caxton.MeasureP99}).Draw(rt, "measure"),
			Than:    rapid.SampledFrom([]caxton.RolloutThan{caxton.ThanLimit, caxton.ThanTimes, caxton.ThanMore}).Draw(rt, "than"),
			Limit:   float64(rapid.IntRange(1, 100000).Draw(rt, "limit")) / 8,
		}
		got, err := caxton.ParseRolloutGates(g.String())
		if err != nil || len(got) != 1 || got[0] != g {
			rt.Fatalf("%s read as %v, %v", g.String(), got, err)
		}
	})
}

func FuzzParseRollout(f *testing.F) {
	f.Add("5:5m,25:10m,100")
	f.Add("error_rate>+5%,p99>2x,p50>20ms")
	f.Fuzz(func(t *testing.T, text string) {
		if stages, err := caxton.ParseRolloutStages(text); err == nil {
			again, err := caxton.ParseRolloutStages(caxton.RolloutStagesText(stages))
			if err != nil || !cmp.Equal(stages, again) {
				t.Errorf("%q: %v printed and read is %v, %v", text, stages, again, err)
			}
		}
		if gates, err := caxton.ParseRolloutGates(text); err == nil && len(gates) > 0 {
			if _, err := caxton.ParseRolloutGates(caxton.RolloutGatesText(gates)); err != nil {
				t.Errorf("%q: %v cannot be read: %v", text, caxton.RolloutGatesText(gates), err)
			}
		}
	})
}
