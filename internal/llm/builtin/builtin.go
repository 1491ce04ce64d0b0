// Package builtin is the answerer for a machine without a key and without a network. It is
// not a language model: it plans tools by rule and answers with passages of the agent's own
// documentation and of tool results, word for word. It owns those rules; it refuses to make
// anything up, and every answer says whose it is and how to configure a model.
//
// A URL in the message is fetched when the agent has http_client; CSV, fetched or in the
// message, is described when it has csv_parser; sums and questions for the time go to
// calculator and clock. Then the best matching passages are picked (BM25 over sentences).
// It has no state; internal/prompt calls it like any llm.Model.
package builtin

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
)

// Signature ends every answer.
const Signature = "— Caxton's built-in answerer: no language model is configured. " +
	"Set OPENAI_API_KEY or ANTHROPIC_API_KEY, run Ollama, or set llm.provider in caxton.yaml for one."

// A Model is the built-in answerer. The zero value is ready. It is safe for concurrent use.
type Model struct{}

// Info names it.
func (Model) Info() llm.Info { return llm.Info{Provider: "builtin", Model: "extractive"} }

// Generate answers req by rule. It fails only when req has no message or ctx has ended.
func (Model) Generate(ctx context.Context, req llm.Request) (llm.Response, error) {
	if err := llm.Ended(ctx, "builtin"); err != nil {
		return llm.Response{}, err
	}
	if len(req.Messages) == 0 {
		return llm.Response{}, caxton.Errorf(caxton.Invalid, "request_empty", "the request has no message")
	}
	q := newQuestion(req)
	res := llm.Response{Stop: llm.StopEnd, Provider: "builtin", Model: "extractive"}
	if res.ToolCalls = q.plan(); len(res.ToolCalls) > 0 {
		res.Stop = llm.StopTools
	} else {
		res.Text = strings.TrimSpace(q.answer()) + "\n\n" + Signature
	}
	res.Usage = llm.EstimateUsage(req, res)
	return res, nil
}

// Stream is Generate with its pieces: sentences and lines.
func (m Model) Stream(ctx context.Context, req llm.Request, emit func(llm.Delta)) (llm.Response, error) {
	res, err := m.Generate(ctx, req)
	if err == nil {
		err = llm.EmitPieces(ctx, res, pieceForm.FindAllString(res.Text, -1), emit)
	}
	if err != nil {
		return llm.Response{}, err
	}
	return res, nil
}

// A question is the message to be answered and what tools have said about it so far.
type question struct {
	req     llm.Request
	text    string
	results []llm.Message           // of this turn
	asked   map[string]llm.ToolCall // calls of this turn, by ID
}

func newQuestion(req llm.Request) *question {
	q := &question{req: req, asked: map[string]llm.ToolCall{}}
	start := 0
	for i, m := range req.Messages {
		if m.Role == llm.User && (i == 0 || req.Messages[i-1].Role != llm.ToolRole) {
			start, q.text = i, m.Text
		}
	}
	for _, m := range req.Messages[start:] {
		for _, c := range m.ToolCalls {
			q.asked[c.ID] = c
		}
		if m.Role == llm.ToolRole {
			q.results = append(q.results, m)
		}
	}
	return q
}

func (q *question) has(tool string) bool {
	return slices.ContainsFunc(q.req.Tools, func(t llm.Tool) bool { return t.Name == tool })
}

func (q *question) used(tool string) bool {
	for _, c := range q.asked {
		if c.Name == tool {
			return true
		}
	}
	return false
}

// plan returns the tool calls to make next, none when it is time to answer.
func (q *question) plan() []llm.ToolCall {
	if len(q.asked) == 0 {
		return q.firstCalls()
	}
	if !q.has("csv_parser") {
		return nil
	}
	parsed := map[string]bool{} // calls whose result was parsed already
	for _, c := range q.asked {
		var args struct{ From string }
		if c.Name == "csv_parser" && json.Unmarshal(c.Arguments, &args) == nil {
			parsed[args.From] = true
		}
	}
	var calls []llm.ToolCall
	for _, r := range q.results {
		if r.ToolName == "http_client" && !r.IsError && !parsed[r.ToolCallID] && isCSV(r) {
			calls = append(calls, call("parse_"+strconv.Itoa(len(calls)+1), "csv_parser", map[string]any{"from": r.ToolCallID}))
		}
	}
	return calls
}

func isCSV(r llm.Message) bool {
	return strings.Contains(r.MediaType, "csv") || strings.HasPrefix(r.MediaType, "text/plain") && looksLikeCSV(body(r.Text))
}

// body returns what comes after the head of http_client's text.
func body(text string) string {
	if _, b, ok := strings.Cut(text, "\n\n"); ok {
		return b
	}
	return text
}

