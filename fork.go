package caxton

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// A Fork says how a conversation is to be copied.
type Fork struct {
	ID      ConversationID // of the new conversation
	At      int64          // the last record that is copied; 0 for all of them
	Version int            // of the agent, for the last message to one and those after it; 0 for the same
	By      string
	Reason  string
}

// Copy returns the log of a new conversation that begins as the one with these records, which
// are all that there are. Messages get IDs of their own. A message that is open at the fork
// goes on in the copy from there, with what was recorded. A call that had begun there and
// came back later is copied with its result: it is not made again. Errors: Invalid (a
// position that is not there or inside of a step), Conflict (nobody knows what became of a
// call that had begun).
func (f Fork) Copy(records []Record, now time.Time) ([]Record, error) {
	at, err := f.point(records)
	if err != nil {
		return nil, err
	}
	kept := slices.Clone(records[:at])
	late, err := lateResults(kept, records[at:])
	if err != nil {
		return nil, err
	}
	kept = append(kept, late...)
	body := ForkedBody{
		From: records[0].ConversationID, Seq: int64(at), By: f.By, Reason: f.Reason, Copied: int64(len(kept)), Origins: map[MessageID]MessageID{},
	}
	ids := map[MessageID]MessageID{}
	last := -1 // the newest message to an agent
	for i := range kept {
		if r := &kept[i]; r.Kind == RecordMessage {
			id := ForkedMessageID(f.ID, r.MessageID)
			ids[r.MessageID], body.Origins[id] = id, r.MessageID
			if r.AgentID != "" {
				last = i
			}
		}
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, Errorf(Internal, "record_unprintable", "the record of a fork cannot be written").WithCause(err)
	}
	out := []Record{{ConversationID: f.ID, Seq: 1, At: now, Kind: RecordForked, Body: b}}
	for i := range kept {
		r := kept[i]
		version := 0
		if i == last {
			version = f.Version
		}
		if err := f.rename(&r, ids, version); err != nil {
			return nil, err
		}
		r.Seq, r.N = int64(i)+2, 0
		out = append(out, r)
	}
	return out, nil
}

// point returns how many records are copied.
func (f Fork) point(records []Record) (int, error) {
	at := cmp.Or(f.At, int64(len(records)))
	if at < 1 || at > int64(len(records)) {
		return 0, Errorf(Invalid, "fork_point", "there is no record %d: the conversation has %d", f.At, len(records)).
			WithHint("caxton conversations show lists the records")
	}
	if records[at-1].Kind == RecordArchived {
		at--
	}
	if at < int64(len(records)) && bookedTogether(&records[at-1], &records[at]) {
		at++
	}
	if at == 1 && records[0].Kind == RecordForked {
		return 0, Errorf(Invalid, "fork_point", "record 1 only says that the conversation is a fork itself").WithHint("fork at a later record")
	}
	place := map[MessageID]int64{}
	for i := range records[:at] {
		if records[i].Kind == RecordMessage {
			place[records[i].MessageID] = int64(i) + 1
		}
	}
	for i := range records[at:] {
		r := &records[at:][i]
		if r.Kind != RecordSettled {
			continue
		}
		var b SettledBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return 0, errRecord(r, err)
		}
		for _, out := range b.Outputs {
			if p, before := place[out]; before {
				return 0, Errorf(Invalid, "fork_inside_step", "record %d is inside of a step that ends with record %d", at, r.Seq).
					WithHint("fork at %d, before the answer, or at %d, after it", p-1, r.Seq)
			}
		}
	}
	return int(at), nil
}

// bookedTogether reports whether a is the booking of what b tells: they were written in one.
func bookedTogether(a, b *Record) bool {
	return a.Kind == RecordBudgetSettled && (b.Kind == RecordModelCalled || b.Kind == RecordToolReturned) && a.MessageID == b.MessageID
}

