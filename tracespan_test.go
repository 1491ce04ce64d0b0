package caxton_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
)

func TestSpanTree(t *testing.T) {
	span := func(id, parent string, start int) caxton.TraceSpan {
		return caxton.TraceSpan{ID: id, Parent: parent, Start: time.Unix(int64(start), 0)}
	}
	tests := []struct {
		name  string
		spans []caxton.TraceSpan
		want  string
	}{
		{"nothing", nil, ""},
		{"children by their start", []caxton.TraceSpan{span("c", "a", 3), span("b", "a", 2), span("d", "b", 4), span("a", "", 1)}, "a0 b1 d2 c1"},
		{"a parent that is elsewhere", []caxton.TraceSpan{span("b", "x", 2), span("a", "x", 1), span("c", "b", 3)}, "a0 b0 c1"},
		{"its own parent", []caxton.TraceSpan{span("a", "a", 1)}, "a0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ordered, depth := caxton.SpanTree(tt.spans)
			got := make([]string, 0, len(ordered))
			for i, s := range ordered {
				got = append(got, fmt.Sprintf("%s%d", s.ID, depth[i]))
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("SpanTree() = %s, want %s", s, tt.want)
			}
		})
	}
}
