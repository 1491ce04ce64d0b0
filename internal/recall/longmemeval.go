package recall

import (
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"
)

// longMemEvalTime is how LongMemEval writes times: 2023/05/20 (Sat) 02:21.
const longMemEvalTime = "2006/01/02 (Mon) 15:04"

type longMemEvalItem struct {
	QuestionID       text                `json:"question_id"`
	QuestionType     string              `json:"question_type"`
	Question         text                `json:"question"`
	QuestionDate     string              `json:"question_date"`
	Answer           text                `json:"answer"`
	AnswerSessionIDs stringList          `json:"answer_session_ids"`
	SessionIDs       []text              `json:"haystack_session_ids"`
	Dates            []string            `json:"haystack_dates"`
	Sessions         [][]longMemEvalTurn `json:"haystack_sessions"`
}

type longMemEvalTurn struct {
	Role      string `json:"role"`
	Content   text   `json:"content"`
	HasAnswer bool   `json:"has_answer"`
}

// ReadLongMemEval reads the questions of a file of the LongMemEval format, one at a time:
// each is a world of its own, since each has its own conversations. The path is only for
// errors. Questions that are meant to have no answer are skipped. Turns marked as evidence
// are each a group of their own, and so are the sessions of the answer; a question that
// marks no turns counts by session only.
func ReadLongMemEval(path string, in io.Reader) iter.Seq2[World, error] {
	s := newSource(path, in)
	ids := unique{}
	return elements(s, func(v longMemEvalItem, base int64, field string) (World, error) {
		return s.longMemEvalWorld(v, base, field, ids)
	})
}

func (s *source) longMemEvalWorld(v longMemEvalItem, base int64, field string, ids unique) (World, error) {
	id := string(v.QuestionID)
	if id == "" {
		return World{}, s.malformed(base, field+".question_id", "is missing")
	}
	if v.Sessions == nil {
		return World{}, s.malformed(base, field+".haystack_sessions", "is missing")
	}
	if n := len(v.SessionIDs); n > 0 && n != len(v.Sessions) {
		return World{}, s.malformed(base, field+".haystack_session_ids", "has %d entries for %d sessions", n, len(v.Sessions))
	}
	if n := len(v.Dates); n > 0 && n != len(v.Sessions) {
		return World{}, s.malformed(base, field+".haystack_dates", "has %d entries for %d sessions", n, len(v.Sessions))
	}
	w := World{ID: ids.id(id)}
	q := Question{ID: w.ID, Type: Type(v.QuestionType), Text: string(v.Question), Answer: string(v.Answer)}
	if q.Type == "" {
		q.Type = "unknown"
	}
	asked, ok := parseTime(v.QuestionDate, longMemEvalTime, "2006/01/02 15:04", "2006/01/02")
	if !ok {
		return World{}, s.malformed(base, field+".question_date", "%q is no time such as %q", v.QuestionDate, longMemEvalTime)
	}
	sessionIDs := unique{}
	named := map[string][]string{} // a session may occur twice
	var last time.Time
	for i, session := range v.Sessions {
		name := fmt.Sprintf("session_%d", i)
		if len(v.SessionIDs) > 0 {
			name = string(v.SessionIDs[i])
		}
		own := sessionIDs.id(name)
		named[name] = append(named[name], own)
		var start time.Time
		if len(v.Dates) > 0 {
			if start, ok = parseTime(v.Dates[i], longMemEvalTime, "2006/01/02 15:04", "2006/01/02"); !ok {
				return World{}, s.malformed(base, fmt.Sprintf("%s.haystack_dates[%d]", field, i), "%q is no time such as %q", v.Dates[i], longMemEvalTime)
			}
		}
		last = maxTime(last, start)
		for n, t := range session {
			turn := Turn{
				ID: fmt.Sprintf("%s:%d", own, n), Session: own, Speaker: t.Role, Text: string(t.Content),
				At: nth(start, n),
			}
			w.Turns = append(w.Turns, turn)
			if t.HasAnswer {
				q.Evidence = append(q.Evidence, []string{turn.ID})
			}
		}
	}
	sortTurns(w.Turns)
	if q.AskedAt = asked; asked.IsZero() {
		q.AskedAt = last
	}
	for _, name := range v.AnswerSessionIDs {
		if group := named[name]; group != nil {
			q.Sessions = append(q.Sessions, slices.Clone(group))
		}
	}
	switch {
	case strings.HasSuffix(id, "_abs"):
		w.Skipped = append(w.Skipped, Skip{q.ID, "it is meant to have no answer"})
	case strings.TrimSpace(q.Text) == "":
		w.Skipped = append(w.Skipped, Skip{q.ID, "it has no text"})
	case len(q.Evidence) == 0 && len(q.Sessions) == 0:
		w.Skipped = append(w.Skipped, Skip{q.ID, "it names no evidence that is there"})
	default:
		w.Questions = append(w.Questions, q)
	}
	return w, nil
}
