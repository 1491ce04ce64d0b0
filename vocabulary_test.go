package caxton_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"pgregory.net/rapid"
)

func TestParseCapability(t *testing.T) {
	tests := []struct {
		name, in string
		want     caxton.Kind // "" for no error
	}{
		{"two words", "data-analysis", ""},
		{"dotted", "data-analysis.visual", ""},
		{"the server's own", "system:registry", ""},
		{"100 bytes", strings.Repeat("a", 100), ""},
		{"101 bytes", strings.Repeat("a", 101), caxton.Invalid},
		{"empty", "", caxton.Invalid},
		{"hyphen last", "data-", caxton.Invalid},
		{"upper case", "Data", caxton.Invalid},
		{"underscore", "data_analysis", caxton.Invalid},
		{"digit first", "3d", caxton.Invalid},
		{"other prefix", "user:x", caxton.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := caxton.ParseCapability(tt.in)
			if kind := caxton.KindOf(err); kind != tt.want {
				t.Fatalf("ParseCapability(%q): kind %q (%v), want %q", tt.in, kind, err, tt.want)
			}
			if err == nil && got.String() != tt.in {
				t.Errorf("ParseCapability(%q) = %q, want %q", tt.in, got, tt.in)
			}
		})
	}
}

func TestSlug(t *testing.T) {
	for in, want := range map[string]string{
		"DataAnalyzer": "data-analyzer", "data-analyzer": "data-analyzer", "Greeter": "greeter",
		"HTTPServer v2": "http-server-v2", "My First_Agent!": "my-first-agent", "Ångström": "ångström",
		"aB": "a-b", "ABC": "abc", "ABc": "a-bc", "  x  ": "x", "--": "", "": "", "agent007": "agent007", "Aℂ": "aℂ",
	} {
		if got := caxton.Slug(in); got != want {
			t.Errorf("Slug(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSlugIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := caxton.Slug(rapid.String().Draw(t, "name"))
		if again := caxton.Slug(s); again != s && strings.ToLower(s) == s {
			t.Fatalf("Slug(%q) = %q, want it unchanged", s, again)
		}
	})
}

func TestParsePerformative(t *testing.T) {
	for in, want := range map[string]caxton.Performative{
		"": caxton.Request, "REQUEST": caxton.Request, "Accept_Proposal": caxton.AcceptProposal, "query-IF": caxton.QueryIf, "cfp": caxton.CFP,
	} {
		if got, err := caxton.ParsePerformative(in); got != want || err != nil {
			t.Errorf("ParsePerformative(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	if _, err := caxton.ParsePerformative("shout"); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("ParsePerformative(shout): %v, want an invalid error", err)
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]caxton.Size{
		"0": 0, "512": 512, "10MB": 10 << 20, "10 mib": 10 << 20, "1.5GB": 3 << 29, "100k": 100 << 10, "2TiB": 2 << 40, "7B": 7,
	} {
		if got, err := caxton.ParseSize(in); got != want || err != nil {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "MB", "-1", "1XB", "1e3", "0x10", "1..2MB", "99999999TB", "NaN", "Inf", "1_000", "10MBs"} {
		if got, err := caxton.ParseSize(in); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("ParseSize(%q) = %d, %v, want an invalid error", in, got, err)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"0": 0, "30s": 30 * time.Second, "1h30m": 90 * time.Minute, "30d": 720 * time.Hour, "2w": 336 * time.Hour, "1.5d": 36 * time.Hour,
		"1d12h": 36 * time.Hour, "100ms": 100 * time.Millisecond, "1y": 8760 * time.Hour,
	} {
		if got, err := caxton.ParseDuration(in); got != want || err != nil {
			t.Errorf("ParseDuration(%q) = %s, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "5", "-5s", "s", "5 s", "1h 5m", "999999y", "soon", "+1s", "1.2.3s", "300000y300000y"} {
		if got, err := caxton.ParseDuration(in); caxton.KindOf(err) != caxton.Invalid {
			t.Errorf("ParseDuration(%q) = %s, %v, want an invalid error", in, got, err)
		}
	}
}

func TestSizeRough(t *testing.T) {
	for in, want := range map[caxton.Size]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 3_357_595: "3.2 MiB", 512 * caxton.MiB: "512.0 MiB", 3 * caxton.TiB / 2: "1.5 TiB", 5000 * caxton.TiB: "5000.0 TiB",
	} {
		if got := in.Rough(); got != want {
			t.Errorf("Size(%d).Rough() = %q, want %q", int64(in), got, want)
		}
	}
}

func TestSizeAndDurationPrintWhatTheyParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := caxton.Size(rapid.Int64Range(0, 1<<50).Draw(t, "size"))
		if got, err := caxton.ParseSize(s.String()); got != s || err != nil {
			t.Fatalf("ParseSize(%q) = %d, %v, want %d", s, got, err, s)
		}
		d := rapid.Int64Range(0, 1<<55).Draw(t, "duration")
		if got, err := caxton.ParseDuration(caxton.Duration(d).String()); int64(got) != d || err != nil {
			t.Fatalf("ParseDuration(%q) = %d, %v, want %d", caxton.Duration(d), got, err, d)
		}
	})
}

func TestKindOf(t *testing.T) {
	base := caxton.Errorf(caxton.NotFound, "x", "no x").WithHint("look").WithCause(errors.New("disk"))
	for name, tt := range map[string]struct {
		err  error
		want caxton.Kind
	}{
		"nothing": {nil, ""}, "ours": {base, caxton.NotFound}, "wrapped": {fmt.Errorf("load: %w", base), caxton.NotFound}, "another": {errors.New("x"), caxton.Internal},
	} {
		if got := caxton.KindOf(tt.err); got != tt.want {
			t.Errorf("%s: KindOf = %q, want %q", name, got, tt.want)
		}
	}
	if got := base.Error(); got != "no x: disk" {
		t.Errorf("Error() = %q", got)
	}
}

func TestIssueString(t *testing.T) {
	i := caxton.Issue{Path: "a.md", Line: 3, Column: 1, Message: `unknown key "nmae"`, Hint: "did you mean name?"}
	if got, want := i.String(), `a.md:3:1: unknown key "nmae" (did you mean name?)`; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	if got, want := (caxton.Issue{Message: "x", Warning: true}).String(), "warning: x"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

func TestMessageText(t *testing.T) {
	for content, want := range map[string]string{
		`"hi"`: "hi", `{"message":"hi"}`: "hi", `{"text":"hi"}`: "hi", `{"message":"hi","n":1}`: `{"message":"hi","n":1}`, `{"message":5}`: `{"message":5}`, `[1,2]`: "[1,2]",
	} {
		if got := (&caxton.Message{Content: []byte(content)}).Text(); got != want {
			t.Errorf("Text of %s = %q, want %q", content, got, want)
		}
	}
}

func TestTextContentRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "text")
		if got := (&caxton.Message{Content: caxton.TextContent(s)}).Text(); got != s {
			t.Fatalf("Text(TextContent(%q)) = %q", s, got)
		}
	})
}