func (q *question) firstCalls() []llm.ToolCall {
	var calls []llm.ToolCall
	if q.has("http_client") {
		for _, u := range URLs(q.text) {
			if len(calls) < 4 {
				calls = append(calls, call("fetch_"+strconv.Itoa(len(calls)+1), "http_client", map[string]any{"url": u}))
			}
		}
	}
	if len(calls) > 0 {
		return calls
	}
	if data := inlineCSV(q.text); data != "" && q.has("csv_parser") {
		return []llm.ToolCall{call("parse_1", "csv_parser", map[string]any{"data": data})}
	}
	if e := expression(q.text); e != "" && q.has("calculator") {
		return []llm.ToolCall{call("sum_1", "calculator", map[string]any{"expression": e})}
	}
	if clockWords.MatchString(q.text) && q.has("clock") {
		return []llm.ToolCall{call("clock_1", "clock", map[string]any{})}
	}
	return nil
}

func call(id, tool string, args map[string]any) llm.ToolCall {
	b, err := json.Marshal(args)
	if err != nil { // strings always print
		b = []byte("{}")
	}
	return llm.ToolCall{ID: id, Name: tool, Arguments: b}
}

var (
	fullURL    = regexp.MustCompile(`(?i)\bhttps?://[^\s<>"'` + "`" + `]+`)
	bareURL    = regexp.MustCompile(`(?i)(^|[\s("'<])((?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,24}(?::\d+)?/[^\s<>"'` + "`" + `]+)`)
	pieceForm  = regexp.MustCompile(`(?s).+?(?:[.!?]\s+|\n+|$)`)
	clockWords = regexp.MustCompile(`(?i)\bwhat(?:'s| is)? (?:the )?(?:time|date|day)\b|\bwhat time\b|\bcurrent (?:time|date)\b|\btoday'?s date\b`)
	sumForm    = regexp.MustCompile(`[-+(]*\s*\d[\d\s.,+*/()^%-]*[\d)]`)
	sumSign    = regexp.MustCompile(`\d\s*[-+*/^%]\s*[-(]*\d|\)\s*[-+*/^%]`)
)

// URLs returns the web addresses in a text, in order, each once: those with http or https,
// and bare ones with a path such as example.com/data.csv, as https.
func URLs(text string) []string {
	type found struct {
		at  int
		url string
	}
	var all []found
	for _, m := range fullURL.FindAllStringIndex(text, -1) {
		all = append(all, found{m[0], trimURL(text[m[0]:m[1]])})
	}
	for _, m := range bareURL.FindAllStringSubmatchIndex(text, -1) {
		all = append(all, found{m[4], "https://" + trimURL(text[m[4]:m[5]])})
	}
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(a.at, b.at) })
	var urls []string
	for _, f := range all {
		if !slices.Contains(urls, f.url) {
			urls = append(urls, f.url)
		}
	}
	return urls
}

// trimURL drops the punctuation of the sentence around a URL.
func trimURL(u string) string {
	for {
		t := strings.TrimRight(u, ".,;:!?'\"*_")
		if strings.HasSuffix(t, ")") && strings.Count(t, "(") < strings.Count(t, ")") {
			t = t[:len(t)-1]
		}
		if strings.HasSuffix(t, "]") && !strings.Contains(t, "[") {
			t = t[:len(t)-1]
		}
		if t == u {
			return u
		}
		u = t
	}
}

// inlineCSV returns the table inside a message: a run of two lines or more with the same
// number of the same delimiter.
func inlineCSV(text string) string {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	best := ""
	for _, d := range []string{",", ";", "\t", "|"} {
		for i := 0; i < len(lines); i++ {
			n := strings.Count(lines[i], d)
			j := i
			for j < len(lines) && n > 0 && strings.Count(lines[j], d) == n {
				j++
			}
			if j-i >= 2 {
				if table := strings.Join(lines[i:j], "\n"); len(table) > len(best) {
					best = table
				}
				i = j
			}
		}
	}
	return best
}

func looksLikeCSV(text string) bool {
	lines := strings.SplitN(text, "\n", 5)
	if len(lines) > 4 {
		lines = lines[:4]
	}
	return inlineCSV(strings.Join(lines, "\n")) != ""
}

// expression returns the arithmetic in a text, or "".
func expression(text string) string {
	e := strings.TrimSpace(sumForm.FindString(text))
	if !sumSign.MatchString(e) || strings.Count(e, "(") != strings.Count(e, ")") {
		return ""
	}
	return strings.ReplaceAll(e, ",", "")
}

// answer returns the text of the answer, without the signature.
func (q *question) answer() string {
	var parts []string
	for _, r := range q.results {
		switch {
		case r.IsError:
			parts = append(parts, "The tool "+r.ToolName+" could not do its part: "+r.Text)
		case r.ToolName == "csv_parser":
			parts = append(parts, q.table(r))
		case r.ToolName == "http_client" && q.used("csv_parser") && isCSV(r):
			// its description follows
		case r.ToolName == "http_client":
			parts = append(parts, q.page(r))
		default:
			parts = append(parts, strings.TrimSpace(r.Text))
		}
	}
	if len(parts) > 0 {
		return strings.Join(parts, "\n\n")
	}
	return q.passages()
}

