package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
)

// versionsScript answers with what the agent's template made of the message: which version
// it was. What is rotten fails.
const versionsScript = `rules:
  - when: {contains: rotten}
    error: invalid
  - reply: "{{message}}"
`

// versioned is an agent that says which version answers.
func versioned(mark string) []byte {
	return fmt.Appendf(nil, "---\nname: Teller\ncapabilities: [telling]\nsystem_prompt: Tell.\nuser_prompt_template: \"%s says {{request}}\"\n---\n", mark)
}

// rolling starts a server with the agent teller at version 1.
func rolling(t *testing.T) (dir string, c *api.Client, stop func() error) {
	t.Helper()
	dir = t.TempDir()
	put(t, dir, map[string]string{"script.yaml": versionsScript})
	c, _, stop = run(t, dir, "llm.provider", "scripted", "llm.file", filepath.Join(dir, "script.yaml"))
	if _, err := c.Deploy(t.Context(), api.Deploy{Text: versioned("one")}); err != nil {
		t.Fatal(err)
	}
	return dir, c, stop
}

// A stream sends messages in many conversations, about 200 a second, and keeps what came of
// each.
type stream struct {
	t      *testing.T
	c      *api.Client
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	all  []told
	seen map[string]int // answers by mark
}

// A told is one message and its answer.
type told struct {
	conv, id, mark string // mark is the version's, or "failure"
	sent, got      time.Time
}

const conversations = 80

func newStream(t *testing.T, c *api.Client) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &stream{t: t, c: c, cancel: cancel, seen: map[string]int{}}
	tick := time.NewTicker(5 * time.Millisecond) // 200 a second
	var serial atomic.Int64
	for range 6 {
		s.wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				n := serial.Add(1)
				id := fmt.Sprintf("m-%d", n)
				// every third begins a conversation of its own, the others go on with old ones
				conv := fmt.Sprintf("c-%d", n%conversations)
				if n%3 == 0 {
					conv = "own-" + id
				}
				one := told{conv: conv, id: id, sent: time.Now()}
				r, err := c.Send(t.Context(), api.Message{MessageID: id, ConversationID: conv, Receiver: "teller", Text: id}, 30*time.Second)
				if err != nil || r.Reply == nil {
					t.Errorf("message %s: %+v, %v", id, r, err)
					return
				}
				one.got = time.Now()
				mark, text, ok := strings.Cut(r.Reply.Text, " says ")
				if r.Reply.Performative == "failure" {
					mark, text, ok = "failure", id, true
				}
				if !ok || text != id {
					t.Errorf("message %s was answered with %q", id, r.Reply.Text)
				}
				one.mark = mark
				s.mu.Lock()
				s.all = append(s.all, one)
				s.seen[mark]++
				s.mu.Unlock()
			}
		})
	}
	t.Cleanup(func() { tick.Stop(); s.end() })
	return s
}