func TestDerivedIDs(t *testing.T) {
	a, b := caxton.DeriveMessageID("m", 0), caxton.DeriveMessageID("m", 1)
	if a == b || a != caxton.DeriveMessageID("m", 0) || a == caxton.KeyedMessageID("m") {
		t.Errorf("DeriveMessageID: %s and %s", a, b)
	}
	if len(a) != 36 || a[14] != '5' || !strings.ContainsRune("89ab", rune(a[19])) {
		t.Errorf("%s is no version 5 UUID", a)
	}
	// They are in the logs of conversations: they may never change.
	for got, want := range map[caxton.MessageID]caxton.MessageID{
		a: "831a6e09-3025-5230-94ee-e0a20e6e840b",
		caxton.DeriveMessageID("0192f3a0-0000-7000-8000-000000000001", 3): "0192f3a0-0000-88fb-9b4b-3e4b16dd5a9f",
		caxton.DeriveMessageIDFor("m", "a"):                               "afed8f4b-bf6b-5331-937b-2754d98d0f6a",
		caxton.KeyedMessageID("key"):                                      "0db4075a-1388-5f2b-a760-40c194ec2f6e",
	} {
		if got != want {
			t.Errorf("derived ID %s, want %s", got, want)
		}
	}
}

func TestDerivedIDKeepsTheTime(t *testing.T) {
	in := caxton.MessageID("0199c1f2-3b4d-7abc-8def-0123456789ab")
	out := caxton.DeriveMessageID(in, 0)
	again := caxton.DeriveMessageID(out, 0)
	if !in.TimeOrdered() || !out.TimeOrdered() || out[:14] != in[:14] || again[:14] != in[:14] || out == again || out == caxton.DeriveMessageID(in, 1) {
		t.Errorf("derived %s and %s from %s", out, again, in)
	}
	for _, id := range []caxton.MessageID{"", "m1", "0199c1f2-3b4d-4abc-8def-0123456789ab", "0199c1f2-3b4d-7abc-8def-0123456789aX", "0199c1f213b4d-7abc-8def-0123456789ab"} {
		if id.TimeOrdered() {
			t.Errorf("%q counts as ordered by time", id)
		}
	}
}

func TestReply(t *testing.T) {
	m := caxton.Message{ID: "m1", ConversationID: "c", Sender: "user", ReceiverID: "a1", ReplyWith: "r7"}
	r := m.Reply(caxton.Inform, caxton.TextContent("x"))
	if r.Receiver != "user" || r.SenderID != "a1" || r.InReplyTo != "r7" || r.ConversationID != "c" {
		t.Errorf("Reply = %+v", r)
	}
	m.ReplyWith = ""
	if r := m.Reply(caxton.Inform, nil); r.InReplyTo != "m1" {
		t.Errorf("InReplyTo = %q, want the message's ID", r.InReplyTo)
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"1h", "30d", "1.5w", "x", "9223372036854775807ns"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := caxton.ParseDuration(s)
		if err == nil && d < 0 {
			t.Fatalf("ParseDuration(%q) = %s", s, d)
		}
	})
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"1MB", "1.5gib", "x", "9223372036854775807"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := caxton.ParseSize(s)
		if err == nil && n < 0 {
			t.Fatalf("ParseSize(%q) = %d", s, n)
		}
	})
}
