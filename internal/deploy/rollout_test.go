package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/deploy"
	"github.com/caxton/caxton/internal/registry"
	"github.com/caxton/caxton/internal/tool"
	"github.com/prometheus/client_golang/prometheus"
)

// A fleet is what the runner of the tests knows of rollouts.
type fleet struct {
	mu       sync.Mutex
	from, to caxton.VersionCounts
	did      []string // warmed and migrated
	fault    error    // of warming
	stuck    error    // of migrating
	shadow   error
	slow     time.Duration // of migrating
}

func (f *fleet) Warm(_ context.Context, _ caxton.AgentID, version int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did = append(f.did, fmt.Sprint("warm ", version))
	return f.fault
}

func (f *fleet) Migrate(_ context.Context, v caxton.AgentVersion, from int) error {
	f.mu.Lock()
	f.did = append(f.did, fmt.Sprintf("migrate %d to %d", from, v.Number))
	slow, stuck := f.slow, f.stuck
	f.mu.Unlock()
	time.Sleep(slow)
	return stuck
}

func (f *fleet) CanShadow(context.Context, caxton.AgentVersion) error { return f.shadow }

func (f *fleet) Counts(caxton.AgentID) (from, to caxton.VersionCounts) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.from, f.to
}

func (f *fleet) Shadow(caxton.AgentID) caxton.ShadowCounts { return caxton.ShadowCounts{} }

func (f *fleet) Tally(caxton.AgentID) caxton.RolloutTally {
	f.mu.Lock()
	defer f.mu.Unlock()
	to := f.to
	to.AllHandled = f.to.Handled
	return caxton.RolloutTally{To: 2, Stage: 1, Versions: []caxton.VersionCounts{to}}
}

func (f *fleet) Restore(_ caxton.AgentID, t caxton.RolloutTally) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did = append(f.did, fmt.Sprintf("restore %d of version %d", t.Turns(), t.To))
}

// kept is what is kept of rollouts.
type kept struct {
	mu    sync.Mutex
	tally *caxton.RolloutTally
	saves int
	fault error
}

func (k *kept) RolloutTally(context.Context, caxton.AgentID) (t caxton.RolloutTally, ok bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tally == nil || k.fault != nil {
		return t, false, k.fault
	}
	return *k.tally, true, nil
}

func (k *kept) SaveRolloutTally(_ context.Context, _ caxton.AgentID, t caxton.RolloutTally) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.saves++
	if k.fault == nil {
		k.tally = &t
	}
	return k.fault
}

// Counts are kept now and then while there are new ones, and at the end; after a restart the
// rollout goes on with them, once.
func TestCountsAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := grow(t, &caxton.RolloutPlan{Strategy: caxton.RolloutCanary, NoGates: true})
		f.run(time.Second)
		if f.kept.saves != 0 {
			t.Errorf("saved %d times without anything new", f.kept.saves)
		}
		f.runner.counts(well(0), well(7))
		f.run(12 * time.Second)
		if f.kept.saves != 1 || f.kept.tally.Turns() != 7 {
			t.Errorf("saved %d times: %+v, want once", f.kept.saves, f.kept.tally)
		}
		f.runner.counts(well(0), well(9))
		f.run(time.Second) // the server stops before it is due
		if f.kept.saves != 2 || f.kept.tally.Turns() != 9 {
			t.Errorf("saved %d times: %+v, want at the end too", f.kept.saves, f.kept.tally)
		}
		f.runner.did = nil
		f.start()
		for range 2 {
			f.run(time.Second)
		}
		if !slices.Contains(f.runner.did, "restore 9 of version 2") || len(slices.DeleteFunc(f.runner.did, func(s string) bool { return !strings.HasPrefix(s, "restore") })) != 1 {
			t.Errorf("did %v, want it restored once", f.runner.did)
		}
		f.kept.fault = errors.New("the disk is full")
		f.start()
		f.runner.counts(well(0), well(30))
		f.run(8 * time.Second)
		f.want("it goes on without", caxton.RolloutRunning, 1, 5, 1)
	})
}

