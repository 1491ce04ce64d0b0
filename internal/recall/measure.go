package recall

import (
	"math"
	"math/rand/v2"
	"slices"
)

// A Measure is one way to score the answer to one question, from 0 to 1.
type Measure string

// The measures. "Any" is 1 when a turn of any group of evidence is among the first so many,
// "all" when every group has one there. The plain ones count turns, the others sessions in
// the order in which their first turn was returned.
const (
	AnyAt5         Measure = "any_at_5"
	AnyAt10        Measure = "any_at_10"
	AllAt5         Measure = "all_at_5"
	AllAt10        Measure = "all_at_10"
	SessionAnyAt5  Measure = "session_any_at_5"
	SessionAnyAt10 Measure = "session_any_at_10"
	SessionAllAt5  Measure = "session_all_at_5"
	SessionAllAt10 Measure = "session_all_at_10"
	MRR            Measure = "mrr"        // one over the place of the first turn of evidence
	NDCG           Measure = "ndcg_at_10" // each group counts once, at its first turn
)

// Measures returns all measures in the order of reports.
func Measures() []Measure {
	return []Measure{
		AnyAt5, AnyAt10, AllAt5, AllAt10,
		SessionAnyAt5, SessionAnyAt10, SessionAllAt5, SessionAllAt10, MRR, NDCG,
	}
}

// index says for each thing in which groups it is.
func index(groups [][]string) map[string][]int {
	in := map[string][]int{}
	for g, ids := range groups {
		for _, id := range ids {
			in[id] = append(in[id], g)
		}
	}
	return in
}

// firsts returns for each group the place, from 0, of its first member in the answer, or -1.
func firsts(answer []string, groups [][]string) []int {
	in := index(groups)
	at := slices.Repeat([]int{-1}, len(groups))
	for i, id := range answer {
		for _, g := range in[id] {
			if at[g] < 0 {
				at[g] = i
			}
		}
	}
	return at
}

// Score scores an answer, the ids of turns with the best first, against a question. A turn
// that is returned twice counts at its first place; sessionOf says where a turn belongs.
// Measures by turn are missing when the question has no evidence by turn.
func Score(q Question, answer []string, sessionOf func(turn string) string) map[Measure]float64 {
	answer = distinct(answer)
	sessions := q.Sessions
	if sessions == nil {
		for _, g := range q.Evidence {
			var of []string
			for _, id := range g {
				of = append(of, sessionOf(id))
			}
			sessions = append(sessions, of)
		}
	}
	out := map[Measure]float64{}
	found := make([]string, 0, len(answer))
	for _, id := range answer {
		found = append(found, sessionOf(id))
	}
	recallAt(out, firsts(distinct(found), sessions), SessionAnyAt5, SessionAllAt5, SessionAnyAt10, SessionAllAt10)
	if len(q.Evidence) == 0 {
		return out
	}
	at := firsts(answer, q.Evidence)
	recallAt(out, at, AnyAt5, AllAt5, AnyAt10, AllAt10)
	out[MRR], out[NDCG] = 0, 0
	gain, ideal := 0.0, 0.0
	for i, p := range at {
		if p >= 0 {
			out[MRR] = max(out[MRR], 1/float64(p+1))
		}
		if p >= 0 && p < 10 {
			gain += 1 / math.Log2(float64(p+2))
		}
		if i < 10 {
			ideal += 1 / math.Log2(float64(i+2))
		}
	}
	// Two groups that share a turn are found at one place, which may be more than ideal.
	out[NDCG] = min(1, gain/ideal)
	return out
}

func recallAt(out map[Measure]float64, at []int, any5, all5, any10, all10 Measure) {
	within := func(k int) (some, every float64) {
		every = 1
		for _, p := range at {
			if p >= 0 && p < k {
				some = 1
			} else {
				every = 0
			}
		}
		if len(at) == 0 {
			every = 0
		}
		return some, every
	}
	out[any5], out[all5] = within(5)
	out[any10], out[all10] = within(10)
}

// distinct returns ids without repetitions, in order.
func distinct(ids []string) []string {
	seen := make(map[string]bool, len(ids))
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

// A Mean is the mean of a measure with the interval that holds it with 95 % confidence.
type Mean struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// resamples of a bootstrap. The ends of the interval rest on the 25 lowest and highest.
const resamples = 1000

// mean returns the mean of values and its bootstrap interval. The same values give the same
// interval.
func mean(values []float64) Mean {
	if len(values) == 0 {
		return Mean{}
	}
	m := Mean{Value: average(values)}
	rng := rand.New(rand.NewPCG(uint64(len(values)), 0x5eed)) //nolint:gosec // intervals must repeat
	means := make([]float64, resamples)
	for i := range means {
		sum := 0.0
		for range values {
			sum += values[rng.IntN(len(values))]
		}
		means[i] = sum / float64(len(values))
	}
	slices.Sort(means)
	m.Low, m.High = means[resamples/40], means[resamples-1-resamples/40]
	return m
}

func average(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// A Comparison holds one system against another on the same questions.
type Comparison struct {
	System     string  `json:"system"`
	Baseline   string  `json:"baseline"`
	Split      Split   `json:"split,omitempty"`
	Type       Type    `json:"type"` // "" for all types
	Measure    Measure `json:"measure"`
	Questions  int     `json:"questions"`
	Wins       int     `json:"wins"`   // questions on which System scores higher
	Losses     int     `json:"losses"` // questions on which Baseline does
	Difference float64 `json:"difference"`
	// P is how likely a split of wins and losses as uneven as this is if neither were better:
	// the two-sided sign test.
	P float64 `json:"p"`
}

// significant is the usual threshold of P.
const significant = 0.05

// Loses reports whether the system scores lower than the baseline by more than chance.
func (c Comparison) Loses() bool { return c.Difference < 0 && c.P < significant }

// Gains reports whether the system scores higher than the baseline by more than chance.
func (c Comparison) Gains() bool { return c.Difference > 0 && c.P < significant }

// signTest returns the two-sided probability of a split at least as uneven as wins to losses.
func signTest(wins, losses int) float64 {
	n := wins + losses
	if n == 0 {
		return 1
	}
	choose := func(k int) float64 {
		a, _ := math.Lgamma(float64(n + 1))
		b, _ := math.Lgamma(float64(k + 1))
		c, _ := math.Lgamma(float64(n - k + 1))
		return math.Exp(a - b - c - float64(n)*math.Ln2)
	}
	p := 0.0
	for k := 0; k <= min(wins, losses); k++ {
		p += choose(k)
	}
	return min(1, 2*p)
}
