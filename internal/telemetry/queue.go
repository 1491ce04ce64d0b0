package telemetry

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// maxBatch is how many spans are sent at once.
const maxBatch = 512

// A queue holds spans until they are sent. It never makes who ends a span wait: when it is full,
// spans are dropped and counted.
type queue struct {
	collector *collector
	cfg       *TraceConfig
	spans     chan sdktrace.ReadOnlySpan // capacity cfg.Queue
	exported  prometheus.Counter
	dropped   *prometheus.CounterVec
	lost      atomic.Int64 // dropped since the last warning
	warned    time.Time    // when the last warning was; of run alone
}

// Why spans are dropped.
const (
	dropFull     = "queue_full"
	dropFailed   = "not_sent"
	dropRejected = "rejected"
)

// warnEvery is the time between two warnings that spans are lost.
const warnEvery = time.Minute

func newQueue(c *collector, cfg *TraceConfig) *queue {
	q := &queue{
		collector: c, cfg: cfg, spans: make(chan sdktrace.ReadOnlySpan, cfg.Queue),
		exported: prometheus.NewCounter(prometheus.CounterOpts{Name: "caxton_traces_exported_total", Help: "Spans that the collector took."}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caxton_traces_dropped_total", Help: "Spans that the collector did not get, by reason.",
		}, []string{"reason"}),
	}
	for _, r := range []string{dropFull, dropFailed, dropRejected} {
		q.dropped.WithLabelValues(r)
	}
	cfg.Registerer.MustRegister(q.exported, q.dropped, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "caxton_traces_queue_size", Help: "Spans that wait to be sent to the collector.",
	}, func() float64 { return float64(len(q.spans)) }))
	return q
}

// OnStart is part of sdktrace.SpanProcessor.
func (*queue) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd takes a span that has ended.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	select {
	case q.spans <- s:
	default:
		q.drop(dropFull, 1)
	}
}

func (q *queue) drop(reason string, n int64) {
	q.dropped.WithLabelValues(reason).Add(float64(n))
	q.lost.Add(n)
}

// Shutdown is part of sdktrace.SpanProcessor; the end of run's context ends the queue.
func (*queue) Shutdown(context.Context) error { return nil }

// ForceFlush is part of sdktrace.SpanProcessor.
func (*queue) ForceFlush(context.Context) error { return nil }

// run sends spans until ctx ends, then the rest, for a while.
func (q *queue) run(ctx context.Context) error {
	hard, cut := context.WithCancel(context.WithoutCancel(ctx)) // ends when what is left has had its time
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(q.cfg.Flush, cut) })()
	exporter := otlptrace.NewUnstarted(q.collector)
	if err := exporter.Start(hard); err != nil {
		return err
	}
	for more := true; more; {
		var batch []sdktrace.ReadOnlySpan
		batch, more = q.batch(ctx)
		if len(batch) > 0 {
			q.send(ctx, hard, exporter, batch)
		}
	}
	q.warn(ctx, nil, true)
	return exporter.Shutdown(hard)
}

// batch waits for spans and returns some, and whether there may be more.
func (q *queue) batch(ctx context.Context) (batch []sdktrace.ReadOnlySpan, more bool) {
	select {
	case s := <-q.spans:
		batch = append(batch, s)
	case <-ctx.Done():
		return q.rest(nil), len(q.spans) > 0
	}
	wait := time.NewTimer(q.cfg.Delay)
	defer wait.Stop()
	for len(batch) < maxBatch {
		select {
		case s := <-q.spans:
			batch = append(batch, s)
		case <-wait.C:
			return batch, true
		case <-ctx.Done():
			return q.rest(batch), true
		}
	}
	return batch, true
}

// rest adds what waits to a batch, and does not wait.
func (q *queue) rest(batch []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	for len(batch) < maxBatch {
		select {
		case s := <-q.spans:
			batch = append(batch, s)
		default:
			return batch
		}
	}
	return batch
}

// send sends a batch. ctx ends when the server stops, hard when there is no more time.
func (q *queue) send(ctx, hard context.Context, e *otlptrace.Exporter, batch []sdktrace.ReadOnlySpan) {
	rejected, err := q.collector.during(ctx, func() error { return e.ExportSpans(hard, batch) })
	if err != nil {
		q.drop(dropFailed, int64(len(batch)))
		q.warn(ctx, err, false)
		return
	}
	rejected = min(rejected, int64(len(batch)))
	q.exported.Add(float64(int64(len(batch)) - rejected))
	if rejected > 0 {
		q.drop(dropRejected, rejected)
	}
	q.warn(ctx, nil, false)
}

// warn says that spans were lost, if there were any, but once a minute at most; and at the end.
func (q *queue) warn(ctx context.Context, err error, last bool) {
	now := time.Now()
	if !last && !q.warned.IsZero() && now.Sub(q.warned) < warnEvery {
		return
	}
	lost := q.lost.Swap(0)
	if lost == 0 {
		return
	}
	q.warned = now
	attrs := []slog.Attr{slog.Int64("dropped", lost), slog.String("collector", q.collector.url)}
	if err != nil {
		attrs = append(attrs, slog.Any("error", err))
	}
	q.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "spans were lost", attrs...)
}