func (f *fleet) counts(from, to caxton.VersionCounts) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from, f.to = from, to
}

// direct is a log that applies at once, in a bubble of its own clock too.
type direct struct {
	mu sync.Mutex
	m  *registry.Registry
}

func (l *direct) Append(ctx context.Context, c []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.m.Apply(ctx, c)
}

// A memory keeps agents in maps.
type memory struct {
	registry.Store
	mu       sync.Mutex
	agents   map[caxton.AgentID]caxton.Agent
	versions map[caxton.AgentID][]caxton.AgentVersion
}

func (s *memory) LoadAgents(context.Context) ([]caxton.Agent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var as []caxton.Agent
	for _, a := range s.agents {
		as = append(as, a)
	}
	return as, nil
}

func (s *memory) SaveAgent(_ context.Context, a caxton.Agent, v *caxton.AgentVersion) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents[a.ID] = a
	if v != nil {
		s.versions[a.ID] = append(s.versions[a.ID], *v)
	}
	return nil
}

func (s *memory) DeleteAgent(_ context.Context, id caxton.AgentID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.agents, id)
	return nil
}

func (s *memory) AgentVersion(_ context.Context, id caxton.AgentID, n int) (caxton.AgentVersion, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < 1 || n > len(s.versions[id]) {
		return caxton.AgentVersion{}, caxton.Errorf(caxton.NotFound, "version_not_found", "no version %d", n)
	}
	return s.versions[id][n-1], nil
}

// A field is a deployer over a registry in memory, with a clock of its own and Run running.
type field struct {
	*deploy.Deployer
	t      *testing.T
	store  *memory
	reg    *registry.Registry
	runner *runner
	reg2   *prometheus.Registry
	id     caxton.AgentID
	kept   *kept
}

// grow returns a field with one agent of two deployments, the second as the plan says. Call
// it in a bubble.
func grow(t *testing.T, plan *caxton.RolloutPlan) *field {
	t.Helper()
	f := &field{t: t, store: &memory{agents: map[caxton.AgentID]caxton.Agent{}, versions: map[caxton.AgentID][]caxton.AgentVersion{}}, runner: &runner{}, kept: &kept{}}
	f.start()
	d, err := f.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", "a")})
	if err != nil {
		t.Fatal(err)
	}
	f.id = d.Agent.ID
	d, err = f.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", "b"), Rollout: plan, Author: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if d.Rollout == nil || !d.Changed || d.FromVersion != 1 {
		t.Fatalf("deployed: %+v", d)
	}
	return f
}

