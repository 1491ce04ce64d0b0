package schedule_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memjournal"
	"github.com/caxton/caxton/internal/router"
	"github.com/caxton/caxton/internal/schedule"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A house takes the messages and keeps the notes, as a server's other parts would.
type house struct {
	mu       sync.Mutex
	taken    []caxton.Message // each ID once
	at       []time.Time      // when each was taken
	repeated int
	refuse   error                          // what Send answers
	busy     map[caxton.ConversationID]bool // conversations at work
	states   map[caxton.AgentID]caxton.ScheduleState
	saved    error // what SaveScheduleState answers; nothing is kept then
}

func newHouse() *house {
	return &house{busy: map[caxton.ConversationID]bool{}, states: map[caxton.AgentID]caxton.ScheduleState{}}
}

func (h *house) Send(_ context.Context, m caxton.Message) (caxton.Receipt, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		return caxton.Receipt{}, h.refuse
	}
	rc := caxton.Receipt{MessageID: m.ID, ConversationID: caxton.ConversationID("c-" + m.ID)}
	for i := range h.taken {
		if h.taken[i].ID == m.ID {
			h.repeated++
			rc.Duplicate = true
			return rc, nil
		}
	}
	h.taken, h.at = append(h.taken, m), append(h.at, time.Now())
	return rc, nil
}

func (h *house) Conversation(_ context.Context, id caxton.ConversationID) (caxton.Conversation, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy[id] {
		return caxton.Conversation{ID: id, State: caxton.ConversationActive}, nil
	}
	return caxton.Conversation{}, caxton.Errorf(caxton.NotFound, "conversation_not_found", "none")
}

func (h *house) ScheduleStates(context.Context) ([]caxton.ScheduleState, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []caxton.ScheduleState
	for _, s := range h.states {
		all = append(all, s)
	}
	return all, nil
}

func (h *house) SaveScheduleState(_ context.Context, s caxton.ScheduleState) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.saved == nil {
		h.states[s.AgentID] = s
	}
	return h.saved
}

func (h *house) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

// times returns when messages were taken, as "02 15:04".
func (h *house) times() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	ts := []string{}
	for _, t := range h.at {
		ts = append(ts, t.UTC().Format("02 15:04"))
	}
	return ts
}

// start runs a scheduler until stop. Call it inside synctest, where it is midnight of
// 1 January 2000, a Saturday, in the beginning.
func start(t *testing.T, h *house, cfg schedule.Config, agents ...caxton.Agent) (s *schedule.Scheduler, stop func()) {
	t.Helper()
	s = schedule.New(h, h, cfg)
	for _, a := range agents {
		s.AgentChanged(a)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	synctest.Wait()
	return s, stop
}

// pass lets time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func agentWith(change func(*caxton.Schedule)) caxton.Agent {
	s := caxton.Schedule{Enabled: true, Cron: "0 9 * * *"}
	if change != nil {
		change(&s)
	}
	return caxton.Agent{ID: "a-1", Name: "Gardener", Slug: "gardener", Definition: caxton.Definition{Name: "Gardener", Schedule: s}}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, reg := newHouse(), prometheus.NewRegistry()
		other := agentWith(func(s *caxton.Schedule) {
			s.Cron, s.Timezone, s.Message = "30 3 * * *", "Asia/Tokyo", "Water the plants."
		})
		other.ID, other.Slug = "a-2", "botanist"
		s, _ := start(t, h, schedule.Config{Registerer: reg}, agentWith(nil), other, caxton.Agent{ID: "a-3", Slug: "idle"})
		pass(24 * time.Hour)
		if diff := cmp.Diff([]string{"01 09:00", "01 18:30"}, h.times()); diff != "" {
			t.Fatalf("runs (-want +got):\n%s", diff)
		}
		want := []caxton.Message{
			{
				Performative: caxton.Request, Sender: "schedule", Receiver: "gardener",
				Content: caxton.TextContent("This is your scheduled run of Saturday 1 January 2000, 09:00 +00:00 (UTC)."),
			},
			{Performative: caxton.Request, Sender: "schedule", Receiver: "botanist", Content: caxton.TextContent("Water the plants.")},
		}
		for i, m := range h.taken {
			want[i].ID = m.ID
			if err := caxton.CheckID(string(m.ID)); err != nil {
				t.Error(err)
			}
		}
		if diff := cmp.Diff(want, h.taken, cmp.Comparer(func(a, b caxton.Capability) bool { return a == b })); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		st, ok := s.Status("a-1")
		due := time.Date(2000, 1, 1, 9, 0, 0, 0, time.UTC)
		if !ok || !st.Next.Equal(due.AddDate(0, 0, 1)) || !st.State.LastRun.Equal(due) || st.State.MessageID != h.taken[0].ID {
			t.Errorf("Status = %+v, %t", st, ok)
		}
		if _, ok := s.Status("a-3"); ok {
			t.Error("an agent without a schedule has a status")
		}
		if diff := cmp.Diff(map[string]float64{"sent": 2, "missed": 0, "overlapped": 0, "failed": 0}, counted(t, reg)); diff != "" {
			t.Errorf("caxton_schedule_runs_total (-want +got):\n%s", diff)
		}
	})
}

