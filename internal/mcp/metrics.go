package mcp

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	up, tools              *prometheus.GaugeVec
	starts, calls, changes *prometheus.CounterVec
	duration               *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		up:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "caxton_mcp_server_up", Help: "Whether an MCP server is connected."}, []string{"server"}),
		tools:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "caxton_mcp_tools", Help: "Tools of MCP servers by state."}, []string{"server", "state"}),
		starts:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caxton_mcp_server_starts_total", Help: "Starts of MCP servers."}, []string{"server"}),
		calls:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caxton_mcp_calls_total", Help: "Calls of tools of MCP servers by outcome."}, []string{"server", "outcome"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "caxton_mcp_tools_blocked_total", Help: "Tools blocked because they changed or became unusable."}, []string{"server"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "caxton_mcp_call_duration_seconds", Help: "Time of calls of tools of MCP servers.",
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 10, 30, 60, 300},
		}, []string{"server"}),
	}
	reg.MustRegister(m.up, m.tools, m.starts, m.calls, m.changes, m.duration)
	return m
}