// start makes the deployer anew over what the store has.
func (f *field) start() {
	f.t.Helper()
	log := &direct{}
	f.reg = registry.New(f.store, log, registry.Config{})
	log.m = f.reg
	if err := f.reg.Load(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	tools, err := tool.NewSet(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	f.reg2 = prometheus.NewRegistry()
	f.Deployer = deploy.New(f.reg, f.runner, tools, deploy.Config{Registerer: f.reg2, Tallies: f.kept})
	f.reg.Observe(f.Deployer)
}

// run runs the deployer for so long.
func (f *field) run(long time.Duration) {
	ctx, cancel := context.WithTimeout(f.t.Context(), long)
	defer cancel()
	if err := f.Run(ctx); err != nil {
		f.t.Error(err)
	}
}

// want holds the rollout against its state, stage and share.
func (f *field) want(what string, state caxton.RolloutState, stage, percent, active int) caxton.RolloutStatus {
	f.t.Helper()
	st, err := f.Rollout(f.id)
	if err != nil {
		f.t.Fatal(err)
	}
	if ro := &st.Rollout; ro.State != state || ro.Stage != stage || ro.Percent() != percent || st.Agent.Version != active {
		f.t.Errorf("%s: %s at stage %d with %d%%, version %d active, want %s, %d, %d%%, %d", what, ro.State, ro.Stage, ro.Percent(), st.Agent.Version, state, stage, percent, active)
	}
	return st
}

// series returns how many series a metric has.
func (f *field) series(name string) int {
	f.t.Helper()
	ms, err := f.reg2.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, m := range ms {
		if m.GetName() == name {
			return len(m.GetMetric())
		}
	}
	return 0
}

func well(n int64) caxton.VersionCounts { return caxton.VersionCounts{Handled: n} }

func TestCanaryGoesItsWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := grow(t, &caxton.RolloutPlan{Strategy: caxton.RolloutCanary})
		if st := f.want("begun", caxton.RolloutRunning, 1, 5, 1); st.Rollout.Author != "ann" {
			t.Errorf("author %q", st.Rollout.Author)
		}
		f.runner.counts(well(100), well(100))
		f.run(5*time.Minute - time.Second)
		f.want("just before its end", caxton.RolloutRunning, 1, 5, 1)
		f.run(2 * time.Second)
		f.want("the second stage", caxton.RolloutRunning, 2, 25, 1)
		f.runner.counts(well(100), well(3))
		f.run(11 * time.Minute)
		if st := f.want("without messages", caxton.RolloutRunning, 2, 25, 1); !strings.Contains(st.Waits, "3 of 20") {
			t.Errorf("it waits for %q", st.Waits)
		}
		f.runner.counts(well(100), well(30))
		f.run(time.Second)
		f.want("the third stage", caxton.RolloutRunning, 3, 50, 1)
		if n := f.series("caxton_rollout_turns_total"); n != 4 {
			t.Errorf("%d metrics of turns, want 4", n)
		}
		f.run(11 * time.Minute)
		f.want("the end", caxton.RolloutCompleted, 3, 0, 2)
		if want := []string{"migrate 1 to 2", "warm 2", "migrate 1 to 2", "warm 1", "warm 2"}; !slices.Equal(f.runner.did[:5], want) { // and both again with each run
			t.Errorf("did %v, want %v", f.runner.did, want)
		}
		if n := f.series("caxton_rollout_turns_total"); n != 0 {
			t.Errorf("%d metrics of turns after the end", n)
		}
	})
}

func TestRolloutsAreRolledBack(t *testing.T) {
	t.Parallel()
	bad := caxton.VersionCounts{Handled: 15, Failed: 15}
	for _, tt := range []struct {
		name     string
		strategy caxton.RolloutStrategy
		gates    string
		from, to caxton.VersionCounts
		want     string // in the reason; "" for none
	}{
		{"a canary with errors", caxton.RolloutCanary, "", well(100), bad, "error_rate>+5%"},
		{"a canary with errors, without gates", caxton.RolloutCanary, "none", well(100), bad, ""},
		{"a canary with too few messages", caxton.RolloutCanary, "", well(100), caxton.VersionCounts{Failed: 4}, ""},
		{"a canary that breaks down", caxton.RolloutCanary, "none", well(100), caxton.VersionCounts{Failed: 5, Streak: 5}, "broke down 5 times"},
		{"a slow canary", caxton.RolloutCanary, "p99>100ms", well(100), caxton.VersionCounts{Handled: 20, P99: time.Second}, "p99>100ms"},
		{"blue-green with errors", caxton.RolloutBlueGreen, "error_rate>1%", caxton.VersionCounts{}, bad, "error_rate>1%"},
		{"rolling with errors", caxton.RolloutRolling, "error_rate>1%", caxton.VersionCounts{}, bad, "error_rate>1%"},
		{"a shadow with errors", caxton.RolloutShadow, "error_rate>1%", well(100), bad, "error_rate>1%"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				plan := &caxton.RolloutPlan{Strategy: tt.strategy}
				if tt.gates != "" {
					gs, err := caxton.ParseRolloutGates(tt.gates)
					if err != nil {
						t.Fatal(err)
					}
					plan.Gates, plan.NoGates = gs, len(gs) == 0
				}
				f := grow(t, plan)
				f.runner.counts(tt.from, tt.to)
				f.run(time.Second)
				st, err := f.Rollout(f.id)
				if err != nil {
					t.Fatal(err)
				}
				if tt.want == "" {
					if st.Rollout.State != caxton.RolloutRunning {
						t.Errorf("%s: %s, want it to go on", st.Rollout.State, st.Rollout.Reason)
					}
					return
				}
				f.want("rolled back", caxton.RolloutRolledBack, 1, 0, 1)
				if !strings.Contains(st.Rollout.Reason, tt.want) || !slices.Equal(st.Withdrawn, []int{2}) {
					t.Errorf("reason %q, withdrawn %v", st.Rollout.Reason, st.Withdrawn)
				}
			})
		})
	}
}

