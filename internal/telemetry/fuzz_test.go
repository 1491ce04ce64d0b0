package telemetry_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caxton/caxton/internal/telemetry"
	"google.golang.org/protobuf/encoding/protowire"
)

// FuzzTraceParent holds our reading of a traceparent to that of OpenTelemetry, which reads
// headers.
func FuzzTraceParent(f *testing.F) {
	tracer, _, err := telemetry.NewTracer(telemetry.TraceConfig{Ratio: 1})
	if err != nil {
		f.Fatal(err)
	}
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, s := range []string{good, "cc" + good[2:] + "-more", strings.ToUpper(good), good[:54], good + "-x", "ff" + good[2:], good[:53] + "ff", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, parent string) {
		if strings.TrimSpace(parent) != parent {
			return // no header begins or ends with space
		}
		ctx, s := tracer.Start(t.Context(), telemetry.Internal, "x", "", parent)
		s.End(nil)
		ours, theirs := telemetry.TraceID(ctx), telemetry.TraceID(telemetry.Extract(t.Context(), http.Header{"Traceparent": {parent}}))
		if theirs != "" && ours != theirs || theirs == "" && strings.Contains(parent, ours) {
			t.Errorf("%q: we read the trace %q, OpenTelemetry %q", parent, ours, theirs)
		}
		if got := telemetry.TraceParent(ctx); len(got) != 55 || got[3:35] != ours {
			t.Errorf("%q becomes %q", parent, got)
		}
	})
}

// FuzzAnswer reads any answer of a collector.
func FuzzAnswer(f *testing.F) {
	partial := func(n uint64, text string) []byte {
		b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), n)
		b = protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), text)
		return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), b)
	}
	for _, b := range [][]byte{nil, {0x0a}, {0x0a, 0x05, 0x08}, partial(3, "too old"), partial(1<<63, ""), append([]byte{0x10, 0x01}, partial(2, "")...)} {
		f.Add(b)
	}
	if got := telemetry.Rejected(partial(3, "too old")); got != 3 {
		f.Errorf("Rejected() = %d, want 3", got)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		if n := telemetry.Rejected(answer); n < 0 {
			t.Errorf("%x: %d spans rejected", answer, n)
		}
	})
}
