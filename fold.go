package caxton

import (
	"cmp"
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

// What the log of one conversation may have to be brought in: it is stored in one step, and
// what others write waits for that.
const (
	MaxLogRecords = 50_000
	MaxLogBytes   = 64 << 20 // of the bodies of its records
)

// CheckLog returns why records cannot be the log of one conversation, or nil: they belong to
// one conversation, begin with a message or a fork, each message has an ID of its own, a place
// in a tree that can be, and comes before what is about it. Errors: Invalid, Malformed,
// TooLarge.
func CheckLog(records []Record) error {
	if len(records) == 0 {
		return Errorf(Invalid, "log_empty", "a conversation has at least one record")
	}
	if err := checkLogSize(records); err != nil {
		return err
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
		m := Message(b.Message)
		if fault := m.placeFault(len(known) == 1); fault != "" {
			return Errorf(Invalid, "log_tree", "record %d of conversation %s has no place in a tree of conversations: %s", i+1, r.ConversationID, fault)
		}
		known[r.MessageID] = true
	}
	return nil
}

func checkLogSize(records []Record) error {
	size := 0
	for i := range records {
		size += len(records[i].Body)
	}
	if len(records) <= MaxLogRecords && size <= MaxLogBytes {
		return nil
	}
	return Errorf(TooLarge, "log_too_large", "conversation %s has %d records of %d bytes, %d and %d are the most that are stored in one step",
		records[0].ConversationID, len(records), size, MaxLogRecords, MaxLogBytes)
}

// placeFault says what is wrong with the place in the tree that m claims, as far as m itself
// tells, or "". first tells that m is the first message of its conversation. A later one may
// have come out of a conversation that came out of this one.
func (m *Message) placeFault(first bool) string {
	switch {
	case m.Parent == "" && m.Root == "" && m.Depth == 0:
	case m.Parent == "" || m.Root == "" || m.Depth < 1:
		return "parent, root and depth go together"
	case CheckID(string(m.Parent)) != nil || CheckID(string(m.Root)) != nil:
		return "parent or root is not an identifier"
	case m.Depth > MaxTreeDepth:
		return fmt.Sprintf("the depth %d is more than %d", m.Depth, MaxTreeDepth)
	case m.Parent == m.ConversationID || first && m.Root == m.ConversationID:
		return "it came out of itself"
	case (m.Depth == 1) != (m.Root == m.Parent):
		return fmt.Sprintf("the parent %s is not %d below the root %s", m.Parent, m.Depth-1, m.Root)
	}
	return ""
}

// CheckPlace returns why a conversation with these records, which CheckLog found nothing wrong
// with, does not go together with the conversations that are there, or nil: those that it
// names as above it must be in the tree that it names, and not below it. thread returns what
// is known of a conversation, and whether there is one.
func CheckPlace(records []Record, thread func(ConversationID) (Thread, bool, error)) error {
	type place struct {
		parent, root ConversationID
		depth        int
	}
	seen := map[place]bool{{}: true}
	first := true
	for i := range records {
		r := &records[i]
		if r.Kind != RecordMessage {
			continue
		}
		var b MessageBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return errRecord(r, err)
		}
		p := place{b.Message.Parent, b.Message.Root, b.Message.Depth}
		if seen[p] && !first {
			continue
		}
		seen[p] = true
		m := Message(b.Message)
		fault, err := m.treeFault(first, thread)
		if err != nil {
			return err
		}
		if fault != "" {
			return Errorf(Invalid, "log_tree", "record %d of conversation %s does not fit what is there: %s", i+1, r.ConversationID, fault)
		}
		first = false
	}
	return nil
}

// treeFault says how the place that m claims contradicts the conversations that are there.
func (m *Message) treeFault(first bool, thread func(ConversationID) (Thread, bool, error)) (string, error) {
	if m.Parent == "" {
		return "", nil
	}
	root, known, err := thread(m.Root)
	if err != nil {
		return "", err
	}
	if known && root.Parent != "" {
		return fmt.Sprintf("its root %s came out of %s", m.Root, root.Parent), nil
	}
	above, known, err := thread(m.Parent)
	if err != nil || !known {
		return "", err
	}
	if tree := cmp.Or(above.Root, m.Parent); tree != m.Root || above.Depth+1 != m.Depth {
		return fmt.Sprintf("its parent %s is in the tree of %s, %d below it", m.Parent, tree, above.Depth), nil
	}
	for n := m.Depth; first && known && above.Parent != "" && n > 0; n-- {
		if above.Parent == m.ConversationID {
			return fmt.Sprintf("its parent %s came out of it", m.Parent), nil
		}
		if above, known, err = thread(above.Parent); err != nil {
			return "", err
		}
	}
	return "", nil
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