// await waits until so many more answers of a mark have come.
func (s *stream) await(mark string, n int) {
	s.t.Helper()
	deadline := time.After(time.Minute)
	s.mu.Lock()
	n += s.seen[mark]
	s.mu.Unlock()
	for {
		s.mu.Lock()
		done := s.seen[mark] >= n
		s.mu.Unlock()
		if done || s.t.Failed() {
			return
		}
		select {
		case <-deadline:
			s.t.Fatalf("not so many answers of %s: %v", mark, s.seen)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// end ends the stream and returns all that was said.
func (s *stream) end() []told {
	s.cancel()
	s.wg.Wait()
	return s.all
}

// once holds that each message was settled once and has one reply.
func (s *stream) once(dir string) {
	s.t.Helper()
	acked := map[string]string{}
	for _, m := range s.all {
		acked[m.id] = m.conv
	}
	check(s.t, dir, acked)
}

// after returns the marks of the answers to messages that were sent after a time.
func after(all []told, at time.Time) map[string]int {
	marks := map[string]int{}
	for _, m := range all {
		if m.sent.After(at) {
			marks[m.mark]++
		}
	}
	return marks
}

func awaitRollout(t *testing.T, c *api.Client, until func(api.Rollout) bool) api.Rollout {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		ro, err := c.Rollout(t.Context(), "teller")
		if err != nil {
			t.Fatal(err)
		}
		if until(ro) {
			return ro
		}
		select {
		case <-deadline:
			t.Fatalf("the rollout stands still: %+v", ro)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestBlueGreenUnderLoad switches to a new version, back, and to another, while messages come
// in: all are answered once, and after each switch by the right version alone.
func TestBlueGreenUnderLoad(t *testing.T) {
	dir, c, stop := rolling(t)
	s := newStream(t, c)
	s.await("one", 100)
	switched := func(mark string) time.Time {
		d, err := c.Deploy(t.Context(), api.Deploy{Text: versioned(mark), Rollout: api.RolloutPlan{Strategy: "blue-green", Hold: "1h"}})
		if err != nil || d.Status != "rolling_out" || d.Rollout.Percent != 100 {
			t.Fatalf("Deploy = %+v, %v", d, err)
		}
		return time.Now()
	}
	first := switched("two")
	s.await("two", 150)
	began := time.Now()
	d, err := c.Rollback(t.Context(), "teller", 0)
	took := time.Since(began)
	if err != nil || d.Status != "rolled_back" || d.Version != 1 || d.FromVersion != 2 {
		t.Fatalf("Rollback = %+v, %v", d, err)
	}
	back := time.Now()
	s.await("one", 150)
	third := switched("three")
	s.await("three", 100)
	if ro, err := c.Promote(t.Context(), "teller", false); err != nil || ro.State != "completed" || ro.Active != 3 {
		t.Errorf("Promote = %+v, %v", ro, err)
	}
	s.await("three", 50)
	all := s.end()
	for name, want := range map[string]struct {
		from, to time.Time
		mark     string
	}{
		"before": {time.Time{}, first.Add(-time.Second), "one"}, "switched": {first, began, "two"}, "rolled back": {back, third.Add(-time.Second), "one"}, "switched again": {third, time.Now(), "three"},
	} {
		for _, m := range all {
			if m.sent.After(want.from) && m.got.Before(want.to) && m.mark != want.mark {
				t.Errorf("%s: message %s was answered by %s, want %s", name, m.id, m.mark, want.mark)
			}
		}
	}
	last := time.Duration(0)
	for _, m := range all {
		if m.mark == "two" && m.got.After(began) {
			last = max(last, m.got.Sub(began))
		}
	}
	t.Logf("%d messages; rolled back in %s, the last answer of the version withdrawn came %s after the order", len(all), took, last)
	if took > 3*time.Second {
		t.Logf("the goal is 3s")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	s.once(dir)
}

// TestBadCanaryUnderLoad rolls out a version that fails: the gates withdraw it, conversations
// stay with one version as long as there are two, and nothing is lost or answered twice.
func TestBadCanaryUnderLoad(t *testing.T) {
	dir, c, stop := rolling(t)
	s := newStream(t, c)
	s.await("one", 100)
	begun := time.Now()
	d, err := c.Deploy(t.Context(), api.Deploy{Text: versioned("rotten"), Rollout: api.RolloutPlan{
		Strategy: "canary", CanaryStages: "30:1h", RollbackOn: "error_rate>10%",
	}})
	if err != nil || d.Status != "rolling_out" || d.Version != 1 || d.Rollout.Percent != 30 {
		t.Fatalf("Deploy = %+v, %v", d, err)
	}
	ro := awaitRollout(t, c, func(ro api.Rollout) bool { return ro.State != "running" })
	seen := time.Now()
	if ro.State != "rolled_back" || !strings.Contains(ro.Reason, "error_rate>10%") || ro.Active != 1 || ro.Versions[1].Errors < 20 {
		t.Errorf("the rollout ended as %+v", ro)
	}
	s.await("one", 200)
	all := s.end()
	if marks := after(all, seen); marks["failure"] > 0 || marks["one"] == 0 {
		t.Errorf("after the rollback: %v", marks)
	}
	failed, last := 0, time.Duration(0)
	for _, m := range all {
		if m.mark == "failure" {
			failed++
			last = max(last, m.got.Sub(*ro.EndedAt))
			if m.sent.Before(begun) {
				t.Errorf("message %s failed before the rollout began", m.id)
			}
		}
	}
	t.Logf("%d messages, %d of them had the bad version; withdrawn %s after the rollout began, the last failure came %s after that",
		len(all), failed, ro.EndedAt.Sub(ro.StartedAt), last)
	if err := stop(); err != nil {
		t.Error(err)
	}
	s.once(dir)
}

// TestCanaryUnderLoad brings a good version in by stages: conversations never go back and
// forth, and in the end new ones have the new version.
func TestCanaryUnderLoad(t *testing.T) {
	dir, c, stop := rolling(t)
	s := newStream(t, c)
	s.await("one", 100)
	_, err := c.Deploy(t.Context(), api.Deploy{Text: versioned("two"), Rollout: api.RolloutPlan{
		Strategy: "canary", CanaryStages: "10:300ms,50:300ms", RollbackOn: "error_rate>1%", MinMessages: new(5),
	}})
	if err != nil {
		t.Fatal(err)
	}
	ro := awaitRollout(t, c, func(ro api.Rollout) bool { return ro.State != "running" })
	if ro.State != "completed" || ro.Active != 2 || ro.Progress != 100 {
		t.Errorf("the rollout ended as %+v", ro)
	}
	s.await("two", 100)
	all := s.end()
	last := map[string]string{}
	for _, m := range all {
		if was := last[m.conv]; was != "" && was != m.mark && strings.HasPrefix(m.conv, "c-") {
			t.Errorf("conversation %s went from version %s to %s", m.conv, was, m.mark)
		}
		last[m.conv] = m.mark
	}
	for _, m := range all {
		if m.sent.After(*ro.EndedAt) && strings.HasPrefix(m.conv, "own-") && m.mark != "two" {
			t.Errorf("message %s began a conversation after the end, and was answered by %s", m.id, m.mark)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	s.once(dir)
}

// TestRollingMovesConversations holds that running conversations keep their version until the
// time to drain is over, and that a file of another version through the API does not end it.
func TestRollingMovesConversations(t *testing.T) {
	_, c, _ := rolling(t)
	ask := func(conv string) string {
		r, err := c.Send(t.Context(), api.Message{ConversationID: conv, Receiver: "teller", Text: "x"}, 10*time.Second)
		if err != nil || r.Reply == nil {
			t.Fatalf("%+v, %v", r, err)
		}
		return r.Reply.Text
	}
	ask("old")
	if _, err := c.Deploy(t.Context(), api.Deploy{Text: versioned("two"), Rollout: api.RolloutPlan{Strategy: "rolling", Hold: "500ms"}}); err != nil {
		t.Fatal(err)
	}
	if old, fresh := ask("old"), ask("fresh"); old != "one says x" || fresh != "two says x" {
		t.Errorf("while it drains: %q and %q", old, fresh)
	}
	awaitRollout(t, c, func(ro api.Rollout) bool { return ro.State == "completed" })
	if old := ask("old"); old != "two says x" {
		t.Errorf("after it has drained: %q", old)
	}
}

// TestShadowCompares has a version answer along: nobody hears it, and what it would have said
// and done is shown beside what was.
func TestShadowCompares(t *testing.T) {
	_, c, _ := rolling(t)
	if _, err := c.Deploy(t.Context(), api.Deploy{Text: versioned("two"), Rollout: api.RolloutPlan{Strategy: "shadow"}}); err != nil {
		t.Fatal(err)
	}
	r, err := c.Send(t.Context(), api.Message{ConversationID: "c", Receiver: "teller", Text: "x"}, 10*time.Second)
	if err != nil || r.Reply == nil || r.Reply.Text != "one says x" {
		t.Fatalf("%+v, %v", r, err)
	}
	ro := awaitRollout(t, c, func(ro api.Rollout) bool { return ro.Shadow.Compared == 1 })
	if d := ro.Shadow.Different; ro.Shadow.Answers != 1 || len(d) != 1 || d[0].Answer != "inform: one says x" || d[0].Shadow != "inform: two says x" {
		t.Errorf("compared: %+v", ro.Shadow)
	}
	rs, err := c.Records(t.Context(), "c", 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs.Items {
		if strings.Contains(string(r.Body), "two") {
			t.Errorf("the log tells of the shadow: %s", r.Body)
		}
	}
	if ro, err := c.Abort(t.Context(), "teller", "seen enough"); err != nil || ro.State != "aborted" || ro.Reason != "seen enough" {
		t.Errorf("Abort = %+v, %v", ro, err)
	}
}

// TestCrashRollout kills a server with kill -9 again and again while versions are rolled out,
// promoted and rolled back. Whatever was acknowledged is answered once; the rollout is found
// as it was left; and while it is open, a conversation has one version, whatever happens.
func TestCrashRollout(t *testing.T) {
	kills, rnd := crashes(t, 10, 200, 4)
	dir := t.TempDir()
	put(t, dir, map[string]string{"script.yaml": versionsScript})
	t.Setenv("CAXTON_TEST_QUIET", "1")
	t.Setenv("CAXTON_TEST_FLAGS", "llm.provider=scripted,llm.file="+filepath.Join(dir, "script.yaml"))
	v := start(t, dir)
	if _, err := v.client.Deploy(t.Context(), api.Deploy{Text: versioned("v0")}); err != nil {
		t.Fatal(err)
	}
	v.kill(t)
	var mu sync.Mutex
	acked := map[string]string{}   // conversation by message
	pinned := map[string]string{}  // version by conversation, of this rollout
	var serial, round atomic.Int64 // round is that of the rollout
	for k := range kills {
		v := start(t, dir)
		before, err := v.client.Rollout(t.Context(), "teller")
		if k > 0 && err != nil {
			t.Fatal(err)
		}
		if k%3 == 0 { // another rollout
			if k > 0 && before.State == "running" {
				if k%2 == 0 {
					_, err = v.client.Rollback(t.Context(), "teller", 0)
				} else {
					_, err = v.client.Promote(t.Context(), "teller", false)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if _, err := v.client.Deploy(t.Context(), api.Deploy{Text: versioned(fmt.Sprintf("v%d", k+1)), Rollout: api.RolloutPlan{Strategy: "canary", CanaryStages: "50:1h"}}); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			clear(pinned)
			mu.Unlock()
			round.Add(1)
		} else if before.State != "running" || before.Percent != 50 || before.ToVersion != 1+int(round.Load()) {
			t.Fatalf("after kill %d: %+v, want version %d with half of the conversations", k, before, 1+round.Load())
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					n := serial.Add(1)
					id := fmt.Sprintf("m-%d", n)
					conv := fmt.Sprintf("c-%d-%d", round.Load(), n%50)
					wait := time.Duration(0)
					if w == 0 {
						wait = 5 * time.Second
					}
					r, err := v.client.Send(ctx, api.Message{MessageID: id, ConversationID: conv, Receiver: "teller", Text: id}, wait)
					if err != nil {
						continue // not acknowledged
					}
					mu.Lock()
					acked[id] = conv
					if r.Reply != nil {
						mark, _, _ := strings.Cut(r.Reply.Text, " says ")
						if was := pinned[conv]; was != "" && was != mark {
							t.Errorf("conversation %s went from %s to %s", conv, was, mark)
						}
						pinned[conv] = mark
					}
					mu.Unlock()
				}
			})
		}
		select {
		case <-time.After(time.Duration(20+rnd.IntN(120)) * time.Millisecond):
		case <-t.Context().Done():
		}
		if k%5 == 4 { // killed in the middle of a change
			wg.Go(func() { _, _ = v.client.Promote(ctx, "teller", true) })
		}
		v.kill(t)
		cancel()
		wg.Wait()
		if k%5 == 4 { // and what became of it is the beginning of the next round
			v := start(t, dir)
			ro, err := v.client.Rollout(t.Context(), "teller")
			if err != nil || ro.State != "running" && ro.State != "completed" {
				t.Fatalf("after a kill in a change: %+v, %v", ro, err)
			}
			if ro.State == "completed" {
				if _, err := v.client.Deploy(t.Context(), api.Deploy{Text: versioned(fmt.Sprintf("w%d", k+1)), Rollout: api.RolloutPlan{Strategy: "canary", CanaryStages: "50:1h"}}); err != nil {
					t.Fatal(err)
				}
				clear(pinned)
				round.Add(1)
			}
			v.kill(t)
		}
	}
	v = start(t, dir)
	v.settle(t)
	v.kill(t)
	check(t, dir, acked)
	sticky(t, dir, acked)
}

// sticky holds the log against what a conversation may have: each was opened under one
// rollout, and all that was accepted while that was open is for one version.
func sticky(t *testing.T, dir string, acked map[string]string) {
	t.Helper()
	v := start(t, dir)
	defer v.kill(t)
	seen := map[string]bool{}
	split := 0
	for _, conv := range acked {
		if seen[conv] {
			continue
		}
		seen[conv] = true
		rs, err := v.client.Records(t.Context(), conv, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		versions := map[int]bool{}
		for _, r := range rs.Items {
			if r.Kind == string(caxton.RecordMessage) {
				if n := versionIn(r.Body); n > 0 {
					versions[n] = true
				}
			}
		}
		if len(versions) > 1 {
			split++
		}
	}
	if split > 0 {
		t.Errorf("%d of %d conversations have more than one version", split, len(seen))
	}
}

// versionIn returns the agent's version that a message's record tells, or 0.
func versionIn(body []byte) int {
	_, rest, ok := strings.Cut(string(body), `"version":`)
	if !ok {
		return 0
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	n, err := strconv.Atoi(rest[:end])
	if err != nil {
		return 0
	}
	return n
}

// TestRolloutEvents holds that streams and webhooks are told of each step of a rollout.
func TestRolloutEvents(t *testing.T) {
	told := make(chan string, 20)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var p struct {
			Type string
			Data api.RolloutEvent
		}
		if err := json.NewDecoder(r.Body).Decode(&p); err == nil && p.Type == "rollout" {
			told <- fmt.Sprint(p.Data.Step, " ", p.Data.Percent, " ", p.Data.State, " ", p.Data.Reason)
		}
	}))
	defer receiver.Close()
	dir := t.TempDir()
	put(t, dir, map[string]string{
		"script.yaml": versionsScript,
		"caxton.yaml": "messaging:\n  webhook_allowed_hosts: [127.0.0.1]\n  webhooks:\n    - {url: " + receiver.URL + ", secret: a secret that is long enough, events: [rollout], agents: [teller]}\n",
	})
	c, _, stop := run(t, dir, "llm.provider", "scripted", "llm.file", filepath.Join(dir, "script.yaml"))
	if _, err := c.Deploy(t.Context(), api.Deploy{Text: versioned("one")}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	streamed := make(chan string, 20)
	var wg sync.WaitGroup
	var heard [4]atomic.Bool
	for i, f := range []api.EventFilter{{}, {Kinds: []string{"rollout", "settled"}, Agent: "teller"}, {Kinds: []string{"settled"}}, {Conversation: "c"}} {
		wg.Go(func() {
			_ = c.FollowEvents(ctx, f, func(e api.Event) error {
				if e.Name == "rollout" {
					ro, err := e.Rollout()
					if err != nil {
						return err
					}
					streamed <- fmt.Sprint(ro.Step, " ", ro.Percent, " ", ro.State, " ", ro.Reason)
				}
				heard[i].Store(true)
				return nil
			})
		})
	}
	for deadline := time.Now().Add(20 * time.Second); !heard[0].Load() || !heard[1].Load() || !heard[2].Load() || !heard[3].Load(); {
		if _, err := c.Send(t.Context(), api.Message{ConversationID: "c", Receiver: "teller", Text: "x"}, 10*time.Second); err != nil || time.Now().After(deadline) {
			t.Fatal("the streams do not open", err)
		}
	}
	if _, err := c.Deploy(t.Context(), api.Deploy{Text: versioned("two"), Rollout: api.RolloutPlan{Strategy: "canary", CanaryStages: "10:1h,50:1h"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Promote(t.Context(), "teller", true); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Abort(t.Context(), "teller", "seen enough"); err != nil {
		t.Fatal(err)
	}
	want := []string{"began 0 preparing ", "ended 0 aborted seen enough", "stage 10 running ", "stage 50 running "}
	collect := func(from chan string, n int) []string {
		t.Helper()
		var all []string
		for range n {
			select {
			case s := <-from:
				all = append(all, s)
			case <-time.After(20 * time.Second):
				t.Fatalf("only %q was told", all)
			}
		}
		slices.Sort(all) // a webhook has several requests at once
		return all
	}
	if got := collect(told, 4); !slices.Equal(got, want) {
		t.Errorf("the webhook was told %q, want %q", got, want)
	}
	if got := slices.Compact(collect(streamed, 8)); !slices.Equal(got, want) {
		t.Errorf("the streams told %q, want %q", got, want)
	}
	cancel()
	wg.Wait()
	if len(streamed) > 0 {
		t.Errorf("a stream of something else told of %s", <-streamed)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestGatesGoOnOverARestart holds that what a gate has counted is there after a restart.
func TestGatesGoOnOverARestart(t *testing.T) {
	dir, c, stop := rolling(t)
	_, err := c.Deploy(t.Context(), api.Deploy{Text: versioned("rotten"), Rollout: api.RolloutPlan{
		Strategy: "canary", CanaryStages: "100:1h", RollbackOn: "error_rate>10%", MinMessages: new(10),
	}})
	if err != nil {
		t.Fatal(err)
	}
	fail := func(c *api.Client, n int) {
		t.Helper()
		for i := range n {
			if r, err := c.Send(t.Context(), api.Message{Receiver: "teller", Text: "x"}, 20*time.Second); err != nil || r.Reply == nil || r.Reply.Performative != "failure" {
				t.Fatalf("message %d: %+v, %v", i, r, err)
			}
		}
	}
	fail(c, 6)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	c, _, stop = run(t, dir, "llm.provider", "scripted", "llm.file", filepath.Join(dir, "script.yaml"))
	ro := awaitRollout(t, c, func(ro api.Rollout) bool { return ro.Versions[1].Errors >= 6 })
	if v := ro.Versions[1]; ro.State != "running" || v.Errors != 6 || v.StageErrors != 6 || v.LatencyP99 == 0 {
		t.Errorf("after the restart: %s, %+v", ro.State, v)
	}
	fail(c, 4)
	ro = awaitRollout(t, c, func(ro api.Rollout) bool { return ro.State != "running" })
	if ro.State != "rolled_back" || !strings.Contains(ro.Reason, "over 10 messages") {
		t.Errorf("the rollout ended as %s: %s", ro.State, ro.Reason)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