// counted returns caxton_schedule_runs_total by outcome.
func counted(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "caxton_schedule_runs_total" {
				counts[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	return counts
}

// TestMissed: the server is away from the 1st 10:00 to the 4th 11:00 (three runs), or to the
// 4th 09:00:30, when the last of them is on time.
func TestMissed(t *testing.T) {
	tests := []struct {
		name   string
		missed caxton.MissedRuns
		away   time.Duration
		keep   int
		runs   []string // after the restart, until midnight
		due    []int    // the days they are for
		lost   int64
	}{
		{"once", "", 73 * time.Hour, 0, []string{"04 11:00"}, []int{4}, 2},
		{"once, the last on time", caxton.MissedOnce, 71*time.Hour + 30*time.Second, 0, []string{"04 09:00"}, []int{4}, 2},
		{"skip", caxton.MissedSkip, 73 * time.Hour, 0, nil, nil, 3},
		{"skip, the last on time", caxton.MissedSkip, 71*time.Hour + 30*time.Second, 0, []string{"04 09:00"}, []int{4}, 2},
		{"all", caxton.MissedAll, 73 * time.Hour, 0, []string{"04 11:00", "04 11:00", "04 11:00"}, []int{2, 3, 4}, 0},
		{"all, bounded", caxton.MissedAll, 73 * time.Hour, 2, []string{"04 11:00", "04 11:00"}, []int{3, 4}, 1},
		{"all, bounded, the last on time", caxton.MissedAll, 71*time.Hour + 30*time.Second, 1, []string{"04 09:00", "04 09:00"}, []int{3, 4}, 1},
		{"none", caxton.MissedAll, time.Hour, 0, nil, nil, 0},
	}
	for _, suspended := range []bool{false, true} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s, suspended %t", tt.name, suspended), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHouse()
					a := agentWith(func(s *caxton.Schedule) { s.Missed = tt.missed })
					s, stop := start(t, h, schedule.Config{KeepMissed: tt.keep}, a)
					pass(10 * time.Hour)
					if suspended {
						out := a
						out.Suspended = true
						s.AgentChanged(out)
						pass(tt.away)
						s.AgentChanged(a)
						synctest.Wait()
					} else {
						stop()
						pass(tt.away)
						s, _ = start(t, h, schedule.Config{KeepMissed: tt.keep}, a)
					}
					pass(3 * time.Hour)
					var want []caxton.MessageID
					for _, day := range append([]int{1}, tt.due...) {
						want = append(want, idOf(t, a, time.Date(2000, 1, day, 9, 0, 0, 0, time.UTC)))
					}
					if diff := cmp.Diff(append([]string{"01 09:00"}, tt.runs...), h.times()); diff != "" {
						t.Errorf("runs (-want +got):\n%s", diff)
					}
					for i, m := range h.taken {
						if i < len(want) && m.ID != want[i] {
							t.Errorf("run %d is not for the day wanted", i)
						}
					}
					if st, _ := s.Status("a-1"); st.State.Missed != tt.lost {
						t.Errorf("missed %d, want %d", st.State.Missed, tt.lost)
					}
				})
			})
		}
	}
}

