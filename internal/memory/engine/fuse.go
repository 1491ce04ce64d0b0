package engine

import (
	"math"
	"time"

	"github.com/caxton/caxton/internal/memory"
)

// Weights say what each signal of a hybrid search is worth beside the cosine, which counts as it
// is. They were chosen on worlds of conversations made for tuning; see RATIONALE.md.
type Weights struct {
	Words      float64 // times BM25
	Subject    float64 // times the share of the names asked about that the passage is about
	Mention    float64 // times the share of them that it mentions
	Identifier float64 // times the share of the words with digits that it has as they are
	Then       float64 // for what was so at the end of the time asked about; fades with the age
	After      float64 // against what came after that time
	Now        float64 // for what was so last when the question asks for now; fades with the age
	Hop        float64 // for what is about a person whom the best passages name
	Graph      float64 // times the strength of the relations from what is named or found well
	Importance float64 // for an importance of 1, against one of 0
}

// DefaultWeights returns the weights that a server uses.
func DefaultWeights() Weights {
	return Weights{
		Words: 0.02, Subject: 0.5, Mention: 0.5, Identifier: 0.4,
		Then: 0.3, After: 0.1, Now: 0.2, Hop: 0.5, Graph: 0.15, Importance: 0.02,
	}
}

// The names of the signals.
const (
	signalWords      = "words"
	signalMeaning    = "meaning"
	signalSubject    = "subject"
	signalMention    = "mention"
	signalIdentifier = "identifier"
	signalTime       = "time"
	signalGraph      = "graph"
	signalImportance = "importance"
)

// usualWords is how many words of content a question has at most for BM25 to count in full: it
// is a sum over words, and of a long question it would drown everything else.
const usualWords = 8

// below is by how much what only the graph speaks for stays behind the best.
const below = 0.05

// A measured passage is one with every signal as measured.
type measured struct {
	bm25     float64 // 0 when its words are not those of the query
	wordRank int     // from 1; 0 when not found by words
	cosine   float64
	hasUnit  bool // there is a cosine
	rank     int  // from 1; 0 when not found by meaning

	naming
	at         time.Time // since when it is so
	graph      float64   // strength of the connection, 0 to 1
	hop        float64   // share of the persons on the way that it is about
	via        string    // for people
	importance float64
}

// A scale is what the scores of one query are measured by.
type scale struct {
	mode     memory.Mode
	bm25     float64 // the best of the query
	coverage float64 // how much of the query the best passage by words has, 0 to 1
	fade     time.Duration
	now      time.Time

	question *question // of a hybrid search
	units    int       // names in it
	best     float64   // what the best passage comes to without the graph
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
	return curve(cosine, [][2]float64{{0.05, 0}, {0.2, 0.25}, {0.4, 0.6}, {0.6, 0.8}, {0.8, 0.95}, {1, 1}})
}

// similarity makes of what the signals come to, beyond what the names and times in a question
// are worth when a passage has them, a number from 0 to 1.
func similarity(x float64) float64 {
	return curve(x, [][2]float64{{-1, 0}, {0, 0.02}, {0.15, 0.2}, {0.3, 0.5}, {0.45, 0.75}, {0.6, 0.85}, {1, 0.97}, {1.6, 1}})
}

// curve returns y on the line through points, in order of x.
func curve(x float64, points [][2]float64) float64 {
	if !(x > points[0][0]) { // NaN too
		return points[0][1]
	}
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		if x <= b[0] {
			return a[1] + (x-a[0])/(b[0]-a[0])*(b[1]-a[1])
		}
	}
	return points[len(points)-1][1]
}

// faded is 1 for what is new, and e times less for each fade.
func faded(age, fade time.Duration) float64 { return math.Exp(-float64(max(age, 0)) / float64(fade)) }

// parts are what each signal adds for one passage.
type parts struct {
	words, meaning, subject, mention, identifier, time, importance float64
}

func (p *parts) sum() float64 {
	return p.words + p.meaning + p.subject + p.mention + p.identifier + p.time + p.importance
}

