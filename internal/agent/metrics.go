package agent

import (
	"github.com/caxton/caxton"
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	turns   *prometheus.CounterVec
	panics  prometheus.Counter
	latency prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, s *Supervisor) metrics {
	m := metrics{
		turns:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caxton_agent_turns_total", Help: "Turns by how they ended."}, []string{"status"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{Name: "caxton_agent_panics_total", Help: "Turns that broke down."}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "caxton_agent_response_seconds", Help: "Time of one turn.",
			Buckets: []float64{1e-4, 1e-3, 5e-3, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
	}
	m.turns.WithLabelValues("ok")
	m.turns.WithLabelValues("error")
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	reg.MustRegister(
		m.turns, m.panics, m.latency,
		gauge("caxton_agent_config_count", "Config agents that run.", func() float64 { return float64(s.Count(caxton.ConfigAgent)) }),
		gauge("caxton_agent_wasm_count", "WASM agents that run.", func() float64 { return float64(s.Count(caxton.WASMAgent)) }),
		gauge("caxton_agent_response_latency_p99", "99th percentile of recent turns, seconds.", func() float64 {
			return quantile(s.latencies(), 0.99).Seconds()
		}),
		gauge("caxton_agent_error_rate", "Share of turns that ended in an error since the start, 0 to 1.", s.errorRate),
	)
	return m
}

func (s *Supervisor) errorRate() float64 {
	var ok, bad int64
	for _, r := range s.all() {
		r.mu.Lock()
		ok, bad = ok+r.handled, bad+r.failed
		r.mu.Unlock()
	}
	if ok+bad == 0 {
		return 0
	}
	return float64(bad) / float64(ok+bad)
}
