package llm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caxton/caxton"
)

// EstimateTokens returns about how many tokens a text has: a quarter of its characters,
// rounded up.
func EstimateTokens(s string) int { return (utf8.RuneCountInString(s) + 3) / 4 }

// EstimateUsage counts a request and its answer by EstimateTokens, for providers that do not
// say: instructions, messages, tool calls, and what is told of the tools.
func EstimateUsage(req Request, res Response) Usage {
	u := Usage{InputTokens: EstimateTokens(Instructions(req)), OutputTokens: EstimateTokens(res.Text) + callTokens(res.ToolCalls), Estimated: true}
	for _, m := range req.Messages {
		u.InputTokens += EstimateTokens(m.Text) + callTokens(m.ToolCalls)
	}
	for _, t := range req.Tools {
		u.InputTokens += EstimateTokens(t.Name) + EstimateTokens(t.Description) + EstimateTokens(string(t.Parameters))
	}
	return u
}

func callTokens(calls []ToolCall) int {
	n := 0
	for _, c := range calls {
		n += EstimateTokens(c.Name) + EstimateTokens(string(c.Arguments))
	}
	return n
}

// Instructions returns the system text of a request with its documents: for providers that
// take only one text.
func Instructions(req Request) string {
	var b strings.Builder
	b.WriteString(strings.TrimSpace(req.System))
	for _, d := range req.Documents {
		if b.Len() > 0 {
			b.WriteString("\n\n")
		}
		b.WriteString("<document title=\"" + d.Title + "\">\n" + strings.TrimSpace(d.Text) + "\n</document>")
	}
	return b.String()
}

// Hash returns the SHA-256 of a request, hex: the same for the same request, whatever the
// white space in its JSON parts. Arguments and schemas that are no JSON count as text. The
// error is Internal: a number that JSON cannot hold.
func Hash(req Request) (string, error) {
	req.Messages = slices.Clone(req.Messages)
	for i := range req.Messages {
		calls := slices.Clone(req.Messages[i].ToolCalls)
		for j := range calls {
			calls[j].Arguments = printable(calls[j].Arguments)
		}
		req.Messages[i].ToolCalls = calls
	}
	req.Tools = slices.Clone(req.Tools)
	for i := range req.Tools {
		req.Tools[i].Parameters = printable(req.Tools[i].Parameters)
	}
	b, err := json.Marshal(req)
	if err != nil {
		return "", caxton.Errorf(caxton.Internal, "request_unprintable", "the model's request cannot be written").WithCause(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// printable returns raw where it is JSON, nothing for nothing, and else a JSON string of it.
func printable(raw json.RawMessage) json.RawMessage {
	switch {
	case len(raw) == 0:
		return nil
	case json.Valid(raw):
		return raw
	}
	return caxton.TextContent(string(raw))
}