// A rollout goes on where it was when the server is started again; one that was being
// prepared is prepared anew.
func TestRolloutSurvivesARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := grow(t, &caxton.RolloutPlan{Strategy: caxton.RolloutCanary, NoGates: true})
		f.run(6 * time.Minute)
		f.want("before", caxton.RolloutRunning, 2, 25, 1)
		f.start()
		f.want("after", caxton.RolloutRunning, 2, 25, 1)
		time.Sleep(9 * time.Minute)
		f.run(time.Second)
		f.want("its stage ended while the server was down", caxton.RolloutRunning, 3, 50, 1)
		if _, err := f.Abort(t.Context(), f.id, ""); err != nil {
			t.Fatal(err)
		}
		a, err := f.reg.Agent(f.id)
		if err != nil {
			t.Fatal(err)
		}
		ro, err := (&caxton.RolloutPlan{Strategy: caxton.RolloutBlueGreen}).Rollout()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.reg.BeginRollout(t.Context(), caxton.AgentVersion{AgentID: f.id, Hash: "c", Definition: a.Definition, CreatedAt: time.Now()}, ro); err != nil {
			t.Fatal(err)
		}
		f.start()
		f.want("cut off while it was prepared", caxton.RolloutPreparing, 0, 0, 1)
		f.run(time.Second)
		f.want("prepared anew", caxton.RolloutRunning, 1, 100, 3)
	})
}

func TestRolloutByHand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := grow(t, &caxton.RolloutPlan{Strategy: caxton.RolloutCanary})
		_, err := f.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", "c"), Rollout: &caxton.RolloutPlan{Strategy: caxton.RolloutRolling}})
		failure(t, "a second rollout", err, caxton.Conflict, "version 2 of one")
		if st, err := f.Promote(t.Context(), f.id, true); err != nil || st.Rollout.Stage != 2 || st.Rollout.Percent() != 25 {
			t.Errorf("to the next stage: %+v, %v", st.Rollout, err)
		}
		if st, err := f.Promote(t.Context(), f.id, false); err != nil || st.Rollout.State != caxton.RolloutCompleted || st.Agent.Version != 2 {
			t.Errorf("promoted: %+v, %v", st.Rollout, err)
		}
		_, err = f.Promote(t.Context(), f.id, false)
		failure(t, "promoted again", err, caxton.Conflict, "no version of one")
		_, err = f.Abort(t.Context(), f.id, "")
		failure(t, "aborted after its end", err, caxton.Conflict, "no version of one")
		if _, err := f.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", "c"), Rollout: &caxton.RolloutPlan{Strategy: caxton.RolloutBlueGreen}}); err != nil {
			t.Fatal(err)
		}
		f.want("switched", caxton.RolloutRunning, 1, 100, 3)
		d, err := f.Rollback(t.Context(), f.id, 0)
		if err != nil || !d.Changed || d.FromVersion != 3 || d.Agent.Version != 2 || d.Rollout == nil {
			t.Errorf("rolled back: %+v, %v", d, err)
		}
		f.want("rolled back", caxton.RolloutRolledBack, 1, 0, 2)
		if d, err := f.Rollback(t.Context(), f.id, 0); err != nil || d.Agent.Version != 1 {
			t.Errorf("rolled back once more: %+v, %v", d, err)
		}
		if _, err := f.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", "a"), Rollout: &caxton.RolloutPlan{Strategy: caxton.RolloutRolling}}); err != nil {
			t.Errorf("the text that is in force: %v", err)
		}
		f.want("unchanged", caxton.RolloutRolledBack, 1, 0, 1)
	})
}