// table returns the description of a table, with where it came from.
func (q *question) table(r llm.Message) string {
	source := "the data in your message"
	var args struct{ From string }
	if c, ok := q.asked[r.ToolCallID]; ok && json.Unmarshal(c.Arguments, &args) == nil && args.From != "" {
		var fetch struct{ URL string }
		if f, ok := q.asked[args.From]; ok && json.Unmarshal(f.Arguments, &fetch) == nil {
			source = fetch.URL
		}
	}
	return "Here is what " + source + " holds.\n\n" + strings.TrimSpace(r.Text)
}

// page returns the passages of a fetched page that match the question best.
func (q *question) page(r llm.Message) string {
	head, _, _ := strings.Cut(r.Text, "\n")
	best := pick(q.text, sentences(body(r.Text)), 3)
	if len(best) == 0 {
		best = sentences(body(r.Text))
		best = best[:min(3, len(best))]
	}
	return strings.TrimSpace(head) + "\n\n" + strings.Join(best, "\n\n")
}

// passages answers from the documentation: the best matches, or, when nothing matches, the
// agent's introduction.
func (q *question) passages() string {
	var all []string
	for _, d := range q.req.Documents {
		all = append(all, sentences(d.Text)...)
	}
	if len(all) == 0 {
		name := cmp.Or(q.req.AgentName, "This agent")
		return name + " has no documentation that could be quoted, and no tool fits this message."
	}
	if best := pick(q.text, all, 3); len(best) > 0 {
		return strings.Join(best, " ")
	}
	return strings.Join(all[:min(3, len(all))], " ")
}

// sentences splits Markdown text into passages: list items, table rows, and sentences of
// paragraphs. Headings and fences are left out.
func sentences(text string) []string {
	var out []string
	fenced := false
	var para strings.Builder
	flush := func() {
		out = append(out, split(para.String())...)
		para.Reset()
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			flush()
			fenced = !fenced
		case fenced:
		case line == "", strings.HasPrefix(line, "#"), strings.Trim(line, "-=*_ |:") == "":
			flush()
		case strings.HasPrefix(line, "- "), strings.HasPrefix(line, "* "), strings.HasPrefix(line, "|"):
			flush()
			out = append(out, strings.TrimSpace(strings.Trim(line, "-*| ")))
		default:
			para.WriteString(line)
			para.WriteByte(' ')
		}
	}
	flush()
	return out
}

// split cuts a paragraph into sentences.
func split(p string) []string {
	var out []string
	rs := []rune(strings.TrimSpace(p))
	start := 0
	for i, r := range rs {
		if (r == '.' || r == '!' || r == '?') && (i+1 == len(rs) || unicode.IsSpace(rs[i+1])) {
			if s := strings.TrimSpace(string(rs[start : i+1])); s != "" {
				out = append(out, s)
			}
			start = i + 1
		}
	}
	if s := strings.TrimSpace(string(rs[start:])); s != "" {
		out = append(out, s)
	}
	return out
}

// pick returns the n passages that match the query best, in the order of the text. The
// score is BM25 with k1 = 1.2 and b = 0.75 (Robertson and Zaragoza, 2009, section 3.3).
func pick(query string, passages []string, n int) []string {
	const k1, b = 1.2, 0.75
	want := terms(query)
	docs := make([][]string, len(passages))
	df := map[string]int{}
	total := 0
	for i, p := range passages {
		docs[i] = terms(p)
		total += len(docs[i])
		for _, t := range slices.Compact(slices.Sorted(slices.Values(docs[i]))) {
			df[t]++
		}
	}
	if total == 0 || len(want) == 0 {
		return nil
	}
	mean := float64(total) / float64(len(passages))
	type scored struct {
		at    int
		score float64
	}
	var best []scored
	for i, d := range docs {
		score := 0.0
		for _, t := range slices.Compact(slices.Sorted(slices.Values(want))) {
			tf := 0.0
			for _, w := range d {
				if w == t {
					tf++
				}
			}
			idf := math.Log(1 + (float64(len(docs))-float64(df[t])+0.5)/(float64(df[t])+0.5))
			score += idf * tf * (k1 + 1) / (tf + k1*(1-b+b*float64(len(d))/mean))
		}
		if score > 0 {
			best = append(best, scored{i, score})
		}
	}
	slices.SortStableFunc(best, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
	best = best[:min(n, len(best))]
	slices.SortFunc(best, func(a, b scored) int { return cmp.Compare(a.at, b.at) })
	out := make([]string, len(best))
	for i, s := range best {
		out[i] = passages[s.at]
	}
	return out
}

// terms returns the words that carry meaning, lower case, plural s dropped.
func terms(s string) []string {
	var out []string
	for _, w := range strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if len(w) < 3 || stopWord(w) {
			continue
		}
		if len(w) > 3 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss") {
			w = w[:len(w)-1]
		}
		out = append(out, w)
	}
	return out
}

func stopWord(w string) bool {
	switch w {
	case "the", "and", "for", "are", "was", "you", "your", "can", "with", "that", "this", "from", "have", "has", "had", "not", "but",
		"what", "who", "how", "why", "when", "where", "which", "will", "would", "could", "should", "does", "did", "please", "tell", "about", "its", "into", "than", "then", "them", "they", "some", "any", "all", "our", "out":
		return true
	}
	return false
}
