package prompt

import (
	"cmp"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	tokens   *prometheus.CounterVec
	calls    *prometheus.CounterVec
	callTime *prometheus.HistogramVec

	approvals prometheus.Counter
	refused   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) metrics {
	buckets := []float64{.001, .005, .025, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caxton_llm_requests_total", Help: "Model calls by provider and outcome."}, []string{"provider", "status"}),
		seconds:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "caxton_llm_request_duration_seconds", Help: "Time of model calls.", Buckets: buckets}, []string{"provider"}),
		tokens:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caxton_llm_token_usage_total", Help: "Tokens by provider and direction."}, []string{"provider", "type"}),
		calls:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caxton_tool_calls_total", Help: "Tool calls by tool and outcome."}, []string{"tool", "status"}),
		callTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "caxton_tool_call_duration_seconds", Help: "Time of tool calls.", Buckets: buckets}, []string{"tool"}),
	}
	m.approvals = prometheus.NewCounter(prometheus.CounterOpts{Name: "caxton_approvals_asked_total", Help: "Approvals that agents asked for."})
	m.refused = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caxton_budget_refused_total", Help: "Calls for which a budget had no room, by unit."}, []string{"unit"})
	reg.MustRegister(m.requests, m.seconds, m.tokens, m.calls, m.callTime, m.approvals, m.refused)
	return m
}

func (m *metrics) model(res llm.Response, info llm.Info, took time.Duration, err error) {
	provider := cmp.Or(res.Provider, info.Provider)
	status := "ok"
	if err != nil {
		status = string(caxton.KindOf(err))
	}
	m.requests.WithLabelValues(provider, status).Inc()
	m.seconds.WithLabelValues(provider).Observe(took.Seconds())
	m.tokens.WithLabelValues(provider, "input").Add(float64(res.Usage.InputTokens))
	m.tokens.WithLabelValues(provider, "output").Add(float64(res.Usage.OutputTokens))
}

func (m *metrics) tool(name, status string, took time.Duration) {
	m.calls.WithLabelValues(name, status).Inc()
	m.callTime.WithLabelValues(name).Observe(took.Seconds())
}
