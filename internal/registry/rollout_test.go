package registry_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/registry"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// begin begins a rollout that must begin.
func begin(t *testing.T, r *registry.Registry, v caxton.AgentVersion, strategy caxton.RolloutStrategy) caxton.Agent {
	t.Helper()
	p := caxton.RolloutPlan{Strategy: strategy}
	ro, err := p.Rollout()
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.BeginRollout(t.Context(), v, ro)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRolloutOfACanary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	r, stop := open(t, path, registry.Config{})
	deploy(t, r, version("a1", "One", "x", "x"), "")
	a := begin(t, r, version("a1", "One", "y", "y"), caxton.RolloutCanary)
	if a.Version != 1 || a.Versions != 2 || a.Rollout.To != 2 || a.Rollout.State != caxton.RolloutPreparing || a.VersionFor("c") != 1 {
		t.Fatalf("begun: %+v", a.Rollout)
	}
	_, err := r.BeginRollout(t.Context(), version("a1", "One", "z", "z"), *a.Rollout)
	wantKind(t, "a second rollout", err, caxton.Conflict)
	_, err = r.StageRollout(t.Context(), "a1", 2, 2, noon)
	wantKind(t, "a stage left out", err, caxton.Conflict)
	for stage, percent := range map[int]int{1: 5} {
		if a, err = r.StageRollout(t.Context(), "a1", 2, stage, noon.Add(time.Minute)); err != nil || a.Rollout.Percent() != percent {
			t.Errorf("stage %d: %v%%, %v", stage, a.Rollout.Percent(), err)
		}
	}
	if cs := r.Capabilities(); len(cs) != 1 || cs[0].String() != "x" {
		t.Errorf("capabilities %v: those of the version before hold", cs)
	}
	before := r.Agents()
	stop()
	r, _ = open(t, path, registry.Config{})
	if diff := cmp.Diff(before, r.Agents(), cmp.AllowUnexported(caxton.Capability{})); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	a, err = r.EndRollout(t.Context(), "a1", 2, caxton.RolloutRolledBack, "it failed", noon.Add(2*time.Minute))
	if err != nil || a.Rollout.State != caxton.RolloutRolledBack || !a.IsWithdrawn(2) || a.Continue("c", 2) != 1 || a.Rollout.Reason != "it failed" {
		t.Errorf("rolled back: %+v, withdrawn %v, %v", a.Rollout, a.Withdrawn, err)
	}
	_, err = r.EndRollout(t.Context(), "a1", 2, caxton.RolloutCompleted, "", noon)
	wantKind(t, "the end of what has ended", err, caxton.Conflict)
	if a, err = r.Activate(t.Context(), "a1", 2, false, noon); err != nil || a.IsWithdrawn(2) || a.Version != 2 {
		t.Errorf("a withdrawn version that is made active: %+v, %v", a, err)
	}
}

func TestRolloutsThatSwitch(t *testing.T) {
	for _, tt := range []struct {
		strategy caxton.RolloutStrategy
		moved    bool // running conversations, at once
	}{{caxton.RolloutRolling, false}, {caxton.RolloutBlueGreen, true}} {
		t.Run(string(tt.strategy), func(t *testing.T) {
			r, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), registry.Config{})
			deploy(t, r, version("a1", "One", "x", "x"), "")
			begin(t, r, version("a1", "Uno", "y", "x"), tt.strategy)
			a, err := r.StageRollout(t.Context(), "a1", 2, 1, noon)
			if err != nil || a.Version != 2 || a.Slug != "uno" || (a.Continue("c", 1) == 2) != tt.moved {
				t.Errorf("switched: %+v, %v", a, err)
			}
			if a, err = r.EndRollout(t.Context(), "a1", 2, caxton.RolloutRolledBack, "", noon); err != nil || a.Version != 1 || a.Slug != "one" || a.Continue("c", 1) != 1 || a.Continue("c", 2) != 1 {
				t.Errorf("rolled back: %+v, %v", a, err)
			}
			begin(t, r, version("a1", "One", "z", "x"), tt.strategy)
			for stage := 1; stage <= 2; stage++ {
				if a, err = r.StageRollout(t.Context(), "a1", 3, stage, noon); err != nil {
					t.Fatal(err)
				}
			}
			if a.Rollout.State != caxton.RolloutCompleted || a.Continue("c", 1) != 3 {
				t.Errorf("completed: %+v", a)
			}
		})
	}
}