// A rollout that takes a while to get ready is seen to as soon as it is.
func TestRolloutThatIsSlowToBegin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := grow(t, &caxton.RolloutPlan{Strategy: caxton.RolloutCanary})
		if _, err := f.Abort(t.Context(), f.id, ""); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = f.Run(ctx) })
		defer wg.Wait()
		defer cancel()
		synctest.Wait()
		f.runner.late = func(context.Context, int) error { time.Sleep(time.Second); return nil }
		if _, err := f.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", "c"), Rollout: &caxton.RolloutPlan{Strategy: caxton.RolloutRolling, Hold: 5 * time.Second}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		f.want("after its time", caxton.RolloutCompleted, 1, 0, 3)
	})
}

// State is brought over before a version takes messages, and brought back to one that was at
// rest. One that was at work all the time has its own.
func TestStateIsBroughtOver(t *testing.T) {
	t.Parallel()
	tests := []struct {
		strategy caxton.RolloutStrategy
		end      func(f *field) error
		want     []string
	}{
		{caxton.RolloutCanary, rolledBack, []string{"migrate 1 to 2", "migrate 1 to 2"}},
		{caxton.RolloutRolling, rolledBack, []string{"migrate 1 to 2", "migrate 1 to 2"}},
		{caxton.RolloutBlueGreen, rolledBack, []string{"migrate 1 to 2", "migrate 1 to 2", "migrate 2 to 1"}},
		{caxton.RolloutShadow, rolledBack, nil},
		{caxton.RolloutShadow, promoted, []string{"migrate 1 to 2"}},
		{caxton.RolloutCanary, promoted, []string{"migrate 1 to 2", "migrate 1 to 2"}},
		{caxton.RolloutCanary, func(f *field) error { return errors.Join(promoted(f), rolledBack(f)) }, []string{"migrate 1 to 2", "migrate 1 to 2", "migrate 2 to 1"}},
	}
	for _, tt := range tests {
		t.Run(string(tt.strategy), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := grow(t, &caxton.RolloutPlan{Strategy: tt.strategy})
				if err := tt.end(f); err != nil {
					t.Error(err)
				}
				got := slices.DeleteFunc(slices.Clone(f.runner.did), func(s string) bool { return !strings.HasPrefix(s, "migrate") })
				if !slices.Equal(got, tt.want) {
					t.Errorf("did %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func rolledBack(f *field) error {
	_, err := f.Rollback(f.t.Context(), f.id, 0)
	return err
}

func promoted(f *field) error {
	_, err := f.Promote(f.t.Context(), f.id, false)
	return err
}

// State is brought over once however many end a rollout at the same time: who came late would
// write over what the version in force has kept since.
func TestRolloutEndsOnce(t *testing.T) {
	t.Parallel()
	tests := []struct {
		strategy caxton.RolloutStrategy
		end      func(f *field) error
		moved    string
		state    caxton.RolloutState
		active   int
	}{
		{caxton.RolloutBlueGreen, aborted, "migrate 2 to 1", caxton.RolloutAborted, 1},
		{caxton.RolloutShadow, promoted, "migrate 1 to 2", caxton.RolloutCompleted, 2},
	}
	for _, tt := range tests {
		t.Run(string(tt.strategy), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := grow(t, &caxton.RolloutPlan{Strategy: tt.strategy})
				f.runner.slowed(time.Second)
				var late error
				var wg sync.WaitGroup
				wg.Go(func() {
					time.Sleep(time.Second / 2)
					late = tt.end(f)
				})
				if err := tt.end(f); err != nil {
					t.Error(err)
				}
				f.want("ended", tt.state, 1, 0, tt.active)
				wg.Wait()
				failure(t, "who came late", late, caxton.Conflict, "no version of one is being rolled out")
				if n := len(slices.DeleteFunc(f.runner.did, func(s string) bool { return s != tt.moved })); n != 1 {
					t.Errorf("%s %d times", tt.moved, n)
				}
			})
		})
	}
}

// A rollout that is called off while its version gets ready is over, and nothing else happens.
func TestRolloutCalledOffWhileItIsPrepared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := grow(t, &caxton.RolloutPlan{Strategy: caxton.RolloutCanary})
		if err := aborted(f); err != nil {
			t.Fatal(err)
		}
		f.runner.slowed(time.Second)
		var off error
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(3 * time.Second / 2)
			off = aborted(f)
		})
		_, err := f.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", "c"), Rollout: &caxton.RolloutPlan{Strategy: caxton.RolloutRolling}})
		wg.Wait()
		failure(t, "deployed", err, caxton.Conflict, "version 3 of one is not being rolled out")
		if off != nil {
			t.Error(off)
		}
		f.want("called off", caxton.RolloutAborted, 0, 0, 1)
	})
}

