package router_test

import (
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/router"
	"github.com/caxton/caxton/internal/telemetry"
)

// TestSpansOfRefusedMessages: the span of a message that cannot be sent tells whom it was for if
// that can be the name of an agent, and no other text.
func TestSpansOfRefusedMessages(t *testing.T) {
	tests := []struct{ receiver, want string }{
		{"ghost", "send ghost"},
		{"0193e8a0-0000-7000-8000-000000000000", "send 0193e8a0-0000-7000-8000-000000000000"},
		{"My password is 1234", "send"},
		{"a\nb", "send"},
		{strings.Repeat("a", 101), "send"},
	}
	for _, tt := range tests {
		tracer, _, err := telemetry.NewTracer(telemetry.TraceConfig{Ratio: 1})
		if err != nil {
			t.Fatal(err)
		}
		r, _, _ := newRouter(router.Config{Tracer: tracer})
		if _, err := r.Send(t.Context(), caxton.Message{Receiver: tt.receiver, Content: caxton.TextContent("x")}); caxton.KindOf(err) != caxton.NotFound {
			t.Fatalf("Send to %q: %v, want NotFound", tt.receiver, err)
		}
		traces, err := tracer.Traces(10)
		if err != nil || len(traces) != 1 || traces[0].Name != tt.want {
			t.Errorf("the span of a message to %q is %+v (%v), want %s", tt.receiver, traces, err, tt.want)
		}
	}
}