// idOf returns the ID of the run of a that is due at a time, by having a scheduler of its own
// begin it.
func idOf(t *testing.T, a caxton.Agent, due time.Time) caxton.MessageID {
	t.Helper()
	h := newHouse()
	h.states[a.ID] = caxton.ScheduleState{AgentID: a.ID, Schedule: a.Definition.Schedule.Cron + " UTC", Through: due.Add(-time.Minute)}
	a.Definition.Schedule.Missed = caxton.MissedOnce
	_, stop := start(t, h, schedule.Config{Now: func() time.Time { return due }}, a)
	stop()
	if len(h.taken) != 1 {
		t.Fatalf("%d runs at %v", len(h.taken), due)
	}
	return h.taken[0].ID
}

// TestCrash stops schedulers at random moments; what they noted last may be lost. No time is
// run twice, and with missed: all none is left out.
func TestCrash(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 0))
			h := newHouse()
			a := agentWith(func(s *caxton.Schedule) {
				s.Cron, s.Missed, s.Overlap = "*/10 * * * *", caxton.MissedAll, caxton.OverlapAllow
			})
			_, stop := start(t, h, schedule.Config{}, a)
			for range 30 {
				pass(time.Duration(rnd.IntN(3600)) * time.Second)
				h.set(func() { h.saved = fmt.Errorf("the disk is gone") }) // what comes now is not noted
				pass(time.Duration(rnd.IntN(1200)) * time.Second)
				stop()
				pass(time.Duration(rnd.IntN(7200)) * time.Second)
				h.set(func() { h.saved = nil })
				_, stop = start(t, h, schedule.Config{}, a)
			}
			stop()
			begin, end := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Now()
			if want := int(end.Sub(begin) / (10 * time.Minute)); len(h.taken) != want {
				t.Errorf("seed %d: %d runs, want %d", seed, len(h.taken), want)
			}
			if h.repeated == 0 {
				t.Errorf("seed %d: nothing was lost, so nothing was tested", seed)
			}
		})
	}
}

func TestOverlap(t *testing.T) {
	for _, tt := range []struct {
		overlap caxton.Overlap
		want    []string
		skipped int64
	}{
		{"", []string{"01 09:00", "04 09:00"}, 2},
		{caxton.OverlapSkip, []string{"01 09:00", "04 09:00"}, 2},
		{caxton.OverlapAllow, []string{"01 09:00", "02 09:00", "03 09:00", "04 09:00"}, 0},
	} {
		t.Run(string(tt.overlap), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse()
				s, _ := start(t, h, schedule.Config{}, agentWith(func(s *caxton.Schedule) { s.Overlap = tt.overlap }))
				pass(10 * time.Hour)
				h.set(func() { h.busy["c-"+caxton.ConversationID(h.taken[0].ID)] = true })
				pass(48 * time.Hour)
				h.set(func() { clear(h.busy) })
				pass(24 * time.Hour)
				if diff := cmp.Diff(tt.want, h.times()); diff != "" {
					t.Errorf("runs (-want +got):\n%s", diff)
				}
				if st, _ := s.Status("a-1"); st.State.Overlapped != tt.skipped {
					t.Errorf("overlapped %d, want %d", st.State.Overlapped, tt.skipped)
				}
			})
		})
	}
}

