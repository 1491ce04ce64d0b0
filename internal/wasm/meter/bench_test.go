package meter_test

import (
	"testing"

	"github.com/caxton/caxton/internal/wasm/meter"
)

// BenchmarkRewrite tells how fast modules are rewritten and how much larger they become.
func BenchmarkRewrite(b *testing.B) {
	for language, module := range guests(b) {
		b.Run(language, func(b *testing.B) {
			b.SetBytes(int64(len(module)))
			var m *meter.Module
			for b.Loop() {
				m = rewrite(b, module, meter.Options{})
			}
			b.ReportMetric(float64(len(m.Bytes))/float64(len(module)), "size-ratio")
			b.ReportMetric(float64(m.Counts.Charges), "charges")
		})
	}
}

// BenchmarkOverhead tells what metering costs a guest while it runs: each piece of work as
// the compiler made it, and rewritten.
func BenchmarkOverhead(b *testing.B) {
	for language, module := range guests(b) {
		for _, metered := range []bool{false, true} {
			name := "plain"
			if metered {
				name = "metered"
			}
			g := newGuest(b, module, metered)
			for _, work := range guestWork() {
				b.Run(language+"/"+work+"/"+name, func(b *testing.B) {
					var fuel int64
					for b.Loop() {
						_, fuel = g.run(b, work)
					}
					if metered {
						b.ReportMetric(float64(fuel), "fuel/op")
					}
				})
			}
		}
	}
}
