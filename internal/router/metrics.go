package router

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	accepted *prometheus.CounterVec
	refused  *prometheus.CounterVec
	settled  *prometheus.CounterVec
	retries  prometheus.Counter
	parked   prometheus.Counter
	dead     prometheus.Counter
	decided  *prometheus.CounterVec

	violations prometheus.Counter
	accepting  prometheus.Histogram
	waiting    prometheus.Histogram
	handling   prometheus.Histogram
}

// routingBuckets show what the budgets of routing need: 10 µs to 10 s.
func routingBuckets() []float64 {
	return []float64{1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, .1, .25, .5, 1, 2.5, 5, 10}
}

func newMetrics(reg prometheus.Registerer, r *Router) metrics {
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: routingBuckets()})
	}
	m := metrics{
		accepted:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caxton_messages_total", Help: "Messages accepted, by performative."}, []string{"performative"}),
		refused:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caxton_messages_refused_total", Help: "Messages not accepted, by kind of error."}, []string{"kind"}),
		settled:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caxton_messages_settled_total", Help: "Messages settled, by outcome."}, []string{"outcome"}),
		retries:   prometheus.NewCounter(prometheus.CounterOpts{Name: "caxton_messages_retried_total", Help: "Attempts that ended in another try."}),
		parked:    prometheus.NewCounter(prometheus.CounterOpts{Name: "caxton_messages_parked_total", Help: "Messages put aside until somebody decides."}),
		dead:      prometheus.NewCounter(prometheus.CounterOpts{Name: "caxton_dead_letters_total", Help: "Messages given up."}),
		decided:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caxton_tickets_decided_total", Help: "Decisions on tickets, by kind of ticket and decision."}, []string{"kind", "decision"}),
		accepting: histogram("caxton_message_accept_seconds", "Time to store and queue a message."),
		waiting:   histogram("caxton_message_wait_seconds", "Time a message waited in its mailbox."),
		handling:  histogram("caxton_message_handle_seconds", "Time from lease to settlement."),
	}
	m.violations = prometheus.NewCounter(prometheus.CounterOpts{Name: "caxton_protocol_violations_total", Help: "Messages that did not fit their protocol."})
	queued := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "caxton_messages_queued", Help: "Messages waiting in mailboxes."}, func() float64 {
		r.mu.Lock()
		defer r.mu.Unlock()
		n := 0
		for _, b := range r.boxes {
			n += b.queued
		}
		return float64(n)
	})
	inFlight := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "caxton_messages_in_flight", Help: "Messages being handled."}, func() float64 {
		r.mu.Lock()
		defer r.mu.Unlock()
		return float64(len(r.leases))
	})
	reg.MustRegister(m.accepted, m.refused, m.settled, m.retries, m.parked, m.dead, m.decided, m.violations, m.accepting, m.waiting, m.handling, queued, inFlight)
	return m
}
