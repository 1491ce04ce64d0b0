package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/sqlite"
)

// A cashier counts what it is told to do, by what it is told.
type cashier struct {
	*httptest.Server
	mu    sync.Mutex
	seen  map[string]int             // requests, by body
	keys  map[string]map[string]bool // idempotency keys, by body
	total int
}

func newCashier(t *testing.T) *cashier {
	t.Helper()
	c := &cashier{seen: map[string]int{}, keys: map[string]map[string]bool{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return // the server was killed while it wrote: nothing was asked for
		}
		c.mu.Lock()
		c.seen[string(b)]++
		if c.keys[string(b)] == nil {
			c.keys[string(b)] = map[string]bool{}
		}
		c.keys[string(b)][r.Header.Get("Idempotency-Key")] = true
		c.total++
		pause := time.Duration(c.total%7) * time.Millisecond
		c.mu.Unlock()
		<-time.After(pause) // the effect has happened; its receipt is still on the way
		_, _ = fmt.Fprintf(w, "paid %s", b)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *cashier) count(body string) (requests, keys int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[body], len(c.keys[body])
}

// effectAgents are an agent that pays at once, one whose payments may be repeated under
// their key, and one that needs approval.
const effectScript = `rules:
  - when: {tool_result: http_client}
    reply: "done {{result}}"
  - tool_calls:
      - name: http_client
        arguments: {url: "%s/", method: POST, body: "{{message}}"}
`

func effectAgents(t *testing.T, dir, url string) {
	t.Helper()
	files := map[string]string{
		"script.yaml":       fmt.Sprintf(effectScript, url),
		"agents/payer.md":   "---\nname: Payer\ncapabilities: [paying]\ntools: [http_client]\nsystem_prompt: Pay.\n---\n",
		"agents/keyed.md":   "---\nname: Keyed\ncapabilities: [paying-again]\ntools:\n  - name: http_client\n    idempotent: true\nsystem_prompt: Pay.\n---\n",
		"agents/careful.md": "---\nname: Careful\ncapabilities: [asking]\ntools:\n  - name: http_client\n    approval: true\nsystem_prompt: Pay.\n---\n",
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// post sends a JSON body to a path of the server and reads the answer into out.
func (v *victim) post(ctx context.Context, method, path string, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+v.info.APIAddr+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if b, err = io.ReadAll(res.Body); err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, b)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// list reads the IDs of all open tickets at a path.
func (v *victim) list(ctx context.Context, path string) ([]string, error) {
	var ids []string
	cursor := ""
	for {
		var page struct {
			Items []struct{ ID string }
			Next  string
		}
		if err := v.post(ctx, http.MethodGet, path+"&limit=100&cursor="+url.QueryEscape(cursor), nil, &page); err != nil {
			return ids, err
		}
		for _, i := range page.Items {
			ids = append(ids, i.ID)
		}
		if cursor = page.Next; cursor == "" {
			return ids, nil
		}
	}
}

// approve approves whatever waits.
func (v *victim) approve(ctx context.Context) (int, error) {
	ids, err := v.list(ctx, "/api/v1/approvals?state=pending")
	n := 0
	for _, id := range ids {
		if v.post(ctx, http.MethodPost, "/api/v1/approvals/"+id+"/approve", map[string]string{"by": "ann"}, nil) == nil {
			n++
		}
	}
	return n, err
}

// settle waits until nothing waits and nothing is at work, approving what needs approval.
func (v *victim) settle(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		n, err := v.approve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		st, err := v.client.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n+st.Queued+st.InFlight == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d messages still wait, %d are at work", st.Queued, st.InFlight)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// TestCrashEffects kills a server with kill -9 at random points while agents pay through a
// tool, at once, under a key, and after an approval. No acknowledged message is lost, no
// payment is made twice, and each payment of which the server cannot know is listed. Then a
// person resolves those, and in the end each message has been paid for exactly once.
func TestCrashEffects(t *testing.T) {
	kills, rnd := crashes(t, 40, 1000, 5)
	dir, bank := t.TempDir(), newCashier(t)
	effectAgents(t, dir, bank.URL)
	t.Setenv("CAXTON_TEST_QUIET", "1")
	t.Setenv("CAXTON_TEST_FLAGS", "llm.provider=scripted,llm.file="+filepath.Join(dir, "script.yaml")+",tools.http_client.allowed_hosts=127.0.0.1")
	var mu sync.Mutex
	acked := map[string]string{} // conversation by message
	var serial atomic.Int64
	agents := []string{"payer", "keyed", "careful"}
	for range kills {
		v := start(t, dir)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, agent := range agents {
			wg.Go(func() {
				for ctx.Err() == nil {
					id := fmt.Sprintf("%s-%d", agent, serial.Add(1))
					if _, err := v.client.Send(ctx, api.Message{MessageID: id, ConversationID: "c-" + id, Receiver: agent, Text: id}, 0); err != nil {
						<-time.After(time.Millisecond)
						continue // not acknowledged
					}
					mu.Lock()
					acked[id] = "c-" + id
					mu.Unlock()
				}
			})
		}
		wg.Go(func() {
			for ctx.Err() == nil {
				_, _ = v.approve(ctx)
			}
		})
		select {
		case <-time.After(time.Duration(1+rnd.IntN(60)) * time.Millisecond):
		case <-t.Context().Done():
		}
		v.kill(t)
		cancel()
		wg.Wait()
	}
	v := start(t, dir)
	v.settle(t)
	unknown, err := v.list(t.Context(), "/api/v1/effects?unknown=true")
	if err != nil {
		t.Fatal(err)
	}
	v.kill(t)
	check(t, dir, acked)
	open := effects(t, dir, acked, bank)
	if got := slices.Sorted(slices.Values(unknown)); !slices.Equal(got, slices.Sorted(slices.Values(keysOf(open)))) {
		t.Errorf("the API lists %d effects of unknown outcome, the journal %d", len(got), len(open))
	}

	v = start(t, dir) // somebody looks into the books, and says what happened
	for key, id := range open {
		decision := map[string]any{"decision": "retry", "by": "ann"}
		if n, _ := bank.count(id); n > 0 {
			decision = map[string]any{"decision": "done", "by": "ann", "result": "paid " + id}
		}
		if err := v.post(t.Context(), http.MethodPost, "/api/v1/effects/"+key+"/resolve", decision, nil); err != nil {
			t.Error(err)
		}
	}
	v.settle(t)
	if err := v.post(t.Context(), http.MethodPost, "/api/v1/messages/dead/replay", map[string]any{"all": true, "by": "ann"}, nil); err != nil {
		t.Error(err)
	}
	v.settle(t)
	v.kill(t)
	if left := effects(t, dir, acked, bank); len(left) > 0 {
		t.Errorf("%d effects are still unknown", len(left))
	}
	paid, unpaid := 0, 0
	for id := range acked {
		if n, _ := bank.count(id); n > 0 {
			paid++
		} else {
			unpaid++
		}
	}
	t.Logf("%d acknowledged, %d requests, %d effects of unknown outcome resolved; in the end %d paid", len(acked), bank.total, len(open), paid)
	if unpaid > 0 {
		t.Errorf("%d messages were never paid for", unpaid)
	}
}

func keysOf(m map[string]string) (ks []string) {
	for k := range m {
		ks = append(ks, k)
	}
	return ks
}

// effects checks every payment against the journal of a dead server, and returns those of
// unknown outcome: the message by the idempotency key.
func effects(t *testing.T, dir string, acked map[string]string, bank *cashier) map[string]string {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "data", "caxton.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	open := map[string]string{}
	for q := (caxton.TicketQuery{Kind: caxton.Effect, Open: true, Limit: 200}); ; {
		ts, next, err := db.Tickets(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, tk := range ts {
			open[tk.ID] = string(tk.MessageID)
		}
		if q.Before = next; next == "" {
			break
		}
	}
	listed := map[string]bool{}
	for _, id := range open {
		listed[id] = true
	}
	bank.mu.Lock()
	all := keysOf(acked)
	for id := range bank.seen { // those that were accepted and not acknowledged too
		if acked[id] == "" {
			all = append(all, id)
		}
	}
	bank.mu.Unlock()
	twice, silent, gaveUp := 0, 0, 0
	defer func() { t.Logf("%d messages given up", gaveUp) }()
	for _, id := range all {
		n, keys := bank.count(id)
		st, err := db.Message(t.Context(), caxton.MessageID(id))
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		switch {
		case strings.HasPrefix(id, "keyed-"):
			if n > 0 && keys != 1 { // repeated under one key: the other side knows it again
				twice++
			}
		case n > 1:
			twice++
		}
		switch {
		case st.Outcome == caxton.OutcomeDone && n == 0:
			t.Errorf("%s is said to be paid, and is not", id)
		case st.Outcome == caxton.OutcomeFailed && st.Code == "attempts_exhausted": // the server went down too often while it was at work
			gaveUp++
		case st.Outcome != caxton.OutcomeDone && st.Outcome != caxton.OutcomeUnknown:
			t.Errorf("%s ended as %s: %s", id, st.Outcome, st.Error)
		case st.Outcome == caxton.OutcomeUnknown && !listed[id]:
			silent++
		}
	}
	if twice+silent > 0 {
		t.Errorf("%d payments were made twice, %d unknown ones are not listed", twice, silent)
	}
	return open
}
