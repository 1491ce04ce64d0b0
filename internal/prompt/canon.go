package prompt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/caxton/caxton"
)

// A canon is a record without what may differ from one run to the next: times, durations,
// positions, and the names that a fork gives to conversations and messages.
type canon struct {
	kind caxton.RecordKind
	body map[string]any
}

// canonOf reads a record. Numbers keep the form they were written in.
func canonOf(kind caxton.RecordKind, body json.RawMessage) (canon, error) {
	c := canon{kind: kind}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&c.body); err != nil {
		return c, fmt.Errorf("the body of a record %s: %w", kind, err)
	}
	switch kind {
	case caxton.RecordModelCalled, caxton.RecordToolReturned, caxton.RecordMemoryRecalled, caxton.RecordMemoryWritten:
		delete(c.body, "ms")
	case caxton.RecordApprovalAsked:
		forget(c.body["ticket"], "opened_at", "expires_at", "conversation_id", "message_id")
	case caxton.RecordDecided:
		forget(c.body["decision"], "at")
	case caxton.RecordBudgetReserved:
		delete(c.body, "message_id")
		forgetTime(c.body["charges"])
	case caxton.RecordBudgetSettled:
		forgetTime(c.body["cost"])
	case caxton.RecordMessage, caxton.RecordLeased, caxton.RecordReleased, caxton.RecordCancelAsked, caxton.RecordToolIntended, caxton.RecordSettled,
		caxton.RecordParked, caxton.RecordReopened, caxton.RecordForked, caxton.RecordArchived:
	}
	return c, nil
}

func forget(v any, keys ...string) {
	if m, ok := v.(map[string]any); ok {
		for _, k := range keys {
			delete(m, k)
		}
	}
}

// forgetTime takes the amounts of wall time out of charges.
func forgetTime(v any) {
	list, _ := v.([]any)
	for _, e := range list {
		if m, ok := e.(map[string]any); ok && m["unit"] == string(caxton.WallTime) {
			delete(m, "amount")
		}
	}
}

// bytes prints the record, the same for the same record.
func (c canon) bytes() []byte {
	b, err := json.Marshal(c.body) // sorts the keys
	if err != nil {
		return fmt.Append(nil, err) // cannot be: it was read from JSON
	}
	return append([]byte(string(c.kind)+" "), b...)
}

// at returns a text field of the body.
func (c canon) at(key string) string {
	switch v := c.body[key].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case map[string]any: // the ticket of an approval
		id, _ := v["id"].(string)
		return id
	}
	return ""
}

// slot returns what tells a record of a turn from others of its kind.
func (c canon) slot() string {
	switch c.kind {
	case caxton.RecordModelCalled:
		return c.at("step")
	case caxton.RecordToolIntended, caxton.RecordToolReturned:
		return c.at("call_id")
	case caxton.RecordBudgetSettled:
		if c.body["lost"] == true {
			return "lost " + c.at("id")
		}
		return c.at("id")
	case caxton.RecordBudgetReserved, caxton.RecordDecided:
		return c.at("id")
	case caxton.RecordApprovalAsked:
		return c.at("ticket")
	case caxton.RecordMessage, caxton.RecordLeased, caxton.RecordReleased, caxton.RecordSettled, caxton.RecordCancelAsked, caxton.RecordParked,
		caxton.RecordReopened, caxton.RecordForked, caxton.RecordArchived, caxton.RecordMemoryRecalled, caxton.RecordMemoryWritten:
	}
	return ""
}

// noun names the record in a sentence.
func (c canon) noun() string {
	if s := c.slot(); s != "" {
		if tool := c.at("tool"); tool != "" {
			s = tool + ", " + s
		}
		return fmt.Sprintf("%s (%s)", c.kind, s)
	}
	return string(c.kind)
}

// compare returns the first field, by name, in which two canons differ, with both values.
func compare(path string, a, b any) (field, left, right string, differ bool) {
	am, aok := a.(map[string]any)
	bm, bok := b.(map[string]any)
	if aok && bok {
		keys := make([]string, 0, len(am)+len(bm))
		for k := range am {
			keys = append(keys, k)
		}
		for k := range bm {
			if _, twice := am[k]; !twice {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			if f, l, r, d := compare(strings.TrimPrefix(path+"."+k, "."), am[k], bm[k]); d {
				return f, l, r, true
			}
		}
		return "", "", "", false
	}
	al, aok := a.([]any)
	bl, bok := b.([]any)
	if aok && bok && len(al) == len(bl) {
		for i := range al {
			if f, l, r, d := compare(fmt.Sprintf("%s[%d]", path, i), al[i], bl[i]); d {
				return f, l, r, true
			}
		}
		return "", "", "", false
	}
	l, r := show(a), show(b)
	return path, l, r, l != r
}

func show(v any) string {
	if v == nil {
		return "nothing"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// short cuts a value for a sentence.
func short(s string) string {
	const most = 120
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// kinship follows message IDs of a fork back to what they were called where they were made.
type kinship []forkOf

type forkOf struct {
	from        caxton.ConversationID
	first, last int64 // the records that are copies
	split       int64 // the last copy of what came before the fork; then come results that are known from later
	origins     map[caxton.MessageID]caxton.MessageID
}

func kinshipOf(records []caxton.Record) (kinship, error) {
	var k kinship
	for _, r := range records {
		if r.Kind != caxton.RecordForked {
			continue
		}
		var b caxton.ForkedBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return nil, fmt.Errorf("record %d: %w", r.Seq, err)
		}
		k = append(k, forkOf{from: b.From, first: r.Seq + 1, last: r.Seq + b.Copied, split: r.Seq + min(b.Seq, b.Copied), origins: b.Origins})
	}
	return k, nil
}

// origin returns what a message was called when the record at seq was made.
func (k kinship) origin(id caxton.MessageID, seq int64) caxton.MessageID {
	for _, f := range k {
		if old, ok := f.origins[id]; ok && seq >= f.first && seq <= f.last {
			id = old
		}
	}
	return id
}

// conversation returns the conversation in which the record at seq was made.
func (k kinship) conversation(id caxton.ConversationID, seq int64) caxton.ConversationID {
	for _, f := range k {
		if seq >= f.first && seq <= f.last {
			id = f.from
		}
	}
	return id
}

// ends reports whether what came before a fork ends at seq.
func (k kinship) ends(seq int64) bool {
	return slices.ContainsFunc(k, func(f forkOf) bool { return f.split == seq })
}

// late reports whether the record at seq was put into a fork because the conversation that it
// was copied from knew more.
func (k kinship) late(seq int64) bool {
	return slices.ContainsFunc(k, func(f forkOf) bool { return seq > f.split && seq <= f.last })
}
