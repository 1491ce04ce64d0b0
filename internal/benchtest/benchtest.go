// Package benchtest measures exchanges: callers who each send one request after the other
// and wait for every answer. Benchmarks of ours and of what we compare ourselves with use it,
// so that all are measured in the same way.
package benchtest

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// Run has exchange called b.N times by so many callers at once, and reports P50 and P99 of
// one exchange, exchanges per second, and what one costs the process: processor time, and on
// systems that count them, calls that write and bytes they wrote.
func Run(b *testing.B, callers int, exchange func() error) {
	b.Helper()
	times := make([][]time.Duration, callers)
	var work sync.WaitGroup
	b.ReportAllocs()
	before := used()
	b.ResetTimer()
	for c := range callers {
		work.Go(func() {
			for i := c; i < b.N; i += callers {
				start := time.Now()
				if err := exchange(); err != nil {
					b.Error(err)
					return
				}
				times[c] = append(times[c], time.Since(start))
			}
		})
	}
	work.Wait()
	b.StopTimer()
	after := used()
	all := slices.Concat(times...)
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	n := float64(b.N)
	b.ReportMetric(float64(all[len(all)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Nanoseconds())/1e3, "p99-µs")
	b.ReportMetric(n/b.Elapsed().Seconds(), "msgs/s")
	if after.cpu > 0 {
		b.ReportMetric(float64((after.cpu-before.cpu).Nanoseconds())/1e3/n, "cpu-µs/op")
	}
	if after.written > 0 {
		b.ReportMetric(float64(after.calls-before.calls)/n, "writes/op")
		b.ReportMetric(float64(after.written-before.written)/n, "written-B/op")
	}
}

// A usage is what the process has used so far; zero where the system does not tell.
type usage struct {
	cpu            time.Duration
	calls, written int64
}
