package memjournal

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/caxton/caxton"
)

// Import begins a conversation with the records given. See sqlite.DB.Import.
func (j *Journal) Import(_ context.Context, records []caxton.Record) ([]caxton.Delivery, error) {
	if err := caxton.CheckLog(records); err != nil {
		return nil, err
	}
	open, err := caxton.Unsettled(records)
	if err != nil {
		return nil, err
	}
	entries := make([]entry, len(records))
	for i := range records {
		if entries[i], err = entryOf(&records[i]); err != nil {
			return nil, err
		}
	}
	conv := records[0].ConversationID
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.convs[conv] != nil {
		return nil, caxton.Errorf(caxton.Conflict, "conversation_known", "there is a conversation %s already", conv)
	}
	for i := range entries {
		if _, known := j.messages[entries[i].msg]; known && entries[i].delivery != nil {
			return nil, caxton.Errorf(caxton.Conflict, "message_known", "there is a message %s already", entries[i].msg)
		}
	}
	if err := caxton.CheckPlace(records, func(id caxton.ConversationID) (caxton.Thread, bool, error) {
		c := j.convs[id]
		return c.thread(""), c != nil, nil
	}); err != nil {
		return nil, err
	}
	if len(j.convs) >= j.cfg.MaxConversations {
		j.evict()
	}
	j.counter++
	c := &conversation{id: conv, number: j.counter, parent: caxton.Beginning(records)}
	j.convs[conv] = c
	for _, e := range entries {
		if c.created.IsZero() || e.at.Before(c.created) && entries[0].kind != caxton.RecordForked {
			c.created = e.at
		}
		if e.delivery != nil {
			j.messages[e.msg] = place{c, len(c.log)}
		}
		j.log(c, e)
		c.closed = e.kind == caxton.RecordArchived
	}
	for i := range open {
		p := j.messages[open[i].Message.ID]
		d := p.conv.log[p.pos].delivery
		*d = open[i]
		j.pending[d.Message.ID] = d
		c.active++
	}
	return open, nil
}

// entryOf reads a record into the form it has here.
func entryOf(r *caxton.Record) (entry, error) {
	e := entry{at: r.At, kind: r.Kind, msg: r.MessageID, agent: r.AgentID}
	var err error
	switch r.Kind {
	case caxton.RecordMessage:
		var b caxton.MessageBody
		if err = json.Unmarshal(r.Body, &b); err == nil {
			d := b.Delivery()
			e.delivery = &d
		}
	case caxton.RecordSettled:
		e.settled = &caxton.SettledBody{}
		err = json.Unmarshal(r.Body, e.settled)
	case caxton.RecordCancelAsked, caxton.RecordLeased, caxton.RecordReleased, caxton.RecordModelCalled, caxton.RecordToolIntended, caxton.RecordToolReturned,
		caxton.RecordParked, caxton.RecordReopened, caxton.RecordApprovalAsked, caxton.RecordDecided, caxton.RecordBudgetReserved,
		caxton.RecordBudgetSettled, caxton.RecordForked, caxton.RecordArchived, caxton.RecordMemoryRecalled, caxton.RecordMemoryWritten:
		e.body = slices.Clone(r.Body)
	}
	if err != nil {
		return e, caxton.Errorf(caxton.Malformed, "record_unreadable", "record %d cannot be read", r.Seq).WithCause(err)
	}
	return e, nil
}

// Archive closes a conversation. See sqlite.DB.Archive.
func (j *Journal) Archive(_ context.Context, id caxton.ConversationID, b caxton.ArchivedBody, at time.Time) error {
	body, err := json.Marshal(b)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.convs[id]
	switch {
	case c == nil:
		return errNoConversation(id)
	case c.closed:
		return errArchived(id)
	case c.active > 0:
		return caxton.Errorf(caxton.Conflict, "conversation_active", "a message of conversation %s is not settled", id).
			WithHint("wait for it, or call it off")
	}
	j.log(c, entry{at: at, kind: caxton.RecordArchived, body: body})
	c.closed = true
	return nil
}
