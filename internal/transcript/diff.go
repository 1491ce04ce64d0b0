package transcript

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/caxton/caxton"
)

// A Line is one line of a difference. Op is ' ' for what both have, '-' for what only the
// first has, and '+' for what only the second has.
type Line struct {
	Op   byte
	Text string
}

// A Comparison is how two conversations differ in what was said and done.
type Comparison struct {
	A, B    caxton.ConversationID
	After   int64 // the records of A before which, and with which, nothing is compared: the fork's
	AfterB  int64
	Forked  bool // B is a fork of A
	Lines   []Line
	Differs bool
}

// maxCompared bounds how many lines of each side are compared line by line.
const maxCompared = 4000

// Compare compares what was said and done in two conversations: when one is a fork of the
// other, from the fork on, else from the beginning. Times and IDs do not count.
func Compare(a, b []caxton.Record) Comparison {
	c := Comparison{}
	if len(a) > 0 {
		c.A = a[0].ConversationID
	}
	if len(b) > 0 {
		c.B = b[0].ConversationID
	}
	if f, ok := forkOf(b); ok && f.From == c.A && f.Seq <= int64(len(a)) {
		c.Forked, c.After, c.AfterB = true, f.Seq, 1+f.Copied
	} else if f, ok := forkOf(a); ok && f.From == c.B && f.Seq <= int64(len(b)) {
		c.After, c.AfterB = 1+f.Copied, f.Seq
	}
	c.Lines = diff(lines(a, c.After), lines(b, c.AfterB))
	for _, l := range c.Lines {
		c.Differs = c.Differs || l.Op != ' '
	}
	return c
}

func forkOf(records []caxton.Record) (caxton.ForkedBody, bool) {
	var b caxton.ForkedBody
	if len(records) == 0 || records[0].Kind != caxton.RecordForked || json.Unmarshal(records[0].Body, &b) != nil {
		return b, false
	}
	return b, b.Copied < int64(len(records))
}

// lines returns what was said and done after a position.
func lines(records []caxton.Record, after int64) []string {
	var all []string
	for _, e := range Timeline(records, "") {
		if e.Seq <= after || e.Kind == caxton.RecordForked {
			continue
		}
		head, rest, more := strings.Cut(e.What, "\n")
		all = append(all, strings.TrimSpace(e.Who+" "+head))
		if more {
			for l := range strings.SplitSeq(rest, "\n") {
				all = append(all, "    "+l)
			}
		}
	}
	return all[:min(len(all), maxCompared)]
}

// diff returns the shortest way from a to b, by the longest common subsequence.
func diff(a, b []string) []Line {
	var out []Line
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		out = append(out, Line{' ', a[0]})
		a, b = a[1:], b[1:]
	}
	longest := make([][]int32, len(a)+1)
	for i := range longest {
		longest[i] = make([]int32, len(b)+1)
	}
	for i := range slices.Backward(a) {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				longest[i][j] = longest[i+1][j+1] + 1
			} else {
				longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, Line{' ', a[i]})
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || longest[i+1][j] >= longest[i][j+1]):
			out = append(out, Line{'-', a[i]})
			i++
		default:
			out = append(out, Line{'+', b[j]})
			j++
		}
	}
	return out
}

// Text prints the comparison as a unified difference, with all that is common.
func (c *Comparison) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s after record %d\n+++ %s after record %d\n", c.A, c.After, c.B, c.AfterB)
	for _, l := range c.Lines {
		fmt.Fprintf(&b, "%c%s\n", l.Op, l.Text)
	}
	return b.String()
}
