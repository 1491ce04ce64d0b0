package caxton_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caxton/caxton"
)

func TestMessageContentDepth(t *testing.T) {
	t.Parallel()
	nested := func(open, within, end string, n int) string {
		return strings.Repeat(open, n) + within + strings.Repeat(end, n)
	}
	for name, tt := range map[string]struct {
		content string
		want    caxton.Kind
	}{
		"as deep as may be":       {nested("[", "1", "]", caxton.MaxContentDepth), ""},
		"one array more":          {nested("[", "1", "]", caxton.MaxContentDepth+1), caxton.Invalid},
		"one object more":         {nested(`{"a":`, "1", "}", caxton.MaxContentDepth+1), caxton.Invalid},
		"brackets in a text":      {`"` + strings.Repeat(`[{\"`, 2000) + `"`, ""},
		"many side by side":       {"[" + strings.Repeat("[],", 2000) + "{}]", ""},
		"deep after a text":       {`["\\",` + nested("[", `"]"`, "]", caxton.MaxContentDepth) + "]", caxton.Invalid},
		"more than JSON can nest": {nested("[", "1", "]", 20_000), caxton.Invalid},
	} {
		m := caxton.Message{Receiver: "greeter", Content: json.RawMessage(tt.content)}
		if got := caxton.KindOf(m.Check()); got != tt.want {
			t.Errorf("%s: kind %q, want %q", name, got, tt.want)
		}
	}
}
