package node

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/prometheus/client_golang/prometheus"
)

// A ticketCounter counts what waits for people. *router.Router provides it.
type ticketCounter interface {
	OpenTickets(ctx context.Context) (map[caxton.TicketKind]int, error)
}

// ticketsFresh is how old the count may be that a scrape is given.
const ticketsFresh = 5 * time.Second

// ticketMetrics are the gauges of open tickets. They are counted when somebody scrapes: a
// collector has no context to read a database with, the request has.
type ticketMetrics struct {
	router ticketCounter
	log    *slog.Logger
	now    func() time.Time
	open   *prometheus.GaugeVec

	mu   sync.Mutex // guards last
	last time.Time  // when they were counted
}

func newTicketMetrics(router ticketCounter, log *slog.Logger, reg prometheus.Registerer, now func() time.Time) *ticketMetrics {
	m := &ticketMetrics{router: router, log: log, now: now, open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "caxton_tickets_open", Help: "Approvals, tool calls of unknown outcome and dead letters that wait for somebody, by kind.",
	}, []string{"kind"})}
	reg.MustRegister(m.open)
	return m
}

// before counts the tickets before next answers, unless they were counted just now.
func (m *ticketMetrics) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.count(r.Context())
		next.ServeHTTP(w, r)
	})
}

func (m *ticketMetrics) count(ctx context.Context) {
	now := m.now()
	m.mu.Lock()
	due := m.last.IsZero() || now.Sub(m.last) >= ticketsFresh
	if due {
		m.last = now
	}
	m.mu.Unlock()
	if !due {
		return
	}
	open, err := m.router.OpenTickets(ctx)
	if err != nil {
		m.log.WarnContext(ctx, "open tickets not counted", "error", err)
		m.open.Reset() // no figure is better than an old one
		return
	}
	for _, kind := range []caxton.TicketKind{caxton.Approval, caxton.Effect, caxton.DeadLetter} {
		m.open.WithLabelValues(string(kind)).Set(float64(open[kind]))
	}
}
