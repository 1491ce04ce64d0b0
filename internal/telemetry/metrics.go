package telemetry

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// RegisterProcess adds the metrics of the process: the Go runtime's, the operating system's,
// and the server's own uptime, resident memory and restarts.
func RegisterProcess(reg prometheus.Registerer, start time.Time, restarts int64, version string) {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "caxton_build_info", Help: "Always 1; the label tells the version.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	reg.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info,
		gauge("caxton_server_uptime_seconds", "Time since the server started.", func() float64 { return time.Since(start).Seconds() }),
		gauge("caxton_server_memory_usage_bytes", "Resident memory of the process.", func() float64 { return float64(ResidentMemory()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "caxton_server_restarts_total", Help: "How often a server was started again on this data directory."},
			func() float64 { return float64(restarts) }),
	)
}

// ResidentMemory returns the resident memory of this process in bytes, or 0 where the
// operating system does not tell in /proc.
func ResidentMemory() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
