package node_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/sqlite"
)

// storingScript has an agent store a fact about whatever it is told, then answer.
const storingScript = `rules:
  - when: {tool_result: memory_store}
    reply: "noted {{message}}"
  - tool_calls:
      - name: memory_store
        arguments: {entity: "{{message}}", type: note, fact: "{{message}} was said.", about: said}
`

// TestCrashMemory kills a server with kill -9 at random points while facts are remembered
// over the API and by agents' turns. Everything that was acknowledged is remembered, every
// turn once with its fact once, and the database agrees with its indexes.
func TestCrashMemory(t *testing.T) {
	kills, rnd := crashes(t, 12, 200, 4)
	dir := t.TempDir()
	put(t, dir, map[string]string{"script.yaml": storingScript, "agents/scribe.md": rememberer("Scribe"), "agents/clerk.md": rememberer("Clerk", "scope: workspace")})
	t.Setenv("CAXTON_TEST_QUIET", "1")
	t.Setenv("CAXTON_TEST_FLAGS", "llm.provider=scripted,llm.file="+filepath.Join(dir, "script.yaml"))
	c := &chronicle{observations: map[string]string{}, gone: map[string]bool{}, turns: map[string]string{}}
	for range kills {
		v := start(t, dir)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() { c.write(ctx, v, w) })
		}
		for _, agent := range []string{"scribe", "clerk"} {
			wg.Go(func() { c.tell(ctx, v, agent) })
		}
		select {
		case <-time.After(time.Duration(1+rnd.IntN(150)) * time.Millisecond):
		case <-t.Context().Done():
		}
		v.kill(t)
		cancel()
		wg.Wait()
	}
	v := start(t, dir)
	v.settle(t)
	c.check(t, v)
	v.kill(t)
	c.checkLog(t, dir)
}

// A chronicle is what was acknowledged.
type chronicle struct {
	serial       atomic.Int64
	mu           sync.Mutex
	observations map[string]string // entity's name by the observation
	gone         map[string]bool   // observations that may have been forgotten
	turns        map[string]string // agent by message
}

// write remembers entities over the API, one by one and several at once, and forgets some of
// what it wrote.
func (c *chronicle) write(ctx context.Context, v *victim, kind int) {
	for ctx.Err() == nil {
		n := c.serial.Add(1)
		e := api.NewEntity{Name: fmt.Sprintf("entity-%d", n), Observations: []api.NewObservation{{Text: fmt.Sprintf("Number %d is known.", n)}}}
		if n%7 == 0 {
			e.Name = "everybody's" // one that all write to
		}
		var done []api.Remembered
		var err error
		if kind == 1 {
			other := e
			other.Name += " too"
			other.Relations = []api.NewLink{{To: e.Name, Type: "follows"}}
			var l api.RememberedList
			l, err = v.client.RememberAll(ctx, api.EntityBatch{Entities: []api.NewEntity{e, other}})
			done = l.Items
		} else {
			var r api.Remembered
			r, err = v.client.Remember(ctx, e)
			done = []api.Remembered{r}
		}
		if err != nil {
			<-time.After(time.Millisecond)
			continue // not acknowledged
		}
		c.mu.Lock()
		for _, d := range done {
			c.observations[d.Noted[0].ID] = d.Name
		}
		c.mu.Unlock()
		if kind == 2 && n%5 == 0 {
			id := done[0].Noted[0].ID
			c.mu.Lock()
			c.gone[id] = true // whether or not it is acknowledged
			c.mu.Unlock()
			_, _ = v.client.ForgetObservation(ctx, id)
		}
	}
}