func TestRolloutRefuses(t *testing.T) {
	r, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), registry.Config{})
	deploy(t, r, version("a1", "One", "x", "x"), "")
	deploy(t, r, version("a2", "Two", "x", "x"), "")
	p := caxton.RolloutPlan{Strategy: caxton.RolloutCanary}
	canary, _ := p.Rollout()
	p.Strategy = caxton.RolloutRolling
	rolling, _ := p.Rollout()
	for _, tt := range []struct {
		name string
		v    caxton.AgentVersion
		ro   caxton.Rollout
		want caxton.Kind
	}{
		{"nobody", version("a9", "Nine", "x", "x"), canary, caxton.NotFound},
		{"a canary by another name", version("a1", "Uno", "y", "x"), canary, caxton.Invalid},
		{"another's name", version("a1", "Two", "y", "x"), rolling, caxton.Conflict},
	} {
		_, err := r.BeginRollout(t.Context(), tt.v, tt.ro)
		wantKind(t, tt.name, err, tt.want)
	}
	if a, err := r.BeginRollout(t.Context(), version("a1", "One", "x", "x"), canary); err != nil || a.Rollout != nil || a.Versions != 1 {
		t.Errorf("the text that is in force: %+v, %v", a, err)
	}
	wantKind(t, "Apply of a rollout that says nothing", r.Apply(t.Context(), []byte(`{"v":1,"op":"rollout","id":"a1"}`)), caxton.Invalid)
	_, err := r.EndRollout(t.Context(), "a1", 2, caxton.RolloutAborted, "", noon)
	wantKind(t, "the end of nothing", err, caxton.Conflict)
}

// Another deployment ends a rollout: a canary is withdrawn, what has switched stays good.
func TestRolloutIsSuperseded(t *testing.T) {
	for strategy, want := range map[caxton.RolloutStrategy]caxton.RolloutState{
		caxton.RolloutCanary: caxton.RolloutAborted, caxton.RolloutBlueGreen: caxton.RolloutCompleted,
	} {
		r, _ := open(t, filepath.Join(t.TempDir(), "caxton.db"), registry.Config{})
		deploy(t, r, version("a1", "One", "x", "x"), "")
		begin(t, r, version("a1", "One", "y", "x"), strategy)
		if _, err := r.StageRollout(t.Context(), "a1", 2, 1, noon); err != nil {
			t.Fatal(err)
		}
		was := deploy(t, r, version("a1", "One", map[bool]string{true: "x", false: "y"}[strategy == caxton.RolloutCanary], "x"), "")
		if !was.Rollout.Open() {
			t.Errorf("%s: the text that is in force ended it", strategy)
		}
		a := deploy(t, r, version("a1", "One", "z", "x"), "")
		if a.Version != 3 || a.Rollout.State != want || a.IsWithdrawn(2) != (want == caxton.RolloutAborted) {
			t.Errorf("%s: %+v, withdrawn %v", strategy, a.Rollout, a.Withdrawn)
		}
		back, err := r.Undo(t.Context(), was, noon)
		was.Versions = 3
		was.UpdatedAt = back.UpdatedAt
		if diff := cmp.Diff(was, back, cmp.AllowUnexported(caxton.Capability{})); err != nil || diff != "" {
			t.Errorf("%s: %v, undone (-want +got):\n%s", strategy, err, diff)
		}
	}
}

