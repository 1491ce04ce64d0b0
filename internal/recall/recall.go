package recall

import (
	"context"
	"time"
)

// A Turn is one thing somebody said.
type Turn struct {
	ID      string    `json:"id"`
	Session string    `json:"session"`
	Speaker string    `json:"speaker"`
	Text    string    `json:"text"`
	At      time.Time `json:"at"`
}

// A Query is a question as a Searcher gets it.
type Query struct {
	Text string
	At   time.Time // when it is asked: what "last March" counts from
}

// A Searcher is what is measured. Search may be called from several goroutines at once, Add
// from one, and never beside Search. A Searcher that is an io.Closer is closed after use.
type Searcher interface {
	// Add takes turns in order of time; it may be called several times.
	Add(ctx context.Context, turns []Turn) error
	// Search returns the ids of at most limit turns, best first.
	Search(ctx context.Context, q Query, limit int) ([]string, error)
}

// Filled is implemented by a Searcher that shares what it searches with others: when another has
// added the turns, they are not added again.
type Filled interface{ Filled() bool }

// Readied is implemented by a Searcher that has something to do between the last Add and the
// first Search.
type Readied interface {
	Ready(ctx context.Context) error
}

// A Type says what a question needs.
type Type string

// The types of generated questions. Files bring others.
const (
	SingleHop   Type = "single_hop"     // one turn states the fact
	MultiHop    Type = "multi_hop"      // one turn names the person, another the fact
	Temporal    Type = "temporal"       // when, what was said then, what was before
	Current     Type = "update_current" // the latest of several values
	AsOf        Type = "update_as_of"   // the value at an earlier date
	Preference  Type = "preference"     // advice that follows from a preference
	Paraphrase  Type = "paraphrase"     // no word of content in common with the turn
	Identifier  Type = "identifier"     // an exact rare token
	Aggregation Type = "aggregation"    // several turns of several sessions
	OpenDomain  Type = "open_domain"    // a turn and common knowledge; from files only
)

// Types returns the types that Generate makes, in the order of reports.
func Types() []Type {
	return []Type{SingleHop, MultiHop, Temporal, Current, AsOf, Preference, Paraphrase, Identifier, Aggregation}
}

// A Question is asked about one world.
type Question struct {
	ID      string    `json:"id"`
	Type    Type      `json:"type"`
	Text    string    `json:"text"`
	Answer  string    `json:"answer,omitempty"`
	AskedAt time.Time `json:"asked_at"`
	// Evidence are groups of turns. A group is found when any of its turns is; all of the
	// evidence is found when every group is. No groups: the question counts by session only.
	Evidence [][]string `json:"evidence,omitempty"`
	// Sessions are groups of sessions likewise; nil means the sessions of Evidence.
	Sessions [][]string `json:"sessions,omitempty"`
}

// A Split keeps questions for choosing weights apart from those for reporting.
type Split string

// The splits. Worlds from files stand in none.
const (
	Tuning  Split = "tuning"
	HeldOut Split = "held_out"
)

// A World is what one Searcher is told and asked.
type World struct {
	ID        string     `json:"id"`
	Split     Split      `json:"split,omitempty"`
	Turns     []Turn     `json:"turns"` // in order of time
	Questions []Question `json:"questions"`
	// Skipped says which questions of a file were left out, and why.
	Skipped []Skip `json:"skipped,omitempty"`
}

// A Skip is a question of a file that cannot be measured.
type Skip struct {
	Question string `json:"question"`
	Reason   string `json:"reason"`
}