// tell has an agent store facts.
func (c *chronicle) tell(ctx context.Context, v *victim, agent string) {
	for ctx.Err() == nil {
		id := fmt.Sprintf("%s-%d", agent, c.serial.Add(1))
		if _, err := v.client.Send(ctx, api.Message{MessageID: id, ConversationID: "c-" + id, Receiver: agent, Text: id}, 0); err != nil {
			<-time.After(time.Millisecond)
			continue
		}
		c.mu.Lock()
		c.turns[id] = agent
		c.mu.Unlock()
		if _, err := v.client.Send(ctx, api.Message{Receiver: agent, Text: "wait-" + id}, 10*time.Second); err != nil { // do not run ahead of the agents
			<-time.After(time.Millisecond)
		}
	}
}

// check holds what the server remembers to what was acknowledged.
func (c *chronicle) check(t *testing.T, v *victim) {
	t.Helper()
	if check, err := v.client.CheckMemory(t.Context(), true); err != nil || !check.OK {
		t.Errorf("check: %+v, %v", check, err)
	}
	there := map[string]string{} // observations: entity's name
	entities := map[string]api.Entity{}
	notes, episodes := map[string]int{}, map[string]int{}
	for f := (api.EntityFilter{Limit: 1000}); ; {
		l, err := v.client.Entities(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range l.Items {
			entities[e.ID] = e
		}
		if f.Cursor = l.Next; l.Next == "" {
			break
		}
	}
	for id, e := range entities {
		full, err := v.client.Entity(t.Context(), id, api.MemoryView{})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range full.Observations {
			there[o.ID] = e.Name
		}
		switch e.Type {
		case "note":
			notes[e.Name]++
			if n := len(full.Observations); n != 1 {
				t.Errorf("%s has %d facts", e.Name, n)
			}
		case "episode":
			name, _, _ := strings.Cut(strings.TrimPrefix(e.Name, "turn "), " ")
			episodes[name]++
			if n := len(full.Observations); n != 1 {
				t.Errorf("%s has %d texts", e.Name, n)
			}
		}
	}
	lost, twice := 0, 0
	for id, name := range c.observations {
		if there[id] != name && !c.gone[id] {
			lost++
		}
	}
	for id := range c.turns {
		st, err := v.client.Message(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case notes[id] > 1 || episodes[id] > 1:
			twice++
		case st.Status == "done" && (notes[id] != 1 || episodes[id] != 1):
			lost++
		}
	}
	if lost+twice > 0 {
		t.Errorf("%d of what was acknowledged are lost, %d are there twice", lost, twice)
	}
	m, err := v.client.SearchMemory(t.Context(), api.MemorySearch{Query: "Number 3 is known", Limit: 1000})
	if err != nil || len(m.Items) == 0 || m.Degraded != "" {
		t.Errorf("a search finds %d, %s, %v", len(m.Items), m.Degraded, err)
	}
	for i := range m.Items {
		if _, ok := entities[m.Items[i].Entity.ID]; !ok {
			t.Errorf("a search finds %s, which is not there", m.Items[i].Entity.Name)
		}
	}
	t.Logf("%d entities, %d observations acknowledged, %d turns", len(entities), len(c.observations), len(c.turns))
}

// checkLog counts the turns that broke off while their fact was stored, in the journal of a
// dead server. Each was told that it is known, or stored it the second time, under one key.
func (c *chronicle) checkLog(t *testing.T, dir string) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "data", "caxton.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	again, known := 0, 0
	for id := range c.turns {
		records, err := db.Records(t.Context(), caxton.ConversationID("c-"+id), 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		kinds := map[caxton.RecordKind]int{}
		for _, r := range records {
			kinds[r.Kind]++
			if r.Kind == caxton.RecordToolReturned && strings.Contains(string(r.Body), "known already") {
				known++
			}
		}
		if kinds[caxton.RecordToolReturned] > 1 || kinds[caxton.RecordMemoryWritten] > 1 || kinds[caxton.RecordMemoryRecalled] > 1 || kinds[caxton.RecordToolIntended] > 1 {
			t.Errorf("the log of %s has %v", id, kinds)
		}
		if kinds[caxton.RecordLeased] > 1 {
			again++
		}
	}
	t.Logf("%d turns were taken up again, %d of them stored their fact before", again, known)
}