// TestRolloutMachine drives random rollouts among other commands. Whatever comes: the same
// log gives the same state, a conversation is never given to a version that is withdrawn or
// not there, shares only rise while a rollout is open, and what has ended stays ended.
func TestRolloutMachine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log := &recorder{}
		r := registry.New(newStore(), log, registry.Config{MaxAgents: 4})
		log.machine = r
		ctx := t.Context()
		convs := []caxton.ConversationID{"c1", "c2", "c3", "c4", "c5", "c6"}
		pins := map[caxton.ConversationID]int{}
		names := []string{"One", "Two"}
		for i := range rapid.IntRange(1, 60).Draw(rt, "commands") {
			at := noon.Add(time.Duration(i) * time.Second)
			before, _ := r.Agent("a1")
			number := rapid.IntRange(0, 6).Draw(rt, "number")
			if before.Rollout.Open() && rapid.Bool().Draw(rt, "the one that is open") {
				number = before.Rollout.To
			}
			v := version("a1", rapid.SampledFrom(names).Draw(rt, "name"), rapid.SampledFrom([]string{"x", "y", "z"}).Draw(rt, "text"), "help")
			v.CreatedAt = at
			switch rapid.IntRange(0, 9).Draw(rt, "op") {
			case 0:
				_, _ = r.Deploy(ctx, v, "", rapid.Bool().Draw(rt, "move"))
			case 1:
				_, _ = r.Activate(ctx, "a1", number, rapid.Bool().Draw(rt, "move"), at)
			case 2, 3:
				p := caxton.RolloutPlan{Strategy: rapid.SampledFrom([]caxton.RolloutStrategy{
					caxton.RolloutRolling, caxton.RolloutBlueGreen, caxton.RolloutCanary, caxton.RolloutShadow,
				}).Draw(rt, "strategy")}
				ro, err := p.Rollout()
				if err != nil {
					rt.Fatal(err)
				}
				ro.Move = rapid.Bool().Draw(rt, "move")
				_, _ = r.BeginRollout(ctx, v, ro)
			case 4, 5, 6:
				stage := rapid.IntRange(0, 5).Draw(rt, "stage")
				if before.Rollout.Open() && rapid.Bool().Draw(rt, "the next") {
					stage = before.Rollout.Stage + 1
				}
				_, _ = r.StageRollout(ctx, "a1", number, stage, at)
			case 7:
				_, _ = r.EndRollout(ctx, "a1", number, rapid.SampledFrom([]caxton.RolloutState{
					caxton.RolloutCompleted, caxton.RolloutRolledBack, caxton.RolloutAborted, caxton.RolloutFailed, caxton.RolloutRunning, "odd",
				}).Draw(rt, "state"), "why", at)
			case 8:
				_, _ = r.SetSuspended(ctx, "a1", rapid.Bool().Draw(rt, "suspended"), at)
			case 9:
				_, _ = r.Draft(ctx, v)
			}
			a, err := r.Agent("a1")
			if err != nil {
				continue
			}
			checkRollout(rt, &before, &a)
			for _, c := range convs {
				got := a.Continue(c, pins[c])
				if got < 1 || got > a.Versions || a.IsWithdrawn(got) {
					rt.Fatalf("conversation %s is given to version %d of %d, withdrawn are %v", c, got, a.Versions, a.Withdrawn)
				}
				if pins[c] != 0 && got != pins[c] && pins[c] >= a.MinVersion && !a.IsWithdrawn(pins[c]) {
					rt.Fatalf("conversation %s left version %d for %d unasked", c, pins[c], got)
				}
				pins[c] = got
			}
		}
		replay := registry.New(newStore(), &recorder{}, registry.Config{})
		for _, c := range log.commands {
			_ = replay.Apply(ctx, c)
		}
		if diff := cmp.Diff(r.Agents(), replay.Agents(), cmp.AllowUnexported(caxton.Capability{})); diff != "" {
			rt.Fatalf("the same log gave another state:\n%s", diff)
		}
	})
}

// checkRollout holds two states that follow each other against what a rollout may do.
func checkRollout(rt *rapid.T, before, a *caxton.Agent) {
	if a.IsWithdrawn(a.Version) {
		rt.Fatalf("version %d is active and withdrawn", a.Version)
	}
	was, ro := before.Rollout, a.Rollout
	if ro == nil {
		return
	}
	if !slices.Contains([]int{ro.From, ro.To}, a.Version) && ro.Open() {
		rt.Fatalf("version %d is active while %d takes the place of %d", a.Version, ro.To, ro.From)
	}
	if ro.Open() && (a.Version == ro.To) != (ro.Switches() && ro.Stage > 0) {
		rt.Fatalf("at stage %d of %s version %d is active", ro.Stage, ro.Strategy, a.Version)
	}
	if ro.Open() != ro.EndedAt.IsZero() || ro.Open() && ro.Reason != "" {
		rt.Fatalf("an end that is none: %+v", ro)
	}
	if was == nil || was.To != ro.To {
		return
	}
	switch {
	case !was.Open() && !cmp.Equal(was, ro):
		rt.Fatalf("what had ended changed: %+v, %+v", was, ro)
	case ro.Open() && (ro.Stage < was.Stage || ro.Stage > was.Stage+1 || ro.Percent() < was.Percent()):
		rt.Fatalf("from stage %d (%d%%) to %d (%d%%)", was.Stage, was.Percent(), ro.Stage, ro.Percent())
	}
}