func (f *fleet) slowed(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slow = d
}

// A rollout that takes the place of one whose preparation was taken up after a restart is
// prepared once: the second time would end it as failed.
func TestRolloutIsPreparedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := grow(t, &caxton.RolloutPlan{Strategy: caxton.RolloutCanary})
		if err := aborted(f); err != nil {
			t.Fatal(err)
		}
		a, err := f.reg.Agent(f.id)
		if err != nil {
			t.Fatal(err)
		}
		ro, err := (&caxton.RolloutPlan{Strategy: caxton.RolloutRolling}).Rollout()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.reg.BeginRollout(t.Context(), caxton.AgentVersion{AgentID: f.id, Hash: "c", Definition: a.Definition, CreatedAt: time.Now()}, ro); err != nil {
			t.Fatal(err)
		}
		f.start()
		f.runner.slowed(2 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { _ = f.Run(ctx) })
		synctest.Wait() // it brings state over to version 3, for 2 s
		if err := aborted(f); err != nil {
			t.Fatal(err)
		}
		f.runner.slowed(time.Second)
		wg.Go(func() {
			time.Sleep(time.Second / 2)
			f.runner.slowed(3 * time.Second) // the second time, until the Deployer has looked again
		})
		if _, err := f.Deploy(ctx, caxton.DeployRequest{Text: text("One", "d"), Rollout: &caxton.RolloutPlan{Strategy: caxton.RolloutRolling}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		f.want("prepared", caxton.RolloutRunning, 1, 100, 4)
		if n := len(slices.DeleteFunc(slices.Clone(f.runner.did), func(s string) bool { return s != "migrate 1 to 4" })); n != 2 {
			t.Errorf("brought over %d times, want twice", n)
		}
	})
}

func aborted(f *field) error {
	_, err := f.Abort(f.t.Context(), f.id, "")
	return err
}

// A version whose state cannot be brought over is not deployed, a shadow is not promoted, and
// a rollback goes on.
func TestStateThatIsNotBroughtOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := grow(t, &caxton.RolloutPlan{Strategy: caxton.RolloutShadow})
		f.runner.stuck = caxton.Errorf(caxton.Invalid, "migration_failed", "it cannot")
		failure(t, "a promoted shadow", promoted(f), caxton.Invalid, "it cannot")
		f.want("goes on as a shadow", caxton.RolloutRunning, 1, 100, 1)
		if _, err := f.Abort(t.Context(), f.id, ""); err != nil {
			t.Fatal(err)
		}
		for _, s := range []caxton.RolloutStrategy{"", caxton.RolloutRolling, caxton.RolloutBlueGreen, caxton.RolloutCanary} {
			_, err := f.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", "c"), Rollout: &caxton.RolloutPlan{Strategy: s}})
			failure(t, "deployed "+string(s), err, caxton.Invalid, "it cannot")
			if st := f.want("nothing was deployed", caxton.RolloutAborted, 1, 0, 1); st.Agent.Versions != 2 {
				t.Errorf("%d versions", st.Agent.Versions)
			}
		}
		f.runner.stuck = nil
		if _, err := f.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", "c")}); err != nil {
			t.Fatal(err)
		}
		f.runner.stuck = caxton.Errorf(caxton.Invalid, "migration_failed", "it cannot")
		if err := rolledBack(f); err != nil {
			t.Errorf("a rollback: %v", err)
		}
	})
}

