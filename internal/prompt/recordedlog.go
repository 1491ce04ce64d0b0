package prompt

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/caxton/caxton"
)

// Append compares records with the log.
func (s *stretch) Append(_ context.Context, records ...caxton.Record) error { return s.write(records) }

// Open compares the questions for approval with the log.
func (s *stretch) Open(_ context.Context, _ []caxton.Ticket, records ...caxton.Record) error {
	return s.write(records)
}

// Amend lets an approval expire where the log says so.
func (s *stretch) Amend(_ context.Context, kind caxton.TicketKind, id string, change func(caxton.Ticket) (caxton.Amendment, error)) (caxton.Ticket, *caxton.Delivery, error) {
	t, err := s.ticket(kind, id)
	if err != nil {
		return t, nil, err
	}
	a, err := change(t)
	if err != nil {
		return t, nil, err
	}
	return a.Ticket, nil, s.write(a.Records)
}

// ticket makes an approval again from the log: open when the clock is to close it now, and
// else as people have decided.
func (s *stretch) ticket(kind caxton.TicketKind, id string) (caxton.Ticket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var t caxton.Ticket
	for i := range s.r.turn {
		rec := &s.r.turn[i].rec
		switch rec.Kind {
		case caxton.RecordApprovalAsked:
			var b caxton.ApprovalAskedBody
			if err := json.Unmarshal(rec.Body, &b); err != nil {
				return t, unreadable(*rec, err)
			}
			if b.Ticket.ID == id {
				t = b.Ticket
			}
		case caxton.RecordDecided:
			var b caxton.DecidedBody
			if err := json.Unmarshal(rec.Body, &b); err != nil {
				return t, unreadable(*rec, err)
			}
			if b.Kind == kind && b.ID == id && b.Decision.By != "clock" {
				t.State, t.Decisions = b.State, append(t.Decisions, b.Decision)
			}
		case caxton.RecordMessage, caxton.RecordLeased, caxton.RecordReleased, caxton.RecordCancelAsked, caxton.RecordModelCalled, caxton.RecordToolIntended, caxton.RecordToolReturned,
			caxton.RecordSettled, caxton.RecordParked, caxton.RecordReopened, caxton.RecordBudgetReserved, caxton.RecordBudgetSettled,
			caxton.RecordForked, caxton.RecordArchived, caxton.RecordMemoryRecalled, caxton.RecordMemoryWritten:
		}
	}
	if t.ID == "" {
		return t, s.differ(caxton.Difference{
			Kind: caxton.RecordApprovalAsked, Message: fmt.Sprintf("the replay waits for the approval %s, which the log does not have", id),
		})
	}
	return t, nil
}

// Reserve compares reservations with the log; one that the log does not have was refused.
func (s *stretch) Reserve(_ context.Context, rs []caxton.Reservation, records ...caxton.Record) error {
	s.mu.Lock()
	var refused error
	if len(rs) > 0 && s.find(caxton.RecordBudgetReserved, rs[0].ID) == nil {
		refused = s.refusal()
	}
	s.mu.Unlock()
	if refused != nil {
		return refused
	}
	return s.write(records)
}

// refusal returns why a reservation was refused, as the end of the attempt tells it, or nil.
func (s *stretch) refusal() error {
	switch {
	case s.end == caxton.RecordParked:
		return caxton.Errorf(caxton.Exhausted, "budget_exceeded", "held back").WithCause(&caxton.Overspent{Charge: caxton.Charge{Account: caxton.Account{Cap: 1}}})
	case s.end != caxton.RecordSettled || len(s.last.Outputs) == 0:
		return nil
	}
	_, m, ok := s.r.said(s.last.Outputs[0])
	var body struct {
		Error struct {
			Type        string            `json:"type"`
			Details     string            `json:"details"`
			Suggestions []string          `json:"recovery_suggestions"`
			Budget      *caxton.Overspent `json:"budget"`
		} `json:"error"`
	}
	if ok {
		ok = json.Unmarshal(m.Content, &body) == nil // an answer of another form is no refusal
	}
	if !ok || body.Error.Type != "budget_exceeded" || body.Error.Budget == nil {
		return nil
	}
	e := caxton.Errorf(caxton.Exhausted, body.Error.Type, "%s", body.Error.Details).WithCause(body.Error.Budget)
	if len(body.Error.Suggestions) > 0 {
		e = e.WithHint("%s", body.Error.Suggestions[0])
	}
	return e
}

