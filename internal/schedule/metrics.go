package schedule

import "github.com/prometheus/client_golang/prometheus"

// An outcome says what became of a time that was due.
type outcome string

const (
	sent       outcome = "sent"       // the message is on its way
	missed     outcome = "missed"     // nobody was there, and it does not happen
	overlapped outcome = "overlapped" // the run before was at work
	failed     outcome = "failed"     // the message was refused
)

func newMetrics(reg prometheus.Registerer) *prometheus.CounterVec {
	runs := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caxton_schedule_runs_total", Help: "Runs of agents that were due by the clock, by what became of them.",
	}, []string{"outcome"})
	for _, o := range []outcome{sent, missed, overlapped, failed} {
		runs.WithLabelValues(string(o))
	}
	reg.MustRegister(runs)
	return runs
}
