package caxton_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
)

// TestCheckLog gives it what a file from elsewhere may have, and what no reader here could
// make anything of later.
func TestCheckLog(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	message := caxton.Record{
		ConversationID: "c1", At: now, Kind: caxton.RecordMessage, MessageID: "m1",
		Body: json.RawMessage(`{"message":{"message_id":"m1","conversation_id":"c1","performative":"inform","content":"hi","created_at":"2026-05-01T12:00:00Z"}}`),
	}
	for name, tt := range map[string]struct {
		second caxton.Record
		want   caxton.Kind
	}{
		"nothing wrong":                 {caxton.Record{Kind: caxton.RecordToolIntended, At: now, Body: json.RawMessage(`{"tool":"t","call_id":"1"}`)}, ""},
		"a kind that is none":           {caxton.Record{Kind: "end\ndata: x", At: now, Body: json.RawMessage(`{}`)}, caxton.Invalid},
		"a call that is no object":      {caxton.Record{Kind: caxton.RecordToolIntended, At: now, Body: json.RawMessage(`"x"`)}, caxton.Malformed},
		"a result with a number as ID":  {caxton.Record{Kind: caxton.RecordToolReturned, At: now, Body: json.RawMessage(`{"call_id":1}`)}, caxton.Malformed},
		"a decision that is a list":     {caxton.Record{Kind: caxton.RecordDecided, At: now, Body: json.RawMessage(`[]`)}, caxton.Malformed},
		"a settlement without a number": {caxton.Record{Kind: caxton.RecordSettled, At: now, Body: json.RawMessage(`{"attempt":"x"}`)}, caxton.Malformed},
		"no time":                       {caxton.Record{Kind: caxton.RecordLeased, Body: json.RawMessage(`{}`)}, caxton.Invalid},
		"a time that cannot be printed": {caxton.Record{Kind: caxton.RecordLeased, At: time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600)), Body: json.RawMessage(`{}`)}, caxton.Invalid},
	} {
		r := tt.second
		r.ConversationID, r.MessageID = "c1", "m1"
		err := caxton.CheckLog([]caxton.Record{message, r})
		if (err == nil) != (tt.want == "") || err != nil && caxton.KindOf(err) != tt.want {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestCheckLogSize gives it more than is stored in one step.
func TestCheckLogSize(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	message := caxton.Record{
		ConversationID: "c1", At: now, Kind: caxton.RecordMessage, MessageID: "m1",
		Body: json.RawMessage(`{"message":{"message_id":"m1","conversation_id":"c1","performative":"inform","content":"hi","created_at":"2026-05-01T12:00:00Z"}}`),
	}
	leased := caxton.Record{ConversationID: "c1", At: now, Kind: caxton.RecordLeased, MessageID: "m1", Body: json.RawMessage(`{}`)}
	large := leased
	large.Body = json.RawMessage(`{"x":"` + strings.Repeat("x", caxton.MaxLogBytes/2) + `"}`)
	for name, tt := range map[string]struct {
		more []caxton.Record
		want caxton.Kind
	}{
		"as many records as may be": {slices.Repeat([]caxton.Record{leased}, caxton.MaxLogRecords-1), ""},
		"one record more":           {slices.Repeat([]caxton.Record{leased}, caxton.MaxLogRecords), caxton.TooLarge},
		"one large record":          {[]caxton.Record{large}, ""},
		"two large records":         {[]caxton.Record{large, large}, caxton.TooLarge},
	} {
		if got := caxton.KindOf(caxton.CheckLog(append([]caxton.Record{message}, tt.more...))); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
