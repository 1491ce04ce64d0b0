package llm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/caxton/caxton"
)

// EstimateTokens returns about how many tokens a text has: a quarter of its characters.
func EstimateTokens(s string) int { return (len([]rune(s)) + 3) / 4 }

// EstimateUsage counts a request and its answer by EstimateTokens, for providers that do
// not say.
func EstimateUsage(req Request, text string) Usage {
	n := EstimateTokens(Instructions(req))
	for _, m := range req.Messages {
		n += EstimateTokens(m.Text)
	}
	return Usage{InputTokens: n, OutputTokens: EstimateTokens(text), Estimated: true}
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

// Hash returns the SHA-256 of a request, hex: the same for the same request.
func Hash(req Request) (string, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return "", caxton.Errorf(caxton.Internal, "request_unprintable", "the model's request cannot be written").WithCause(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
