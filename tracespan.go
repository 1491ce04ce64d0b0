package caxton

import (
	"slices"
	"time"
)

// A TraceSpan is one piece of work within a trace: a request, a turn, a call of a model or a tool.
// It tells what was done, when and how it ended, and never what was said.
type TraceSpan struct {
	TraceID    string // 32 hexadecimal digits
	ID         string // 16 hexadecimal digits
	Parent     string // the span that this one is part of, which may be another server's; or ""
	Name       string
	Kind       string // internal, server, client, producer or consumer
	Start      time.Time
	Duration   time.Duration
	Error      string // code of the error that it ended with, or ""
	Attributes map[string]any
}

// A TraceSummary is one trace at a glance.
type TraceSummary struct {
	TraceID  string
	Name     string // of its first span
	Start    time.Time
	Duration time.Duration // from the start of its first span to the end of its last
	Spans    int
	Errors   int // spans that ended with an error
}

// SpanTree puts spans into the order in which a tree of them is printed: each is followed by
// those that are part of it, by their start. depth tells how far in each one is. A span whose
// parent is not among them is a root.
func SpanTree(spans []TraceSpan) (ordered []TraceSpan, depth []int) {
	known := make(map[string]bool, len(spans))
	for i := range spans {
		known[spans[i].ID] = true
	}
	children := map[string][]TraceSpan{}
	for _, s := range spans {
		parent := s.Parent
		if !known[parent] || parent == s.ID {
			parent = ""
		}
		children[parent] = append(children[parent], s)
	}
	for _, c := range children {
		slices.SortStableFunc(c, func(a, b TraceSpan) int { return a.Start.Compare(b.Start) })
	}
	var walk func(parent string, d int)
	walk = func(parent string, d int) {
		for _, s := range children[parent] {
			ordered, depth = append(ordered, s), append(depth, d)
			walk(s.ID, d+1)
		}
	}
	walk("", 0)
	return ordered, depth
}
