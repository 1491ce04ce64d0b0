package scenario

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"strings"

	"github.com/caxton/caxton"
)

// decode returns a JSON value with its numbers as they are written; what is no JSON is a
// text.
func decode(b []byte) any {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return string(b)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) { // something follows
		return string(b)
	}
	return v
}

// plain returns v as decode gives it.
func plain(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // a test file holds only what JSON can say
	}
	return decode(b)
}

// within reports whether got has all that want has: an object may have more keys, at any
// depth; everything else is equal.
func within(want, got any) bool { return compare(want, got, true) }

// equal reports whether two values of decode are the same; 1 and 1.0 are.
func equal(a, b any) bool { return compare(a, b, false) }

func compare(want, got any, subset bool) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || !subset && len(g) != len(w) {
			return false
		}
		for k, v := range w {
			have, ok := g[k]
			if !ok || !compare(v, have, subset) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range w {
			if !compare(w[i], g[i], subset) {
				return false
			}
		}
		return true
	case json.Number:
		g, ok := got.(json.Number)
		return ok && sameNumber(w, g)
	}
	return want == got
}

func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	if len(a) > 100 || len(b) > 100 { // a short text may stand for a number too long to hold
		return false
	}
	x, _, errA := big.ParseFloat(string(a), 10, 256, big.ToNearestEven)
	y, _, errB := big.ParseFloat(string(b), 10, 256, big.ToNearestEven)
	return errA == nil && errB == nil && x.Cmp(y) == 0
}

// document returns the content of a reply as JSON: a text that holds JSON, bare or in a
// fenced block, is that JSON.
func document(content json.RawMessage) any {
	v := decode(content)
	s, ok := v.(string)
	if !ok {
		return v
	}
	t := strings.TrimSpace(s)
	if rest, fenced := strings.CutPrefix(t, "```"); fenced {
		if _, body, ok := strings.Cut(rest, "\n"); ok {
			t = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(body), "```"))
		}
	}
	if t == "" {
		return s
	}
	inner := decode([]byte(t))
	if _, text := inner.(string); text && t[0] != '"' {
		return s
	}
	return inner
}

// printed returns v as a reader wants it: a text as it is, anything else as JSON.
func printed(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

// clip shortens a text for a report.
func clip(s string) string {
	const most = 1000
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func asError(err error) (*caxton.Error, bool) { return errors.AsType[*caxton.Error](err) }
