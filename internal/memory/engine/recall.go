package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
)

const (
	defaultTokens = 1000
	leastCut      = 24 // tokens below which a snippet is left out rather than cut
)

// EstimateTokens returns about how many tokens of a language model a text takes: a quarter of
// its bytes where it is ASCII, one for each other rune.
func EstimateTokens(s string) int {
	ascii, other := 0, 0
	for _, r := range s {
		if r < utf8.RuneSelf {
			ascii++
		} else {
			other++
		}
	}
	return (ascii+3)/4 + other
}

// Recall returns what was remembered about a text, the best first, as far as the budget goes.
func (e *Engine) Recall(ctx context.Context, a memory.Access, text string, o memory.RecallOptions) (memory.Recalled, error) {
	o.Limit = cmp.Or(o.Limit, caxton.DefaultRecallLimit)
	o.Tokens = cmp.Or(o.Tokens, defaultTokens)
	if len(text) > memory.MaxQuery { // the end of a message most often has the question
		text = strings.ToValidUTF8(text[len(text)-memory.MaxQuery:], "")
	}
	if strings.TrimSpace(text) == "" {
		return memory.Recalled{}, nil
	}
	r, err := e.searchCached(ctx, memory.Query{
		Access: a, Text: text, Mode: o.Mode, Limit: min(o.Limit+room(len(o.Except)), memory.MaxLimit), MinSimilarity: o.MinSimilarity, Filter: o.Filter,
	}, cmp.Or(o.TTL, e.cfg.CacheTTL))
	if err != nil {
		return memory.Recalled{}, err
	}
	var all []memory.Snippet
	for i := range r.Hits {
		if !excepted(&r.Hits[i].Entity, o.Except) {
			all = append(all, snippets(&r.Hits[i])...)
		}
	}
	slices.SortStableFunc(all, func(a, b memory.Snippet) int { return cmp.Compare(b.Score, a.Score) })
	out := memory.Recalled{Degraded: r.Degraded}
	for _, s := range all[:min(len(all), o.Limit)] {
		shown := line(s)
		s.Tokens = EstimateTokens(shown)
		if left := o.Tokens - out.Tokens; s.Tokens > left {
			if left < leastCut {
				break
			}
			over := len(shown) - 4*left + 4
			if over >= len(s.Text) {
				break
			}
			s.Text = shortened(s.Text, len(s.Text)-over) + "…"
			shown = line(s)
			if s.Tokens = EstimateTokens(shown); s.Tokens > left {
				continue // a script with a token a rune: a shorter snippet may fit
			}
		}
		out.Tokens += s.Tokens
		out.Snippets = append(out.Snippets, s)
	}
	return out, nil
}

// room returns how many hits to ask for besides, of which n may be left out: not more than
// are likely to be among the best. It comes in steps, so that a conversation that goes on asks
// alike.
func room(n int) int { return (min(n, 24) + 7) / 8 * 8 }

// excepted reports whether an entity is the turn of one of the messages.
func excepted(en *caxton.Entity, messages []caxton.MessageID) bool {
	if en.Type != caxton.EpisodeType || len(en.Observations) == 0 {
		return false
	}
	by := &en.Observations[0].Provenance
	return by.Tool == caxton.EpisodeTool && slices.Contains(messages, by.MessageID)
}

func snippets(h *memory.Hit) []memory.Snippet {
	en := &h.Entity
	one := memory.Snippet{EntityID: en.ID, Scope: en.Scope, Name: en.Name, Type: en.Type}
	if len(en.Observations) == 0 {
		one.ID, one.Entity, one.At, one.Score = caxton.MemoryID(en.ID), true, en.CreatedAt, h.Score
		return []memory.Snippet{one}
	}
	by := map[caxton.MemoryID]*caxton.Observation{}
	for i := range en.Observations {
		by[caxton.MemoryID(en.Observations[i].ID)] = &en.Observations[i]
	}
	var all []memory.Snippet
	for _, f := range h.Found {
		if ob := by[f.ID]; ob != nil {
			s := one
			s.ID, s.Text, s.Score, s.At = f.ID, ob.Text, f.Score, ob.Known.From
			if !ob.Valid.From.IsZero() {
				s.At = ob.Valid.From
			}
			all = append(all, s)
		}
	}
	return all
}

// line returns a snippet as it stands in a prompt, for which its tokens are counted. A line
// break in it cannot begin another snippet.
func line(s memory.Snippet) string {
	var b strings.Builder
	fmt.Fprintf(&b, "- %s (%s", s.Name, s.Type)
	if !s.At.IsZero() {
		fmt.Fprintf(&b, ", %s", s.At.UTC().Format(time.DateOnly))
	}
	b.WriteByte(')')
	if s.Text != "" {
		b.WriteString(": ")
		b.WriteString(strings.ReplaceAll(s.Text, "\n", "\n  "))
	}
	b.WriteByte('\n')
	return b.String()
}