// TestChanges: a schedule that is given, changed or enabled begins then; nothing from before
// was due.
func TestChanges(t *testing.T) {
	tests := []struct {
		name   string
		change func(s *schedule.Scheduler, stop func(), restart func(caxton.Agent) *schedule.Scheduler)
		want   []string
	}{
		{"another time", func(s *schedule.Scheduler, _ func(), _ func(caxton.Agent) *schedule.Scheduler) {
			s.AgentChanged(agentWith(func(s *caxton.Schedule) { s.Cron = "0 8 * * *" }))
		}, []string{"01 09:00", "02 08:00"}},
		{"another zone", func(s *schedule.Scheduler, _ func(), _ func(caxton.Agent) *schedule.Scheduler) {
			s.AgentChanged(agentWith(func(s *caxton.Schedule) { s.Timezone = "Asia/Tokyo" }))
		}, []string{"01 09:00", "02 00:00"}},
		{"another version with the same schedule", func(s *schedule.Scheduler, _ func(), _ func(caxton.Agent) *schedule.Scheduler) {
			s.AgentChanged(agentWith(func(s *caxton.Schedule) { s.Timezone = "UTC" }))
		}, []string{"01 09:00", "02 09:00"}},
		{"removed", func(s *schedule.Scheduler, _ func(), _ func(caxton.Agent) *schedule.Scheduler) {
			s.AgentRemoved("a-1")
		}, []string{"01 09:00"}},
		{"changed while the server is away", func(_ *schedule.Scheduler, stop func(), restart func(caxton.Agent) *schedule.Scheduler) {
			stop()
			pass(6 * time.Hour)
			restart(agentWith(func(s *caxton.Schedule) { s.Cron = "0 15 * * *" })) // it is 16:00
		}, []string{"01 09:00", "02 15:00"}},
		{"disabled and enabled again", func(s *schedule.Scheduler, _ func(), _ func(caxton.Agent) *schedule.Scheduler) {
			s.AgentChanged(agentWith(func(s *caxton.Schedule) { s.Enabled = false }))
			pass(48 * time.Hour) // it is the 3rd, 10:00
			s.AgentChanged(agentWith(nil))
		}, []string{"01 09:00", "04 09:00"}},
		{"not readable", func(s *schedule.Scheduler, _ func(), _ func(caxton.Agent) *schedule.Scheduler) {
			s.AgentChanged(agentWith(func(s *caxton.Schedule) { s.Timezone = "Europe/Atlantis" }))
			synctest.Wait()
			if st, ok := s.Status("a-1"); !ok || st.State.Error == "" || !st.Next.IsZero() {
				t.Errorf("Status = %+v, %t, want an error", st, ok)
			}
		}, []string{"01 09:00"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse()
				s, stop := start(t, h, schedule.Config{}, agentWith(nil))
				pass(10 * time.Hour)
				tt.change(s, stop, func(a caxton.Agent) *schedule.Scheduler {
					s, _ := start(t, h, schedule.Config{}, a)
					return s
				})
				pass(23*time.Hour + time.Minute)
				if diff := cmp.Diff(tt.want, h.times()); diff != "" {
					t.Errorf("runs (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestRefused(t *testing.T) {
	t.Run("for now", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse()
			h.refuse = caxton.Errorf(caxton.Exhausted, "queue_full", "full")
			start(t, h, schedule.Config{}, agentWith(nil))
			pass(9*time.Hour + 10*time.Minute)
			h.set(func() { h.refuse = nil })
			pass(time.Minute)
			if ts := h.times(); len(ts) != 1 || !strings.HasPrefix(ts[0], "01 09:1") {
				t.Errorf("runs at %v, want one within a minute of 09:10", ts)
			}
		})
	})
	t.Run("for good", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse()
			h.refuse = caxton.Errorf(caxton.TooLarge, "message_too_large", "the content is too large")
			s, _ := start(t, h, schedule.Config{}, agentWith(nil))
			pass(10 * time.Hour)
			h.set(func() { h.refuse = nil })
			if st, _ := s.Status("a-1"); st.State.Error != "the content is too large" {
				t.Errorf("error %q", st.State.Error)
			}
			pass(24 * time.Hour)
			if diff := cmp.Diff([]string{"02 09:00"}, h.times()); diff != "" {
				t.Errorf("runs (-want +got):\n%s", diff)
			}
			if st, _ := s.Status("a-1"); st.State.Error != "" {
				t.Errorf("error %q after a run that went well", st.State.Error)
			}
		})
	})
}

