package caxton

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A RolloutMeasure is what a gate looks at.
type RolloutMeasure string

// The measures.
const (
	MeasureErrorRate RolloutMeasure = "error_rate" // share of the turns that failed, in percent
	MeasureP50       RolloutMeasure = "p50"        // of the time of a turn, in milliseconds
	MeasureP99       RolloutMeasure = "p99"
)

// A RolloutGate ends a rollout when a measure of the new version is too high: higher than a
// limit, or than so many times that of the old version, or than that and so much more.
type RolloutGate struct {
	Measure RolloutMeasure `json:"measure"`
	Than    RolloutThan    `json:"than"`
	Limit   float64        `json:"limit"` // percent, milliseconds, or a factor
}

// RolloutThan says what the limit of a gate is counted from.
type RolloutThan string

// What a limit is counted from.
const (
	ThanLimit RolloutThan = "limit" // error_rate>1%, p99>100ms
	ThanTimes RolloutThan = "times" // p99>2x: of the old version's
	ThanMore  RolloutThan = "more"  // error_rate>+5%, p99>+50ms: more than the old version's
)

// DefaultRolloutGates are those of a canary that names none.
func DefaultRolloutGates() []RolloutGate {
	return []RolloutGate{{MeasureErrorRate, ThanMore, 5}, {MeasureP99, ThanTimes, 2}}
}

// latencyNoise is how many milliseconds a latency must differ before a factor says anything.
const latencyNoise = 10

// ParseRolloutGates returns the gates that a text such as "error_rate>1%,p99>100ms" tells.
// "none" is no gate at all.
func ParseRolloutGates(text string) ([]RolloutGate, error) {
	if strings.EqualFold(strings.TrimSpace(text), "none") {
		return []RolloutGate{}, nil
	}
	var gates []RolloutGate
	for part := range strings.SplitSeq(text, ",") {
		name, limit, ok := strings.Cut(part, ">")
		g := RolloutGate{Measure: RolloutMeasure(strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "-", "_")), Than: ThanLimit}
		limit = strings.TrimSpace(limit)
		if l, more := strings.CutPrefix(limit, "+"); more {
			g.Than, limit = ThanMore, l
		} else if l, times := strings.CutSuffix(limit, "x"); times {
			g.Than, limit = ThanTimes, l
		}
		var err error
		switch percent, isRate := strings.CutSuffix(limit, "%"); {
		case g.Than == ThanTimes:
			g.Limit, err = strconv.ParseFloat(limit, 64)
		case g.Measure == MeasureErrorRate && isRate:
			g.Limit, err = strconv.ParseFloat(strings.TrimSpace(percent), 64)
		case g.Measure == MeasureErrorRate:
			err = errGate(part)
		default:
			var d time.Duration
			d, err = time.ParseDuration(limit)
			g.Limit = float64(d) / float64(time.Millisecond)
		}
		if !ok || err != nil || g.check() != nil {
			return nil, errGate(part)
		}
		gates = append(gates, g)
	}
	return gates, nil
}

func errGate(text string) error {
	return Errorf(Invalid, "gate_invalid", "%.100q is no gate of a rollout", text).
		WithHint("write error_rate>1%%, error_rate>+5%%, p99>100ms, p99>2x or p50>+20ms, with commas between, or none")
}

func (g *RolloutGate) check() error {
	bad := math.IsNaN(g.Limit) || math.IsInf(g.Limit, 0) || g.Limit < 0 || g.Than == ThanTimes && g.Limit == 0
	switch g.Measure {
	case MeasureErrorRate, MeasureP50, MeasureP99:
	default:
		bad = true
	}
	switch g.Than {
	case ThanLimit, ThanTimes, ThanMore:
	default:
		bad = true
	}
	if bad {
		return errGate(g.String())
	}
	return nil
}

// String prints the gate as ParseRolloutGates reads it.
func (g *RolloutGate) String() string {
	n := strconv.FormatFloat(g.Limit, 'f', -1, 64)
	switch {
	case g.Than == ThanTimes:
		return string(g.Measure) + ">" + n + "x"
	case g.Measure == MeasureErrorRate:
		n += "%"
	default:
		n += "ms"
	}
	if g.Than == ThanMore {
		n = "+" + n
	}
	return string(g.Measure) + ">" + n
}

