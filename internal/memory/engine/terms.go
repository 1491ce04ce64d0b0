package engine

import (
	"math"
	"strings"
	"unicode"
)

// maxTermText is how much of a passage is looked at for the words of a query.
const maxTermText = 16 << 10

// terms returns the distinct words of a text as a search sees them: small letters and digits,
// without the endings of English plurals and verb forms. Function words are left out, unless
// there is nothing else.
func terms(text string) []string {
	var all, content []string
	seen := map[string]bool{}
	for _, w := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		s := stem(w)
		if seen[s] {
			continue
		}
		seen[s] = true
		all = append(all, s)
		if !functionWord(w) {
			content = append(content, s)
		}
	}
	if len(content) == 0 {
		return all
	}
	return content
}

func stem(w string) string {
	for _, end := range [...]string{"ings", "ing", "ies", "ied", "es", "ed", "s", "e"} {
		if s, ok := strings.CutSuffix(w, end); ok && len(s) >= 3 {
			if end == "ies" || end == "ied" {
				return s + "y"
			}
			if n := len(s); n >= 4 && (end == "ing" || end == "ed" || end == "ings") && s[n-1] == s[n-2] && s[n-1] != 'l' && s[n-1] != 's' {
				return s[:n-1]
			}
			return s
		}
	}
	return w
}

// functionWord reports whether w says nothing about the subject of a question.
func functionWord(w string) bool {
	switch w {
	case "a", "an", "the", "and", "or", "but", "of", "to", "in", "on", "at", "by", "for", "from", "with", "about", "as",
		"is", "are", "was", "were", "be", "been", "am", "do", "does", "did", "has", "have", "had", "will", "would", "can", "could", "should",
		"what", "which", "who", "whom", "whose", "when", "where", "why", "how", "that", "this", "these", "those", "there", "it", "its",
		"i", "me", "my", "we", "us", "our", "you", "your", "he", "him", "his", "she", "her", "they", "them", "their", "s", "t",
		"not", "no", "any", "some", "if", "then", "than", "so", "just", "now", "currently":
		return true
	}
	return false
}

// covered returns for each text how much of the query's words it has, 0 to 1. A word that
// fewer of the texts have counts more, and one that none has as much as the rarest.
func covered(query string, texts []string) []float64 {
	q := terms(query)
	shares := make([]float64, len(texts))
	if len(q) == 0 || len(texts) == 0 {
		return shares
	}
	at := make(map[string]int, len(q))
	for i, t := range q {
		at[t] = i
	}
	has := make([][]bool, len(texts))
	frequency := make([]int, len(q))
	for i, text := range texts {
		has[i] = make([]bool, len(q))
		if len(text) > maxTermText {
			text = text[:maxTermText]
		}
		for _, w := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			if j, ok := at[stem(w)]; ok && !has[i][j] {
				has[i][j] = true
				frequency[j]++
			}
		}
	}
	weights, total := make([]float64, len(q)), 0.0
	for j, n := range frequency {
		weights[j] = math.Log1p(float64(len(texts)+1) / float64(max(n, 1)))
		total += weights[j]
	}
	for i := range texts {
		for j, yes := range has[i] {
			if yes {
				shares[i] += weights[j] / total
			}
		}
		shares[i] = min(shares[i], 1)
	}
	return shares
}

// mentions reports whether text, in small letters, has name as whole words.
func mentions(text, name string) bool {
	name = strings.ToLower(name)
	if len(name) < 2 {
		return false
	}
	for from := 0; ; {
		i := strings.Index(text[from:], name)
		if i < 0 {
			return false
		}
		i += from
		end := i + len(name)
		if !wordAt(text[:i], true) && !wordAt(text[end:], false) {
			return true
		}
		from = i + 1
	}
}

// wordAt reports whether s ends, or begins, with a letter or digit.
func wordAt(s string, end bool) bool {
	var r rune
	if end {
		for _, r = range s[max(0, len(s)-4):] { //nolint:revive // the last rune is wanted
		}
	} else {
		for _, r = range s {
			break
		}
	}
	return unicode.IsLetter(r) || unicode.IsDigit(r)
}
