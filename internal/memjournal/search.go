package memjournal

import (
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/caxton/caxton"
)

// Search returns a page of the messages that q selects, the newest first: here no index tells
// which is best. See sqlite.DB.Search.
func (j *Journal) Search(_ context.Context, q caxton.MatchQuery) (page []caxton.Match, next string, err error) {
	want := slices.DeleteFunc(strings.Fields(strings.ToLower(q.Text)), func(w string) bool { return strings.Trim(w, "*") == "" })
	if len(want) == 0 {
		return nil, "", caxton.Errorf(caxton.Invalid, "query_empty", "the search has no words").WithHint("give the words to look for")
	}
	limit := q.Limit
	if limit <= 0 || limit > 200 {
		limit = 50
	}
	offset := 0
	if q.Before != "" {
		b, err := base64.RawURLEncoding.DecodeString(q.Before)
		if err == nil {
			offset, err = strconv.Atoi(string(b))
		}
		if err != nil || offset < 0 {
			return nil, "", caxton.Errorf(caxton.Invalid, "cursor_invalid", "%q is not a cursor", q.Before).WithHint("use the \"next\" of the page before")
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []caxton.Match
	for _, c := range j.convs {
		if q.ConversationID != "" && c.id != q.ConversationID || !c.matches(caxton.ConversationQuery{Agent: q.Agent, State: q.State}) {
			continue
		}
		for i := range c.log {
			if m, ok := c.log[i].match(&q, want); ok {
				m.ConversationID, m.Seq = c.id, int64(i)+1
				all = append(all, m)
			}
		}
	}
	slices.SortFunc(all, func(a, b caxton.Match) int {
		if d := b.At.Compare(a.At); d != 0 {
			return d
		}
		return strings.Compare(string(a.MessageID), string(b.MessageID))
	})
	all = all[min(offset, len(all)):]
	if len(all) > limit {
		all, next = all[:limit], base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(offset+limit)))
	}
	return all, next, nil
}

// match tells whether an entry is a message that q selects.
func (e *entry) match(q *caxton.MatchQuery, want []string) (caxton.Match, bool) {
	if e.delivery == nil || !q.Since.IsZero() && e.at.Before(q.Since) || !q.Until.IsZero() && e.at.After(q.Until) {
		return caxton.Match{}, false
	}
	m := &e.delivery.Message
	if q.Participant != "" && m.Sender != q.Participant && m.Receiver != q.Participant {
		return caxton.Match{}, false
	}
	snippet, ok := mark(m.Text(), want)
	return caxton.Match{
		MessageID: m.ID, At: e.at, Performative: m.Performative, Sender: m.Sender, Receiver: m.Receiver, Snippet: snippet,
	}, ok
}

// mark puts the wanted words of a text in brackets; false when one is missing.
func mark(text string, want []string) (string, bool) {
	words := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	found := map[string]bool{}
	for _, w := range want {
		some := false
		for _, have := range words {
			h := strings.ToLower(have)
			if stem, prefix := strings.CutSuffix(w, "*"); h == w || prefix && stem != "" && strings.HasPrefix(h, stem) {
				some, found[have] = true, true
			}
		}
		if !some {
			return "", false
		}
	}
	for w := range found {
		text = strings.ReplaceAll(text, w, "["+w+"]")
	}
	if r := []rune(text); len(r) > 200 {
		text = string(r[:200]) + "…"
	}
	return text, true
}
