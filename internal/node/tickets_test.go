package node_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/node"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A counter counts tickets, and how often it is asked.
type counter struct {
	open  int
	asked int
	err   error
}

func (c *counter) OpenTickets(context.Context) (map[caxton.TicketKind]int, error) {
	c.asked++
	return map[caxton.TicketKind]int{caxton.Effect: c.open}, c.err
}

// TestTicketMetricsAreCounted counts at a scrape, and not at every one.
func TestTicketMetricsAreCounted(t *testing.T) {
	now := time.Now()
	reg := prometheus.NewRegistry()
	c := &counter{}
	h := node.TicketMetrics(c, reg, func() time.Time { return now }, promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	for _, tt := range []struct {
		name  string
		later time.Duration
		open  int
		err   error
		want  string // "" for no figure
		asked int
	}{
		{"the first", 0, 3, nil, "3", 1},
		{"soon after", 4 * time.Second, 5, nil, "3", 1},
		{"later", time.Second, 5, nil, "5", 2},
		{"when the journal fails", time.Minute, 5, errors.New("disk"), "", 3},
		{"when it is well again", time.Minute, 0, nil, "0", 4},
	} {
		now = now.Add(tt.later)
		c.open, c.err = tt.open, tt.err
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
		_, after, _ := strings.Cut(w.Body.String(), `caxton_tickets_open{kind="effect"} `)
		got, _, _ := strings.Cut(after, "\n")
		if got != tt.want || c.asked != tt.asked {
			t.Errorf("%s: %q after %d counts, want %q after %d", tt.name, got, c.asked, tt.want, tt.asked)
		}
	}
}

const careful = `---
name: Careful
capabilities: [care]
approval:
  capabilities: [care]
---

Be careful.
`

// TestTicketsInMetrics has a message wait for approval, over a restart, and counts it.
func TestTicketsInMetrics(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "agents"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "agents", "careful.md"), []byte(careful), 0o600); err != nil {
		t.Fatal(err)
	}
	c, info, stop := run(t, dir)
	if text := get(t, "http://"+info.MetricsAddr+"/metrics"); !strings.Contains(text, `caxton_tickets_open{kind="approval"} 0`) {
		t.Errorf("no gauge of open approvals in the metrics")
	}
	r, err := c.Send(t.Context(), api.Message{Capability: "care", Text: "Do it."}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for { // the test's own deadline ends it
		m, err := c.Message(t.Context(), r.MessageID)
		if err != nil {
			t.Fatal(err)
		}
		if m.State == "parked" {
			break
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	c, info, _ = run(t, dir)
	text := get(t, "http://"+info.MetricsAddr+"/metrics")
	for _, want := range []string{`caxton_tickets_open{kind="approval"} 1`, `caxton_tickets_open{kind="effect"} 0`, `caxton_tickets_open{kind="dead_letter"} 0`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	l, err := c.Approvals(t.Context(), api.TicketFilter{})
	if err != nil || len(l.Items) != 1 || l.Items[0].Call == nil || l.Items[0].Call.Tool != "capability:care" {
		t.Fatalf("Approvals = %+v, %v; want the message", l.Items, err)
	}
	if _, err := c.Approve(t.Context(), l.Items[0].ID, api.DecisionBody{By: "ann"}); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := c.Message(t.Context(), r.MessageID)
		if err != nil {
			t.Fatal(err)
		}
		if m.State == "settled" {
			if m.Status != "done" || m.Attempts != 2 {
				t.Errorf("after the approval: %+v", m)
			}
			return
		}
	}
}
