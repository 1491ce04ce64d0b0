package node

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TicketMetrics has the open tickets counted before next answers.
func TicketMetrics(router ticketCounter, reg prometheus.Registerer, now func() time.Time, next http.Handler) http.Handler {
	return newTicketMetrics(router, slog.New(slog.DiscardHandler), reg, now).before(next)
}

// Models lets tests build the models alone.
var Models = models