// Book compares what was booked with the log.
func (s *stretch) Book(_ context.Context, _ caxton.MessageID, _ string, _ []caxton.Charge, records ...caxton.Record) error {
	return s.write(records)
}

// BudgetUses returns accounts with so much left as the next reservation took: what was left
// then led to it.
func (s *stretch) BudgetUses(_ context.Context, prefix string) ([]caxton.BudgetUse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.next(caxton.RecordBudgetReserved)
	if e == nil {
		return nil, nil
	}
	var b caxton.BudgetReservedBody
	if err := json.Unmarshal(e.rec.Body, &b); err != nil {
		return nil, unreadable(e.rec, err)
	}
	var uses []caxton.BudgetUse
	for _, c := range b.Charges {
		if !strings.HasPrefix(c.Name, prefix) {
			continue
		}
		u := caxton.BudgetUse{Name: c.Name, Unit: c.Unit, Cap: c.Cap, Spent: c.Cap - c.Amount}
		if c.Cap < 0 { // the cap of the tree's root: not in the log
			u.Cap, u.Spent = c.Amount, 0
		}
		uses = append(uses, u)
	}
	return uses, nil
}

// History returns the messages before one, from the records of the conversation.
func (s *stretch) History(_ context.Context, _ caxton.ConversationID, before caxton.MessageID, limit int) ([]caxton.Message, error) {
	var ms []caxton.Message
	for _, rec := range s.r.records {
		if rec.Kind != caxton.RecordMessage {
			continue
		}
		if rec.MessageID == s.r.message.Message.ID || rec.MessageID == before {
			break
		}
		var b caxton.MessageBody
		if err := json.Unmarshal(rec.Body, &b); err != nil {
			return nil, unreadable(rec, err)
		}
		ms = append(ms, caxton.Message(b.Message))
	}
	if len(ms) > limit {
		ms = ms[len(ms)-limit:]
	}
	return ms, nil
}

// PutBlob returns the hash that a recorded result carries instead of its body.
func (s *stretch) PutBlob(_ context.Context, data []byte, _ string) (string, error) {
	return string(data), nil
}

// Blob is for tools that read earlier results; in a replay none runs.
func (s *stretch) Blob(_ context.Context, hash string) ([]byte, string, error) {
	return nil, "", caxton.Errorf(caxton.NotFound, "blob_not_found", "there is no stored result %s in a replay", hash)
}

// recordedMemory gives what was recalled and remembered according to the log.
type recordedMemory struct{ s *stretch }

// Recall returns what was recalled.
func (m recordedMemory) Recall(_ context.Context, _ *caxton.AgentVersion, text string, _ []caxton.MessageID) (caxton.MemoryRecalledBody, error) {
	b, err := recorded[caxton.MemoryRecalledBody](m.s, caxton.RecordMemoryRecalled)
	if err == nil {
		b.Query = text // is compared
	}
	return b, err
}

// Keep returns what was remembered.
func (m recordedMemory) Keep(context.Context, *caxton.AgentVersion, *caxton.Message, string) (caxton.MemoryWrittenBody, error) {
	return recorded[caxton.MemoryWrittenBody](m.s, caxton.RecordMemoryWritten)
}

// recorded returns the body of the next record of a kind. Without one the handler is stopped
// where the log breaks off, or had no memory.
func recorded[T any](s *stretch, kind caxton.RecordKind) (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b T
	e := s.next(kind)
	if e == nil {
		return b, errUnrecorded
	}
	if err := json.Unmarshal(e.rec.Body, &b); err != nil {
		return b, unreadable(e.rec, err)
	}
	return b, nil
}