// weigh returns what each signal but the graph adds.
func (s *scale) weigh(w *Weights, m *measured) (p parts, recent float64) {
	p.meaning = m.cosine
	if !m.hasUnit { // the model did not see it yet: what its words say of its meaning
		p.meaning = unseenCosine * s.wordScore(m.bm25)
	}
	p.words = w.Words * m.bm25 * min(1, usualWords/float64(max(s.question.count, 1)))
	p.subject, p.mention, p.identifier = w.Subject*m.subject, w.Mention*m.mention, w.Identifier*m.identifier
	p.importance = w.Importance * (m.importance - 0.5)
	switch {
	case s.question.when.given():
		if m.at.Before(s.question.when.to) {
			recent = faded(s.question.when.to.Sub(m.at), s.fade)
			p.time = w.Then * recent
		} else {
			p.time = -w.After
		}
	case s.question.now:
		recent = faded(s.now.Sub(m.at), s.fade)
		p.time = w.Now * recent
	}
	return p, recent
}

// asked is what the names and times in the question are worth to a passage that has them.
func (s *scale) asked(w *Weights) (worth float64) {
	if s.units > 0 {
		worth += max(w.Subject, w.Mention)
	}
	if len(s.question.ids) > 0 {
		worth += w.Identifier
	}
	switch {
	case s.question.when.given():
		worth += w.Then / 2
	case s.question.now:
		worth += w.Now / 2
	}
	return worth
}

// single returns the score of a passage by words or by meaning alone, 0 to 1.
func (s *scale) single(m *measured) (score float64, signals []memory.Signal) {
	words, meaning := s.wordScore(m.bm25), meaningScore(m.cosine)
	w := memory.Signal{Name: signalWords, Raw: m.bm25, Score: words, Rank: m.wordRank}
	c := memory.Signal{Name: signalMeaning, Raw: m.cosine, Score: meaning, Rank: m.rank}
	if s.mode == memory.Words {
		w.Weight, score = words, words
	} else {
		c.Weight, score = meaning, meaning
	}
	return score, []memory.Signal{w, c}
}

// fuse returns what the signals of a passage come to, by which passages are in order; the score
// that tells people how well it answers, 0 to 1; and the part of each signal in that.
//
// A score of 0.8 and more is given to what is clearly on the point: it is about the names asked
// for and says what was asked, in the same or other words. 0.6 has what is about the subject,
// and most often is the answer when nothing has more; below 0.3 lies what has a word, a name or
// a topic in common.
func (s *scale) fuse(w *Weights, m *measured) (sum, score float64, signals []memory.Signal) {
	p, recent := s.weigh(w, m)
	sum = p.sum()
	connected := w.Graph*m.graph + w.Hop*m.hop
	connected = max(0, min(connected, s.best-below-sum))
	sum += connected
	score = similarity(sum - s.asked(w))

	part := func(x float64) float64 {
		if sum <= 0 {
			return 0
		}
		return x / sum * score
	}
	add := func(name string, raw, of, x float64, detail string) {
		signals = append(signals, memory.Signal{Name: name, Raw: raw, Score: of, Weight: part(x), Detail: detail})
	}
	signals = make([]memory.Signal, 0, 8)
	add(signalWords, m.bm25, s.wordScore(m.bm25), p.words, "")
	signals[0].Rank = m.wordRank
	add(signalMeaning, m.cosine, meaningScore(m.cosine), p.meaning, "")
	signals[1].Rank = m.rank
	if s.units > 0 {
		add(signalSubject, m.subject, m.subject, p.subject, "")
		add(signalMention, m.mention, m.mention, p.mention, "")
	}
	if len(s.question.ids) > 0 {
		add(signalIdentifier, m.identifier, m.identifier, p.identifier, "")
	}
	if s.question.when.given() || s.question.now {
		add(signalTime, s.now.Sub(m.at).Hours()/24, recent, p.time, "")
	}
	add(signalGraph, max(m.graph, m.hop), max(m.graph, m.hop), connected, m.via)
	add(signalImportance, m.importance, m.importance, p.importance, "")
	if sum <= 0 {
		signals[1].Weight = score
	}
	return sum, score, signals
}