// TestStatusAfterRestart: an agent that is told of once the store is read is shown with its
// latest run, and what was told at the last moment is noted.
func TestStatusAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		_, stop := start(t, h, schedule.Config{}, agentWith(nil))
		pass(10 * time.Hour)
		stop()
		s, stop := start(t, h, schedule.Config{})
		<-s.Loaded()
		s.AgentChanged(agentWith(nil))
		if st, ok := s.Status("a-1"); !ok || st.State.MessageID != h.taken[0].ID || st.Next.IsZero() {
			t.Errorf("Status = %+v, %t, want the run of the day", st, ok)
		}
		late := agentWith(nil)
		late.ID = "a-9"
		s.AgentChanged(late)
		stop()
		if st := h.states["a-9"]; st.Schedule == "" || st.Through.IsZero() {
			t.Errorf("noted of a schedule given at the last moment: %+v", st)
		}
	})
}

// TestStatusAtOnce: what the directory told shows before Run has looked at it.
func TestStatusAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := schedule.New(newHouse(), newHouse(), schedule.Config{})
		a := agentWith(nil)
		s.AgentChanged(a)
		if st, ok := s.Status(a.ID); !ok || !st.Next.Equal(time.Date(2000, 1, 1, 9, 0, 0, 0, time.UTC)) {
			t.Errorf("Status = %+v, %t, want a run at nine", st, ok)
		}
		a.Suspended = true
		s.AgentChanged(a)
		if st, ok := s.Status(a.ID); !ok || !st.Next.IsZero() {
			t.Errorf("Status of a suspended agent = %+v, %t, want no run", st, ok)
		}
		s.AgentRemoved(a.ID)
		if st, ok := s.Status(a.ID); ok {
			t.Errorf("Status of an agent that is gone = %+v", st)
		}
	})
}

func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		jittered := func(s *caxton.Schedule) { s.Cron, s.Jitter = "0 * * * *", 10*time.Minute }
		s, stop := start(t, h, schedule.Config{}, agentWith(jittered))
		pass(100*time.Hour + 10*time.Minute)
		delays := map[time.Duration]bool{}
		for _, at := range h.at {
			d := at.Sub(at.Truncate(time.Hour))
			if delays[d] = true; d >= 10*time.Minute {
				t.Errorf("a run began %v late", d)
			}
		}
		if len(h.at) != 100 || len(delays) < 90 {
			t.Errorf("%d runs with %d delays, want 100 that differ", len(h.at), len(delays))
		}
		before, _ := s.Status("a-1")
		stop()
		s, _ = start(t, h, schedule.Config{}, agentWith(jittered))
		if after, _ := s.Status("a-1"); !after.Next.Equal(before.Next) || after.Next.IsZero() {
			t.Errorf("after a restart the next run is at %v, before it was at %v", after.Next, before.Next)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a jitter as long as the time between two runs loses none
		h := newHouse()
		start(t, h, schedule.Config{}, agentWith(func(s *caxton.Schedule) { s.Cron, s.Jitter = "* * * * *", time.Hour }))
		pass(time.Hour + time.Minute)
		if n := len(h.at); n != 60 {
			t.Errorf("%d runs in an hour, want 60", n)
		}
	})
}

