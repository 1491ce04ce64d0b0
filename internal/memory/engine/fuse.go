package engine

import (
	"math"
	"time"

	"github.com/caxton/caxton/internal/memory"
)

// Weights say how the signals of a search become one score.
//
// Words and Meaning share the base of the score in proportion: each is a number from 0 to 1,
// see wordScore and meaningScore. A signal that could not be measured, because the model does
// not answer or the passage has no vector yet, leaves its share to the other. Graph adds to
// the base what a connection to something found or named is worth; Recency and Importance
// stretch or shrink it by so much at most, so that neither makes up for being beside the
// point.
type Weights struct {
	Words      float64
	Meaning    float64
	Graph      float64
	Recency    float64
	Importance float64
}

// DefaultWeights returns the weights that a server uses.
func DefaultWeights() Weights {
	return Weights{Words: 0.45, Meaning: 0.55, Graph: 0.08, Recency: 0.04, Importance: 0.04}
}

// The names of the signals.
const (
	signalWords      = "words"
	signalMeaning    = "meaning"
	signalGraph      = "graph"
	signalRecency    = "recency"
	signalImportance = "importance"
)

// A measured passage is one with every signal as measured.
type measured struct {
	bm25     float64 // 0 when its words are not those of the query
	wordRank int     // from 1; 0 when not found by words
	cosine   float64
	hasUnit  bool // there is a cosine
	rank     int  // from 1; 0 when not found by meaning

	graph      float64 // strength of the connection, 0 to 1
	via        string  // for people
	age        time.Duration
	importance float64
}

// A scale is what the scores of one query are measured by.
type scale struct {
	mode     memory.Mode
	bm25     float64 // the best of the query
	coverage float64 // how much of the query the best passage by words has, 0 to 1
	halfLife time.Duration
}

// wordScore is BM25 as a share of the best one for the query, times how much of the query's
// words, the rare ones counting more, the best passage has. So the order is that of BM25, and
// 1 means that everything asked for is there.
func (s *scale) wordScore(bm25 float64) float64 {
	if s.bm25 <= 0 || bm25 <= 0 {
		return 0
	}
	return bm25 / s.bm25 * s.coverage
}

// meaningScore makes of a cosine a number that means the same for people whatever the length
// of the texts: with all-MiniLM-L6-v2, texts about different things have cosines up to 0.15,
// about the same thing from 0.3, a question and its answer from 0.4 to 0.7, and two ways of
// saying the same from 0.75.
func meaningScore(cosine float64) float64 {
	curve := [...][2]float64{{0.05, 0}, {0.2, 0.25}, {0.4, 0.6}, {0.6, 0.8}, {0.8, 0.95}, {1, 1}}
	if !(cosine > curve[0][0]) { // NaN too
		return 0
	}
	for i := 1; i < len(curve); i++ {
		a, b := curve[i-1], curve[i]
		if cosine <= b[0] {
			return a[1] + (cosine-a[0])/(b[0]-a[0])*(b[1]-a[1])
		}
	}
	return 1
}

// recencyScore halves with each half-life.
func recencyScore(age, halfLife time.Duration) float64 {
	if age <= 0 {
		return 1
	}
	return math.Exp2(-float64(age) / float64(halfLife))
}

// fuse returns the score of a passage, 0 to 1, and the part of each signal in it. It knows
// nothing but its arguments.
//
// A score of 0.8 and more is given to what has about all words of the query or says the same
// in other words; 0.6 to what is about the same thing; below 0.3 lies what has a word or a
// topic in common.
func fuse(w Weights, s scale, m *measured) (score float64, signals []memory.Signal) {
	words, meaning := s.wordScore(m.bm25), meaningScore(m.cosine)
	wordWeight, meaningWeight := w.Words, w.Meaning
	switch {
	case s.mode == memory.Words || s.mode == memory.Hybrid && !m.hasUnit:
		wordWeight, meaningWeight = 1, 0
	case s.mode == memory.Meaning:
		wordWeight, meaningWeight = 0, 1
	}
	total := wordWeight + meaningWeight
	wordPart, meaningPart := words*wordWeight/total, meaning*meaningWeight/total
	base := wordPart + meaningPart

	signals = make([]memory.Signal, 0, 5)
	signals = append(signals, memory.Signal{Name: signalWords, Raw: m.bm25, Score: words, Weight: wordPart, Rank: m.wordRank})
	signals = append(signals, memory.Signal{Name: signalMeaning, Raw: m.cosine, Score: meaning, Weight: meaningPart, Rank: m.rank})
	if s.mode != memory.Hybrid {
		return min(base, 1), signals
	}
	recent := recencyScore(m.age, s.halfLife)
	graphPart := w.Graph * m.graph
	recencyPart := w.Recency * base * recent
	importancePart := w.Importance * base * (m.importance - 0.5) * 2
	signals = append(signals,
		memory.Signal{Name: signalGraph, Raw: m.graph, Score: m.graph, Weight: graphPart, Detail: m.via},
		memory.Signal{Name: signalRecency, Raw: m.age.Hours() / 24, Score: recent, Weight: recencyPart},
		memory.Signal{Name: signalImportance, Raw: m.importance, Score: m.importance, Weight: importancePart})
	return max(0, min(base+graphPart+recencyPart+importancePart, 1)), signals
}