// lateResults returns the results, among the later records, of calls that had begun in the
// kept ones for messages that are open there.
func lateResults(kept, later []Record) ([]Record, error) {
	open, err := Unsettled(kept)
	if err != nil {
		return nil, err
	}
	waits := map[MessageID]bool{}
	for i := range open {
		waits[open[i].Message.ID] = true
	}
	type call struct {
		msg MessageID
		id  string
	}
	var begun []call
	intents := map[call]ToolIntendedBody{}
	settled := map[string]bool{} // by key: what people said about effects
	for i := range kept {
		r := &kept[i]
		if !waits[r.MessageID] {
			continue
		}
		switch r.Kind {
		case RecordToolIntended:
			var b ToolIntendedBody
			if err := json.Unmarshal(r.Body, &b); err != nil {
				return nil, errRecord(r, err)
			}
			c := call{r.MessageID, b.CallID}
			begun, intents[c], settled[b.Key] = append(begun, c), b, false
		case RecordToolReturned:
			var b ToolReturnedBody
			if err := json.Unmarshal(r.Body, &b); err != nil {
				return nil, errRecord(r, err)
			}
			delete(intents, call{r.MessageID, b.CallID})
		case RecordDecided:
			var b DecidedBody
			if err := json.Unmarshal(r.Body, &b); err != nil {
				return nil, errRecord(r, err)
			}
			if b.Kind == Effect && b.Call != nil {
				settled[b.Call.Key] = true
			}
		case RecordMessage, RecordLeased, RecordReleased, RecordModelCalled, RecordSettled, RecordCancelAsked, RecordParked, RecordReopened,
			RecordApprovalAsked, RecordBudgetReserved, RecordBudgetSettled, RecordForked, RecordArchived,
			RecordMemoryRecalled, RecordMemoryWritten:
		}
	}
	var late []Record
	for i := range later {
		r := &later[i]
		if r.Kind != RecordToolReturned {
			continue
		}
		var b ToolReturnedBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return nil, errRecord(r, err)
		}
		c := call{r.MessageID, b.CallID}
		if _, wanted := intents[c]; wanted {
			delete(intents, c)
			late = append(late, *r)
		}
	}
	for _, c := range begun {
		if b, still := intents[c]; still && !b.Idempotent && !settled[b.Key] {
			return nil, Errorf(Conflict, "fork_call_open", "the call %s of %s had begun there, and nobody knows what became of it", b.CallID, b.Tool).
				WithHint("fork at a record before the call, or when it has come back")
		}
	}
	return late, nil
}

// rename makes a record one of the fork.
func (f Fork) rename(r *Record, ids map[MessageID]MessageID, version int) error {
	r.ConversationID = f.ID
	if id, ok := ids[r.MessageID]; ok {
		r.MessageID = id
	}
	var err error
	switch r.Kind {
	case RecordMessage:
		var b MessageBody
		if err = json.Unmarshal(r.Body, &b); err != nil {
			return errRecord(r, err)
		}
		b.Message.ID, b.Message.ConversationID = r.MessageID, f.ID
		if id, ok := ids[MessageID(b.Message.InReplyTo)]; ok {
			b.Message.InReplyTo = string(id)
		}
		b.Version = cmp.Or(version, b.Version)
		r.Body, err = json.Marshal(b)
	case RecordSettled:
		var b SettledBody
		if err = json.Unmarshal(r.Body, &b); err != nil {
			return errRecord(r, err)
		}
		for i, id := range b.Outputs {
			if mapped, ok := ids[id]; ok {
				b.Outputs[i] = mapped
			}
		}
		b.Tickets = nil // they stay with the conversation they opened in
		r.Body, err = json.Marshal(b)
	case RecordLeased, RecordReleased, RecordModelCalled, RecordToolIntended, RecordToolReturned, RecordCancelAsked, RecordParked, RecordReopened,
		RecordApprovalAsked, RecordDecided, RecordBudgetReserved, RecordBudgetSettled, RecordForked, RecordArchived,
		RecordMemoryRecalled, RecordMemoryWritten:
	}
	if err != nil {
		return Errorf(Internal, "record_unprintable", "a record of the fork cannot be written").WithCause(err)
	}
	return nil
}
