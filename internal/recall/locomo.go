package recall

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// locomoTime is how LoCoMo writes when a session took place: 1:56 pm on 8 May, 2023.
const locomoTime = "3:04 pm on 2 January, 2006"

type locomoSample struct {
	SampleID     text                       `json:"sample_id"`
	Conversation map[string]json.RawMessage `json:"conversation"`
	QA           []locomoQuestion           `json:"qa"`
}

type locomoTurn struct {
	Speaker string `json:"speaker"`
	DiaID   string `json:"dia_id"`
	Text    string `json:"text"`
	Caption string `json:"blip_caption"` // of a picture that was sent along
}

type locomoQuestion struct {
	Question text       `json:"question"`
	Answer   text       `json:"answer"`
	Evidence stringList `json:"evidence"`
	Category text       `json:"category"`
}

// stringList is a list of strings, or one string in place of it.
type stringList []string

// UnmarshalJSON takes a list, a string, or null.
func (l *stringList) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = nil
		if one != "" {
			*l = []string{one}
		}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// locomoType names the categories, which the files number.
func locomoType(category text) Type {
	switch category {
	case "1":
		return MultiHop
	case "2":
		return Temporal
	case "3":
		return OpenDomain
	case "4":
		return SingleHop
	case "5":
		return "adversarial"
	case "":
		return "unknown"
	}
	return Type("category_" + string(category))
}

// ReadLoCoMo reads the conversations of a file of the LoCoMo format, each a world, one at a
// time. The path is only for errors. Questions without evidence that can be found, and
// adversarial ones, which no turn answers, are skipped.
func ReadLoCoMo(path string, in io.Reader) iter.Seq2[World, error] {
	s := newSource(path, in)
	ids := unique{}
	return elements(s, func(v locomoSample, base int64, field string) (World, error) {
		w := World{ID: string(v.SampleID)}
		if w.ID == "" {
			w.ID = "conversation"
		}
		w.ID = ids.id(w.ID)
		numbers, err := s.locomoSessions(v, base, field)
		if err != nil {
			return World{}, err
		}
		known := map[string]string{} // from a place such as 3:12 to the turn's id
		turnIDs := unique{}
		var last time.Time
		for _, n := range numbers {
			turns, err := s.locomoTurns(w.ID, v, n, base, field, turnIDs, known)
			if err != nil {
				return World{}, err
			}
			w.Turns = append(w.Turns, turns...)
			for _, t := range turns {
				last = maxTime(last, t.At)
			}
		}
		sortTurns(w.Turns)
		for i, q := range v.QA {
			w.addLoCoMo(i, q, known, last)
		}
		return w, nil
	})
}

func maxTime(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// addLoCoMo adds a question, or says why not.
func (w *World) addLoCoMo(i int, q locomoQuestion, known map[string]string, asked time.Time) {
	id := fmt.Sprintf("%s:q%03d", w.ID, i)
	kind := locomoType(q.Category)
	if kind == "adversarial" {
		w.Skipped = append(w.Skipped, Skip{id, "adversarial: no turn answers it"})
		return
	}
	if strings.TrimSpace(string(q.Question)) == "" {
		w.Skipped = append(w.Skipped, Skip{id, "it has no text"})
		return
	}
	var groups [][]string
	for _, place := range locomoPlaces(q.Evidence) {
		turn, ok := known[place]
		if !ok {
			w.Skipped = append(w.Skipped, Skip{id, "its evidence D" + place + " is not there"})
			return
		}
		if !slices.ContainsFunc(groups, func(g []string) bool { return g[0] == turn }) {
			groups = append(groups, []string{turn})
		}
	}
	if len(groups) == 0 {
		w.Skipped = append(w.Skipped, Skip{id, "it names no evidence"})
		return
	}
	w.Questions = append(w.Questions, Question{
		ID: id, Type: kind, Text: string(q.Question), Answer: string(q.Answer), AskedAt: asked, Evidence: groups,
	})
}

// locomoPlaces reads evidence. It is written D3:12; some of it several to a string, with a
// colon too many or with leading zeros.
func locomoPlaces(evidence []string) []string {
	form := regexp.MustCompile(`D:?(\d+):(\d+)`)
	var out []string
	for _, e := range evidence {
		for _, m := range form.FindAllStringSubmatch(e, -1) {
			out = append(out, trimZeros(m[1])+":"+trimZeros(m[2]))
		}
	}
	return out
}

func trimZeros(s string) string {
	if t := strings.TrimLeft(s, "0"); t != "" {
		return t
	}
	return "0"
}

// locomoSessions returns the numbers of the sessions in order.
func (s *source) locomoSessions(v locomoSample, base int64, field string) ([]int, error) {
	if v.Conversation == nil {
		return nil, s.malformed(base, field+".conversation", "is missing")
	}
	var out []int
	for key := range v.Conversation {
		if rest, ok := strings.CutPrefix(key, "session_"); ok {
			if n, err := strconv.Atoi(rest); err == nil && n >= 0 && strconv.Itoa(n) == rest {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// locomoTurns reads one session.
func (s *source) locomoTurns(world string, v locomoSample, n int, base int64, field string, ids unique, known map[string]string) ([]Turn, error) {
	key := fmt.Sprintf("session_%d", n)
	at := field + ".conversation." + key
	var raw []locomoTurn
	if err := json.Unmarshal(v.Conversation[key], &raw); err != nil {
		return nil, s.partError(base, at, err)
	}
	var when text
	if date, ok := v.Conversation[key+"_date_time"]; ok && string(date) != "null" {
		if err := json.Unmarshal(date, &when); err != nil {
			return nil, s.partError(base, at+"_date_time", err)
		}
	}
	start, ok := parseTime(string(when), locomoTime, "3:04 PM on 2 January, 2006", "3:04 pm on 2 January 2006")
	if !ok {
		return nil, s.malformed(base, at+"_date_time", "%q is no time such as %q", string(when), locomoTime)
	}
	var out []Turn
	for i, t := range raw {
		place := fmt.Sprintf("%d:%d", n, i+1)
		if p := locomoPlaces([]string{t.DiaID}); len(p) == 1 {
			place = p[0]
		}
		words := t.Text
		if t.Caption != "" {
			words = strings.TrimSpace(words + " [picture: " + t.Caption + "]")
		}
		id := ids.id(world + ":D" + place)
		if _, ok := known[place]; !ok {
			known[place] = id
		}
		out = append(out, Turn{
			ID: id, Session: world + ":" + key, Speaker: t.Speaker, Text: words,
			At: nth(start, i),
		})
	}
	return out, nil
}
