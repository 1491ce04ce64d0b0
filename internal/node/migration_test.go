package node_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
)

// tallyText is the definition of a module agent that counts.
func tallyText(name, migrate string) []byte {
	return fmt.Appendf(nil, "---\nname: %s\ntype: wasm\nparameters: {migrate: %q}\ntools: [send_message]\nresource_limits: {max_fuel: 100000}\n---\n", name, migrate)
}

// counted asks in a conversation how often a word was said so far: version 2 of the tally
// counts below zero.
func counted(t *testing.T, c *api.Client, agent, conv, word string) string {
	t.Helper()
	r, err := c.Send(t.Context(), api.Message{ConversationID: conv, Receiver: agent, Text: word}, 20*time.Second)
	if err != nil || r.Reply == nil {
		t.Fatalf("%s to %s: %+v, %v", word, agent, r, err)
	}
	return strings.TrimSpace(strings.TrimPrefix(r.Reply.Performative, "inform") + string(r.Reply.Content))
}

// TestStateOfVersions rolls out a version whose state has another form: each has its own, and
// the one before finds its own as it left it.
func TestStateOfVersions(t *testing.T) {
	one, two := guestModule(t, "tally1"), guestModule(t, "tally2")
	c, _, stop := run(t, t.TempDir(), "wasm.max_agents", "24") // migrations leave no instance behind
	serial := 0
	// begin deploys the first version, has two conversations with it, and the second one by a plan.
	begin := func(t *testing.T, plan api.RolloutPlan) (agent string, ask func(conv string) string) {
		t.Helper()
		serial++
		agent = fmt.Sprintf("tally-%d", serial)
		ask = func(conv string) string { t.Helper(); return counted(t, c, agent, agent+conv, "w") }
		if _, err := c.Deploy(t.Context(), api.Deploy{Text: tallyText(agent, ""), Module: one}); err != nil {
			t.Fatal(err)
		}
		if a, b := ask("old"), ask("other"); a != "1" || b != "2" {
			t.Fatalf("version 1 counts %s, %s", a, b)
		}
		if _, err := c.Deploy(t.Context(), api.Deploy{Text: tallyText(agent, ""), Module: two, Rollout: plan}); err != nil {
			t.Fatal(err)
		}
		return agent, ask
	}
	want := func(t *testing.T, what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	t.Run("immediate", func(t *testing.T) {
		agent, ask := begin(t, api.RolloutPlan{})
		want(t, "a new conversation", ask("new"), "-3")
		want(t, "a running one", ask("old"), "3")
		if _, err := c.Rollback(t.Context(), agent, 0); err != nil {
			t.Fatal(err)
		}
		want(t, "after a rollback", ask("newer"), "4")
		if _, err := c.Rollback(t.Context(), agent, 2); err != nil {
			t.Fatal(err)
		}
		want(t, "made active once more: what version 1 keeps is brought over", ask("newest"), "-5")
	})
	t.Run("rolling", func(t *testing.T) {
		agent, ask := begin(t, api.RolloutPlan{Strategy: "rolling", Hold: "1h"})
		want(t, "a new conversation", ask("new"), "-3")
		want(t, "a running one", ask("old"), "3")
		if _, err := c.Rollback(t.Context(), agent, 0); err != nil {
			t.Fatal(err)
		}
		want(t, "rolled back", ask("new"), "4")
	})
	t.Run("blue-green", func(t *testing.T) {
		agent, ask := begin(t, api.RolloutPlan{Strategy: "blue-green", Hold: "1h"})
		want(t, "a running conversation", ask("old"), "-3")
		want(t, "another", ask("other"), "-4")
		if _, err := c.Rollback(t.Context(), agent, 0); err != nil {
			t.Fatal(err)
		}
		want(t, "rolled back", ask("old"), "3")
	})
	t.Run("canary", func(t *testing.T) {
		agent, ask := begin(t, api.RolloutPlan{Strategy: "canary", CanaryStages: "50:1h"})
		olds, news := 2, -2
		for i := range 30 { // about half of them each
			got := ask(fmt.Sprint("c", i))
			if strings.HasPrefix(got, "-") {
				news--
				want(t, "the new version", got, fmt.Sprint(news))
			} else {
				olds++
				want(t, "the version before", got, fmt.Sprint(olds))
			}
		}
		if olds == 2 || news == -2 {
			t.Errorf("one version had all: %d and %d", olds, news)
		}
		if _, err := c.Rollback(t.Context(), agent, 0); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			olds++
			want(t, "rolled back", ask(fmt.Sprint("c", i)), fmt.Sprint(olds))
		}
	})
	t.Run("canary that is promoted", func(t *testing.T) {
		agent, ask := begin(t, api.RolloutPlan{Strategy: "canary", CanaryStages: "100:1h"})
		want(t, "in the canary", ask("new"), "-3")
		if _, err := c.Promote(t.Context(), agent, false); err != nil {
			t.Fatal(err)
		}
		want(t, "promoted", ask("newer"), "-4")
		for i := range 8 { // a version without anything to bring over goes on; and nothing is left behind of any
			if _, err := c.Deploy(t.Context(), api.Deploy{Text: tallyText(agent, ""), Module: variant(two, i, 0), MoveConversations: true}); err != nil {
				t.Fatal(err)
			}
			want(t, "a later version", ask("newer"), fmt.Sprint(-5-i))
		}
	})
	t.Run("one that fails", func(t *testing.T) {
		for how, code := range map[string]string{"loop": "fuel", "trap": "unreachable", "refuse": "returned 12", "big": "16MiB"} {
			serial++
			agent := fmt.Sprintf("tally-%d", serial)
			if _, err := c.Deploy(t.Context(), api.Deploy{Text: tallyText(agent, ""), Module: one}); err != nil {
				t.Fatal(err)
			}
			want(t, "at first", counted(t, c, agent, "", "w"), "1")
			for _, strategy := range []string{"", "canary", "blue-green"} {
				_, err := c.Deploy(t.Context(), api.Deploy{Text: tallyText(agent, how), Module: two, Rollout: api.RolloutPlan{Strategy: strategy}})
				if e, ok := errors.AsType[*caxton.Error](err); !ok || e.Code != "migration_failed" || !strings.Contains(e.Message, code) {
					t.Errorf("%s, %s: %v, want migration_failed with %q", how, strategy, err, code)
				}
			}
			if vs, err := c.Versions(t.Context(), agent); err != nil || len(vs.Items) != 1 {
				t.Errorf("%s: %+v, %v", how, vs, err)
			}
			want(t, "afterwards", counted(t, c, agent, "", "w"), "2")
			if err := c.RemoveAgent(t.Context(), agent, true); err != nil {
				t.Fatal(err)
			}
		}
	})
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestShadowWithoutMigration: a version without migrate_state that was a shadow goes on with the
// state of the version it follows, and not with the one that was there at first.
func TestShadowWithoutMigration(t *testing.T) {
	one, two := guestModule(t, "tally1"), guestModule(t, "tally2")
	c, _, stop := run(t, t.TempDir())
	for _, d := range []api.Deploy{{Module: one}, {Module: two}, {Module: variant(one, 1, 0), Rollout: api.RolloutPlan{Strategy: "shadow"}}} {
		d.Text = tallyText("tally", "")
		if _, err := c.Deploy(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		_ = counted(t, c, "tally", "", "w")
	}
	if _, err := c.Promote(t.Context(), "tally", false); err != nil {
		t.Fatal(err)
	}
	if got := counted(t, c, "tally", "", "w"); got != "1" {
		t.Errorf("the promoted version counts %s, want 1: that is what it finds in the state of version 2", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestCrashMigration kills a server with kill -9 while it brings state over. Afterwards the
// state is that of the version in force, whole, and was brought over once.
func TestCrashMigration(t *testing.T) {
	const words = 15
	kills, rnd := crashes(t, 6, 150, 3)
	dir := t.TempDir()
	t.Setenv("CAXTON_TEST_QUIET", "1")
	one, two := guestModule(t, "tally1"), guestModule(t, "tally2")
	through := 0
	for k := range kills + 1 {
		v := start(t, dir)
		if k > 0 { // what the kill before left
			before := fmt.Sprintf("tally-%d", k)
			a, err := v.client.Agent(t.Context(), before)
			if err != nil {
				t.Fatal(err)
			}
			sign := ""
			if a.Version == 2 {
				sign = "-"
				through++
			}
			for w := range words {
				if got, want := counted(t, v.client, before, "", fmt.Sprint("w", w)), sign+"2"; got != want {
					t.Errorf("kill %d, version %d: the word %d was counted %s, want %s", k, a.Version, w, got, want)
				}
			}
		}
		agent := fmt.Sprintf("tally-%d", k+1)
		if _, err := v.client.Deploy(t.Context(), api.Deploy{Text: tallyText(agent, ""), Module: one}); err != nil {
			t.Fatal(err)
		}
		for w := range words {
			_ = counted(t, v.client, agent, "", fmt.Sprint("w", w))
		}
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			_, err := v.client.Deploy(ctx, api.Deploy{Text: tallyText(agent, ""), Module: two, MoveConversations: true})
			if caxton.KindOf(err) == caxton.Invalid {
				t.Errorf("Deploy: %v", err)
			}
		})
		pause := time.NewTimer(time.Duration(rnd.Int64N(int64(25 * time.Millisecond))))
		<-pause.C
		v.kill(t)
		cancel()
		wg.Wait()
	}
	t.Logf("%d of %d migrations came through", through, kills)
}

// TestShadowOfAModule has a new version of a module answer along, beside the state that counts.
func TestShadowOfAModule(t *testing.T) {
	one, two := guestModule(t, "tally1"), guestModule(t, "tally2")
	c, _, stop := run(t, t.TempDir())
	compared := func(agent string, n int64) api.Rollout {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; {
			ro, err := c.Rollout(t.Context(), agent)
			if err != nil {
				t.Fatal(err)
			}
			if ro.Shadow.Compared >= n {
				return ro
			}
			if time.Now().After(deadline) {
				t.Fatalf("compared: %+v", ro.Shadow)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
	for _, tt := range []struct {
		name   string
		module []byte
		same   int64
		after  string // what the version counts once it is promoted
	}{{"alike", variant(one, 1, 0), 5, "6"}, {"another", two, 0, "-6"}} {
		if _, err := c.Deploy(t.Context(), api.Deploy{Text: tallyText(tt.name, ""), Module: one}); err != nil {
			t.Fatal(err)
		}
		d, err := c.Deploy(t.Context(), api.Deploy{Text: tallyText(tt.name, ""), Module: tt.module, Rollout: api.RolloutPlan{Strategy: "shadow"}})
		if err != nil || d.Status != "rolling_out" {
			t.Fatalf("Deploy = %+v, %v", d, err)
		}
		for i := range 5 {
			if got, want := counted(t, c, tt.name, "", "w"), fmt.Sprint(i+1); got != want {
				t.Errorf("%s: message %d is counted %s, want %s", tt.name, i, got, want)
			}
		}
		ro := compared(tt.name, 5)
		if ro.Shadow.Same != tt.same || ro.Shadow.Answers != 5-tt.same || ro.Shadow.Failed != 0 {
			t.Errorf("%s: compared %+v", tt.name, ro.Shadow)
		}
		last := func(d api.RolloutDifference) bool { return d.Answer == "inform: 5" && d.Shadow == "inform: -5" }
		if tt.same == 0 && !slices.ContainsFunc(ro.Shadow.Different, last) { // copies are answered in any order
			t.Errorf("%s: differed %+v", tt.name, ro.Shadow.Different)
		}
		if _, err := c.Promote(t.Context(), tt.name, false); err != nil {
			t.Fatal(err)
		}
		if got := counted(t, c, tt.name, "", "w"); got != tt.after {
			t.Errorf("%s: promoted, it counts %s, want %s", tt.name, got, tt.after)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