// RolloutGatesText prints gates as ParseRolloutGates reads them.
func RolloutGatesText(gates []RolloutGate) string {
	if len(gates) == 0 {
		return "none"
	}
	parts := make([]string, 0, len(gates))
	for i := range gates {
		parts = append(parts, gates[i].String())
	}
	return strings.Join(parts, ",")
}

// VersionCounts are how one version of an agent fares in a rollout, since its stage began, or
// since the server started, if that is later.
type VersionCounts struct {
	Version  int
	Handled  int64 // turns that went well
	Failed   int64
	Streak   int // turns in a row, up to the last one, that broke down
	InFlight int
	P50, P99 time.Duration // of the newest turns; 0 before the first

	AllHandled int64 // since the rollout began
	AllFailed  int64
}

// Turns returns how many turns have ended.
func (c *VersionCounts) Turns() int64 { return c.Handled + c.Failed }

// measure returns what a gate looks at, in the unit of its limit.
func (c *VersionCounts) measure(m RolloutMeasure) float64 {
	switch m {
	case MeasureErrorRate:
		if c.Turns() == 0 {
			return 0
		}
		return 100 * float64(c.Failed) / float64(c.Turns())
	case MeasureP50:
		return float64(c.P50) / float64(time.Millisecond)
	case MeasureP99:
		return float64(c.P99) / float64(time.Millisecond)
	}
	return 0
}

// Breached returns why the gate ends a rollout in which the versions fare so, or "". A gate
// that compares says nothing while the old version has handled fewer messages than least.
func (g *RolloutGate) Breached(from, to *VersionCounts, least int) string {
	have, was, limit := to.measure(g.Measure), from.measure(g.Measure), g.Limit
	if g.Than != ThanLimit && from.Turns() < int64(max(1, least)) {
		return ""
	}
	switch g.Than {
	case ThanTimes:
		limit *= was
		if g.Measure != MeasureErrorRate && have-was < latencyNoise {
			return ""
		}
	case ThanMore:
		limit += was
	case ThanLimit:
	}
	if have <= limit {
		return ""
	}
	unit := "ms"
	if g.Measure == MeasureErrorRate {
		unit = "%"
	}
	why := fmt.Sprintf("%s: it is %.3g%s over %d messages", g.String(), have, unit, to.Turns())
	if g.Than != ThanLimit {
		why += fmt.Sprintf(", of version %d it is %.3g%s", from.Version, was, unit)
	}
	return why
}

// A RolloutTally is how the versions of a rollout have fared so far, as it is kept over a restart.
type RolloutTally struct {
	To       int               `json:"to"`
	Stage    int               `json:"stage"`
	Versions []VersionCounts   `json:"versions,omitempty"`
	Recent   [][]time.Duration `json:"recent,omitempty"` // of each version, the times of its newest turns
	Shadow   ShadowCounts      `json:"shadow,omitzero"`  // without those that differed
}

// Turns returns how many turns were counted.
func (t *RolloutTally) Turns() (n int64) {
	for i := range t.Versions {
		n += t.Versions[i].AllHandled + t.Versions[i].AllFailed
	}
	return n
}

// ShadowCounts tell how the answers of a shadow compare with those that were given.
type ShadowCounts struct {
	Compared  int64
	Same      int64 // the same answer, and the same calls of tools
	Answers   int64 // the answer was another one
	Calls     int64 // other tools were called, or with other arguments
	Failed    int64 // it did not come to an answer
	Dropped   int64 // copies that nobody had time for
	Different []ShadowDifference
}

// A ShadowDifference is one message that a shadow answered otherwise.
type ShadowDifference struct {
	At             time.Time
	ConversationID ConversationID
	MessageID      MessageID
	Answer         string   // that was given
	Shadow         string   // that the shadow would have given
	Missing        []string // calls that the shadow did not make
	Extra          []string // calls that only the shadow made; they were not carried out
	Error          string   // why it came to no answer
}

// A RolloutStatus is how a rollout stands.
type RolloutStatus struct {
	Agent     Agent
	Rollout   Rollout
	At        time.Time // of this status
	From, To  VersionCounts
	Shadow    ShadowCounts
	Waits     string // why a stage that is over by the clock goes on, or ""
	Withdrawn []int
}

// A ShadowTurn is what a shadow would have done.
type ShadowTurn struct {
	Outputs []Message
	Calls   []ToolCallRef
}