// A rollback goes past a version that was rolled back itself, unless that is asked for.
func TestRollbackSkipsWithdrawn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := grow(t, &caxton.RolloutPlan{Strategy: caxton.RolloutCanary})
		if _, err := f.Abort(t.Context(), f.id, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", "c")}); err != nil {
			t.Fatal(err)
		}
		if d, err := f.Rollback(t.Context(), f.id, 0); err != nil || d.Agent.Version != 1 {
			t.Errorf("rolled back to %d, %v, want 1: version 2 was withdrawn", d.Agent.Version, err)
		}
		if d, err := f.Rollback(t.Context(), f.id, 2); err != nil || d.Agent.Version != 2 || d.Agent.IsWithdrawn(2) {
			t.Errorf("rolled back to %d, %v, want the one asked for", d.Agent.Version, err)
		}
	})
}

func TestRolloutThatDoesNotBegin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := grow(t, &caxton.RolloutPlan{Strategy: caxton.RolloutCanary})
		if _, err := f.Abort(t.Context(), f.id, "no more"); err != nil {
			t.Fatal(err)
		}
		deploying := func(s caxton.RolloutStrategy) error {
			_, err := f.Deploy(t.Context(), caxton.DeployRequest{Text: text("One", "c"), Rollout: &caxton.RolloutPlan{Strategy: s}})
			return err
		}
		failure(t, "an unknown strategy", deploying("odd"), caxton.Invalid, "odd")
		f.runner.shadow = caxton.Errorf(caxton.Invalid, "shadow_unsupported", "not of this kind")
		failure(t, "a shadow that cannot be", deploying(caxton.RolloutShadow), caxton.Invalid, "not of this kind")
		f.want("nothing began", caxton.RolloutAborted, 1, 0, 1)
		f.runner.fault = caxton.Errorf(caxton.Unavailable, "cold", "it does not warm up")
		failure(t, "one that does not warm up", deploying(caxton.RolloutBlueGreen), caxton.Unavailable, "warm up")
		if st := f.want("it failed", caxton.RolloutFailed, 0, 0, 1); st.Rollout.Reason != "it does not warm up" {
			t.Errorf("reason %q", st.Rollout.Reason)
		}
		f.runner.fault = errors.New("secret")
		if err := deploying(caxton.RolloutCanary); err == nil {
			t.Error("no error")
		}
		if st := f.want("it failed", caxton.RolloutFailed, 0, 0, 1); strings.Contains(st.Rollout.Reason, "secret") {
			t.Errorf("reason %q", st.Rollout.Reason)
		}
		f.runner.fault = nil
		f.runner.late = refuses
		failure(t, "one that does not start", deploying(caxton.RolloutRolling), caxton.Unavailable, "does not start")
		f.want("it failed", caxton.RolloutFailed, 1, 0, 1)
		d, err := f.Deploy(t.Context(), caxton.DeployRequest{Text: text("Fresh", "x"), Rollout: &caxton.RolloutPlan{Strategy: caxton.RolloutCanary}})
		if f.runner.late = nil; err == nil {
			t.Errorf("%+v", d)
		}
		d, err = f.Deploy(t.Context(), caxton.DeployRequest{Text: text("Fresh", "x"), Rollout: &caxton.RolloutPlan{Strategy: caxton.RolloutCanary}})
		if err != nil || !d.Created || d.Rollout != nil {
			t.Errorf("a new agent: %+v, %v: there is nothing to roll out from", d, err)
		}
		_, err = f.Rollout(d.Agent.ID)
		failure(t, "the rollout of an agent without", err, caxton.NotFound, "no version of fresh")
	})
}
