package caxton_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caxton/caxton"
)

// sameJSON holds what AppendJSON makes to what encoding/json makes.
func sameJSON(t *testing.T, v interface {
	AppendJSON(dst []byte) ([]byte, error)
},
) {
	t.Helper()
	want, werr := json.Marshal(v)
	got, gerr := v.AppendJSON([]byte("before"))
	if (gerr != nil) != (werr != nil) {
		t.Fatalf("AppendJSON: error %v, want %v", gerr, werr)
	}
	if werr == nil && string(got) != "before"+string(want) {
		t.Fatalf("AppendJSON:\n%s\nwant\n%s", got[len("before"):], want)
	}
}

// FuzzAppendJSON has texts and contents of all kinds printed.
func FuzzAppendJSON(f *testing.F) {
	for _, content := range []string{
		`"hi"`, `"a \"quoted\" word\n"`, `"<b>&amp;"`, `"\u00e9é"`, "\"\u2028\"", `{"a": [1, 2]}`, ` "spaced" `, `"open`, `"\"`, `"\\"`, `"a\`, `""`, `"`, ``, `null`,
		"\"tab\there\"", `"\x"`, "\"\x7f\"", "\"\xff\"", `"a"b"`, `"\u12"`,
	} {
		f.Add([]byte(content), "some text", int64(1), 2)
	}
	f.Add([]byte(`1`), "<é\n\xff\u2028\"\\", int64(1<<60), -3)
	f.Fuzz(func(t *testing.T, content []byte, s string, at int64, n int) {
		when := time.Unix(0, at).UTC()
		sameJSON(t, &caxton.MessageBody{
			Message: caxton.LoggedMessage{ID: caxton.MessageID(s), Sender: s, Content: content, InReplyTo: s, CreatedAt: when, ReplyBy: when, Priority: n},
			Version: n,
		})
		sameJSON(t, &caxton.SettledBody{Error: s, Outputs: []caxton.MessageID{caxton.MessageID(s), "m"}, LeasedAt: when, Attempt: n})
		m := caxton.Message{Receiver: "a", Content: content}
		if err, want := m.Check(), utf8.Valid(content) && json.Valid(content); (err == nil) != want {
			t.Errorf("Check of content %q: %v, want valid %t", content, err, want)
		}
	})
}

// Every field is printed, those of later versions too: each body is filled at random, all
// its fields, some of them, or none.
func TestAppendJSONOfEveryField(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		share := rnd.Float64() * 1.2
		m, s := &caxton.MessageBody{}, &caxton.SettledBody{}
		fill(rnd, share, reflect.ValueOf(m).Elem())
		fill(rnd, share, reflect.ValueOf(s).Elem())
		sameJSON(t, m)
		sameJSON(t, s)
	}
	sameJSON(t, &caxton.MessageBody{Message: caxton.LoggedMessage{CreatedAt: time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC), Content: json.RawMessage("1")}})
	sameJSON(t, &caxton.MessageBody{Routing: caxton.Routing{Candidates: []caxton.Candidate{}}, Message: caxton.LoggedMessage{Content: json.RawMessage("1")}})
}

// fill gives about a share of the fields of v values of their own.
func fill(rnd *rand.Rand, share float64, v reflect.Value) {
	if v.Kind() != reflect.Struct && rnd.Float64() > share {
		return
	}
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		if rnd.Float64() < share {
			*x = time.Unix(rnd.Int64N(1<<33), rnd.Int64N(1e9)).In(time.FixedZone("", int(rnd.Int64N(24)-12)*1800))
		}
		return
	case *caxton.Capability:
		if rnd.Float64() < share {
			*x, _ = caxton.ParseCapability("system:data-analysis.x")
		}
		return
	case *[]byte:
		*x = []byte("bytes")
		return
	case *json.RawMessage:
		*x = json.RawMessage([]string{`"text"`, `{"a": "<b>"}`, `[1,2]`, `"\n"`}[rnd.IntN(4)])
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range v.Fields() {
			fill(rnd, share, f)
		}
	case reflect.String:
		v.SetString([]string{"text", "é", "<a&b>", "a\nb"}[rnd.IntN(4)])
	case reflect.Int, reflect.Int64:
		v.SetInt(rnd.Int64N(100) - 10)
	case reflect.Float64:
		v.SetFloat(rnd.Float64())
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rnd.IntN(3), 3))
		for i := range v.Len() {
			fill(rnd, share, v.Index(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(rnd, share, v.Elem())
	default:
		panic("a field of kind " + v.Kind().String())
	}
}

// BenchmarkMessageBody prints the body of a message of 256 bytes by hand and by encoding/json.
func BenchmarkMessageBody(b *testing.B) {
	body := &caxton.MessageBody{
		Message: caxton.LoggedMessage{
			ID: "0192f3a0-0000-7000-8000-000000000001", ConversationID: "0192f3a0-0000-7000-8000-000000000002", Performative: caxton.Request,
			Sender: "user", Receiver: "echo", ReceiverID: "0192f3a0-0000-7000-8000-000000000003",
			Content: caxton.TextContent(fmt.Sprintf("%0254d", 0)), Priority: 5, CreatedAt: time.Now().UTC(),
		},
		Routing: caxton.Routing{Strategy: caxton.DirectAddress}, Version: 1,
	}
	b.Run("by=hand", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := body.AppendJSON(make([]byte, 0, 1024)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("by=encoding", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(body); err != nil {
				b.Fatal(err)
			}
		}
	})
}