// TestClockSet: the clock jumps ahead, and back again by years.
func TestClockSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		var mu sync.Mutex
		var ahead time.Duration
		now := func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(ahead) }
		set := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); ahead = d }
		start(t, h, schedule.Config{Now: now}, agentWith(nil))
		pass(time.Hour)
		set(8 * time.Hour) // it is 09:00 at once
		pass(2 * time.Minute)
		if n := len(h.times()); n != 1 {
			t.Fatalf("%d runs after the clock was set to nine, want 1", n)
		}
		set(10 * 365 * 24 * time.Hour)
		pass(2 * time.Minute)
		set(0)
		n := len(h.times())
		pass(24 * time.Hour)
		if got := len(h.times()) - n; got != 0 || h.repeated != 1 {
			t.Errorf("on the day that came twice %d new runs, %d repeated, want 0 and 1", got, h.repeated)
		}
		pass(24 * time.Hour)
		if got := len(h.times()) - n; got != 1 {
			t.Errorf("%d runs on the day after, want 1", got)
		}
	})
}

// TestLongAway: years of missed minutes are passed over quickly, and one run stands for all.
func TestLongAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		now := time.Date(2030, 6, 1, 12, 0, 30, 0, time.UTC)
		h.states["a-1"] = caxton.ScheduleState{AgentID: "a-1", Schedule: "* * * * * UTC", Through: now.AddDate(-9, 0, 0)}
		s, _ := start(t, h, schedule.Config{Now: func() time.Time { return now }}, agentWith(func(s *caxton.Schedule) { s.Cron = "* * * * *" }))
		st, _ := s.Status("a-1")
		if len(h.taken) != 1 || !st.State.LastRun.Equal(now.Truncate(time.Minute)) || st.State.Missed != 9999 {
			t.Errorf("%d runs, state %+v", len(h.taken), st.State)
		}
	})
}

// A directory knows one agent.
type directory struct{ agent caxton.Agent }

func (d directory) Agent(caxton.AgentID) (caxton.Agent, error) { return d.agent, nil }
func (d directory) Resolve(string) (caxton.Agent, error)       { return d.agent, nil }
func (d directory) Providers(caxton.Capability) []caxton.Agent { return nil }
func (d directory) Capabilities() []caxton.Capability          { return nil }

// TestRouter: with a real router and journal a run is a message like any other, the same one
// when it is sent again, and at work until it is settled.
func TestRouter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := agentWith(func(s *caxton.Schedule) { s.Cron = "*/10 * * * *" })
		r := router.New(memjournal.New(memjournal.Config{}), directory{a}, router.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { _ = r.Run(ctx) })
		store := newHouse()
		s := schedule.New(r, store, schedule.Config{})
		s.AgentChanged(a)
		wg.Go(func() { _ = s.Run(ctx) })
		pass(25 * time.Minute) // the second run finds the first at work
		st, _ := s.Status(a.ID)
		if st.State.Overlapped != 1 || r.Pending(a.ID) != 1 {
			t.Fatalf("overlapped %d, waiting %d, want 1 and 1", st.State.Overlapped, r.Pending(a.ID))
		}
		l, ok := r.Next(t.Context(), a.ID)
		if !ok || l.Message.ConversationID != st.State.ConversationID || l.Message.ID != st.State.MessageID {
			t.Fatalf("Next = %+v, %t, want message %s", l.Message, ok, st.State.MessageID)
		}
		answer := l.Message.Reply(caxton.Inform, caxton.TextContent("done"))
		if err := r.Settle(t.Context(), caxton.Settlement{
			Lease: l, Outcome: caxton.OutcomeDone, At: time.Now(), Outputs: []caxton.Delivery{{Message: answer}},
		}); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Minute)
		again, _ := s.Status(a.ID)
		if again.State.Overlapped != 1 || again.State.ConversationID == st.State.ConversationID || r.Pending(a.ID) != 1 {
			t.Errorf("after the answer: %+v, waiting %d, want another run", again.State, r.Pending(a.ID))
		}
	})
}
