package caxton

import (
	"encoding/json"
	"fmt"
)

// Unsettled returns the deliveries that the log of a conversation leaves open, oldest first,
// with what it tells of the attempts at them. A message that goes outside is never open.
func Unsettled(records []Record) ([]Delivery, error) {
	var all []*openTurn
	byID := map[MessageID]*openTurn{}
	for i := range records {
		r := &records[i]
		if r.Kind == RecordMessage {
			var b MessageBody
			if err := json.Unmarshal(r.Body, &b); err != nil {
				return nil, errRecord(r, err)
			}
			if b.Message.ReceiverID != "" {
				s := &openTurn{Delivery: b.Delivery()}
				all, byID[r.MessageID] = append(all, s), s
			}
			continue
		}
		if s := byID[r.MessageID]; s != nil {
			if err := s.add(r); err != nil {
				return nil, err
			}
		}
	}
	var open []Delivery
	for _, s := range all {
		if !s.settled {
			open = append(open, s.Delivery)
		}
	}
	return open, nil
}

// An openTurn is the fold of the records about one message.
type openTurn struct {
	Delivery
	settled bool
}

func (s *openTurn) add(r *Record) error {
	var b struct {
		Attempt int         `json:"attempt"`
		Outputs []MessageID `json:"outputs"`
	}
	switch r.Kind {
	case RecordLeased, RecordReleased, RecordParked, RecordSettled, RecordReopened:
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return errRecord(r, err)
		}
	case RecordMessage, RecordModelCalled, RecordToolIntended, RecordToolReturned, RecordCancelAsked, RecordApprovalAsked, RecordDecided,
		RecordBudgetReserved, RecordBudgetSettled, RecordForked, RecordArchived,
		RecordMemoryRecalled, RecordMemoryWritten:
		return nil
	}
	s.Attempt = max(s.Attempt, b.Attempt)
	s.Outputs += len(b.Outputs)
	if r.Kind == RecordParked {
		s.Parked++
	}
	if r.Kind == RecordReopened {
		s.settled, s.Parked = false, s.Attempt
	}
	s.settled = s.settled || r.Kind == RecordSettled
	return nil
}

func errRecord(r *Record, err error) error {
	return Errorf(Malformed, "record_unreadable", "record %d of conversation %s, of kind %s, cannot be read", r.Seq, r.ConversationID, r.Kind).
		WithCause(fmt.Errorf("record %d: %w", r.Seq, err))
}

// CheckLog returns why records cannot be the log of one conversation, or nil: they belong to
// one conversation, begin with a message or a fork, and each message has an ID of its own and
// comes before what is about it.
func CheckLog(records []Record) error {
	if len(records) == 0 {
		return Errorf(Invalid, "log_empty", "a conversation has at least one record")
	}
	first := &records[0]
	if err := CheckID(string(first.ConversationID)); err != nil {
		return err
	}
	if first.Kind != RecordMessage && first.Kind != RecordForked {
		return Errorf(Invalid, "log_beginning", "the log of conversation %s begins with a record of kind %s", first.ConversationID, first.Kind)
	}
	known := map[MessageID]bool{"": true} // forked and archived are about no message
	for i := range records {
		r := &records[i]
		if r.ConversationID != first.ConversationID {
			return Errorf(Invalid, "log_mixed", "record %d belongs to conversation %s, not %s", i+1, r.ConversationID, first.ConversationID)
		}
		if y := r.At.UTC().Year(); y < 1970 || y > 9999 {
			return Errorf(Invalid, "log_time", "record %d of conversation %s has no time, or one that cannot be", i+1, r.ConversationID)
		}
		if r.Kind != RecordMessage {
			if !known[r.MessageID] {
				return Errorf(Invalid, "log_order", "record %d of conversation %s is about message %s, which comes later or never", i+1, r.ConversationID, r.MessageID)
			}
			if err := checkBody(r); err != nil {
				return err
			}
			continue
		}
		var b MessageBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return errRecord(r, err)
		}
		if known[r.MessageID] || b.Message.ID != r.MessageID || b.Message.ConversationID != r.ConversationID || b.Message.ReceiverID != r.AgentID {
			return Errorf(Invalid, "log_message", "record %d of conversation %s and the message in it do not agree", i+1, r.ConversationID)
		}
		if err := CheckID(string(r.MessageID)); err != nil {
			return err
		}
		known[r.MessageID] = true
	}
	return nil
}

// checkBody returns why nobody could read a record later, or nil.
func checkBody(r *Record) error {
	if _, err := ParseRecordKind(string(r.Kind)); err != nil {
		return err
	}
	var b any
	switch r.Kind {
	case RecordMessage:
		b = &MessageBody{}
	case RecordLeased:
		b = &LeasedBody{}
	case RecordReleased:
		b = &ReleasedBody{}
	case RecordModelCalled:
		b = &ModelCalledBody{}
	case RecordToolIntended:
		b = &ToolIntendedBody{}
	case RecordToolReturned:
		b = &ToolReturnedBody{}
	case RecordSettled:
		b = &SettledBody{}
	case RecordCancelAsked:
		b = &CancelAskedBody{}
	case RecordParked:
		b = &ParkedBody{}
	case RecordReopened:
		b = &ReopenedBody{}
	case RecordApprovalAsked:
		b = &ApprovalAskedBody{}
	case RecordDecided:
		b = &DecidedBody{}
	case RecordBudgetReserved:
		b = &BudgetReservedBody{}
	case RecordBudgetSettled:
		b = &BudgetSettledBody{}
	case RecordForked:
		b = &ForkedBody{}
	case RecordArchived:
		b = &ArchivedBody{}
	case RecordMemoryRecalled:
		b = &MemoryRecalledBody{}
	case RecordMemoryWritten:
		b = &MemoryWrittenBody{}
	}
	if err := json.Unmarshal(r.Body, b); err != nil {
		return errRecord(r, err)
	}
	return nil
}

// Beginning returns the conversation that a log came out of, or "".
func Beginning(records []Record) ConversationID {
	if len(records) == 0 {
		return ""
	}
	var b struct {
		From    ConversationID `json:"from"`
		Message struct {
			Parent ConversationID `json:"parent"`
		} `json:"message"`
	}
	if json.Unmarshal(records[0].Body, &b) != nil {
		return ""
	}
	if records[0].Kind == RecordForked {
		return b.From
	}
	return b.Message.Parent
}
