package transcript

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/caxton/caxton"
)

// An Event is one thing in a timeline: what somebody said or did.
type Event struct {
	Seq       int64
	At        time.Time
	Since     time.Duration // since the conversation began
	Took      time.Duration // as far as it is recorded
	MessageID caxton.MessageID
	AgentID   caxton.AgentID
	Who       string
	Kind      caxton.RecordKind
	What      string // in words, perhaps several lines
}

// Timeline returns what the log of a conversation tells, oldest first, without what is only
// for machines. agent, unless "", selects what that agent did and what was said to it and by
// it.
func Timeline(records []caxton.Record, agent caxton.AgentID) []Event {
	names := map[caxton.AgentID]string{}
	asked := map[caxton.MessageID]time.Time{}
	var begin time.Time
	var all []Event
	for i := range records {
		r := &records[i]
		e := Event{Seq: r.Seq, At: r.At, MessageID: r.MessageID, AgentID: r.AgentID, Kind: r.Kind}
		mine := agent == "" || r.AgentID == agent || r.AgentID == "" && r.MessageID == ""
		if begin.IsZero() && r.Kind != caxton.RecordForked {
			begin = r.At
		}
		e.Since = max(0, r.At.Sub(begin))
		if r.Kind == caxton.RecordMessage {
			var b caxton.MessageBody
			if json.Unmarshal(r.Body, &b) != nil {
				continue
			}
			m := caxton.Message(b.Message)
			if m.ReceiverID != "" {
				names[m.ReceiverID] = m.Receiver
				asked[m.ID] = r.At
			}
			e.Who = m.Sender
			e.What = fmt.Sprintf("%s → %s: %s", m.Performative, cmp.Or(m.Receiver, m.Capability.String(), "all"), m.Text())
			mine = mine || m.SenderID == agent
		} else {
			e.Who = cmp.Or(names[r.AgentID], string(r.AgentID))
			e.What, e.Took = did(r)
			if at, ok := asked[r.MessageID]; ok && r.Kind == caxton.RecordSettled {
				e.Took = r.At.Sub(at)
			}
		}
		if mine && e.What != "" {
			all = append(all, e)
		}
	}
	return all
}

// did says in words what a record tells, and how long it took; "" when it is only for machines.
func did(r *caxton.Record) (string, time.Duration) {
	switch r.Kind {
	case caxton.RecordModelCalled:
		var b caxton.ModelCalledBody
		if json.Unmarshal(r.Body, &b) != nil {
			return "", 0
		}
		return modelSaid(&b), time.Duration(b.Millis) * time.Millisecond
	case caxton.RecordToolIntended:
		var b caxton.ToolIntendedBody
		if json.Unmarshal(r.Body, &b) != nil {
			return "", 0
		}
		return fmt.Sprintf("calls %s %s", b.Tool, b.Arguments), 0
	case caxton.RecordToolReturned:
		var b caxton.ToolReturnedBody
		if json.Unmarshal(r.Body, &b) != nil {
			return "", 0
		}
		verb := "returned"
		switch {
		case b.NotRun:
			verb = "did not run"
		case b.IsError:
			verb = "failed"
		}
		return fmt.Sprintf("%s %s: %s", b.Tool, verb, b.Text), time.Duration(b.Millis) * time.Millisecond
	case caxton.RecordMemoryRecalled:
		var b caxton.MemoryRecalledBody
		if json.Unmarshal(r.Body, &b) != nil {
			return "", 0
		}
		return recalled(&b), time.Duration(b.Millis) * time.Millisecond
	case caxton.RecordMemoryWritten:
		var b caxton.MemoryWrittenBody
		if json.Unmarshal(r.Body, &b) != nil {
			return "", 0
		}
		if b.Error != "" {
			return "did not remember the turn: " + b.Error, 0
		}
		return "remembered the turn as " + b.EntityID.String(), time.Duration(b.Millis) * time.Millisecond
	case caxton.RecordSettled:
		var b caxton.SettledBody
		if json.Unmarshal(r.Body, &b) != nil {
			return "", 0
		}
		if b.Error != "" {
			return fmt.Sprintf("%s: %s (%s)", b.Outcome, b.Error, b.Code), 0
		}
		return string(b.Outcome), 0
	case caxton.RecordReleased:
		var b caxton.ReleasedBody
		if json.Unmarshal(r.Body, &b) != nil {
			return "", 0
		}
		return fmt.Sprintf("attempt %d failed: %s", b.Attempt, b.Error), 0
	case caxton.RecordCancelAsked, caxton.RecordParked, caxton.RecordReopened, caxton.RecordApprovalAsked, caxton.RecordDecided, caxton.RecordForked, caxton.RecordArchived:
		return decided(r), 0
	case caxton.RecordMessage, caxton.RecordLeased, caxton.RecordBudgetReserved, caxton.RecordBudgetSettled:
	}
	return "", 0
}

// recalled says what was recalled.
func recalled(b *caxton.MemoryRecalledBody) string {
	names := make([]string, 0, len(b.Items))
	for _, it := range b.Items {
		names = append(names, fmt.Sprintf("%s (%.2f)", it.Name, it.Score))
	}
	said := "recalled nothing"
	if len(names) > 0 {
		said = "recalled " + strings.Join(names, ", ")
	}
	if b.Degraded != "" {
		said += "; " + b.Degraded
	}
	return said
}

func modelSaid(b *caxton.ModelCalledBody) string {
	var calls []struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	}
	if len(b.ToolCalls) > 0 && json.Unmarshal(b.ToolCalls, &calls) != nil {
		calls = nil
	}
	parts := []string{}
	if b.Text != "" {
		parts = append(parts, b.Text)
	}
	for _, c := range calls {
		parts = append(parts, fmt.Sprintf("wants %s %s", c.Name, c.Arguments))
	}
	if len(parts) == 0 {
		parts = []string{"nothing"}
	}
	return fmt.Sprintf("model %s/%s: %s", b.Provider, b.Model, strings.Join(parts, "\n"))
}

// decided says what people and the clock did.
func decided(r *caxton.Record) string {
	var b struct {
		Reason string                `json:"reason"`
		By     string                `json:"by"`
		From   caxton.ConversationID `json:"from"`
		Seq    int64                 `json:"seq"`
		Ticket caxton.Ticket         `json:"ticket"`
		Kind   caxton.TicketKind     `json:"kind"`
		Call   *caxton.ToolCallRef   `json:"call"`
		State  caxton.TicketState    `json:"state"`
		Said   caxton.Decision       `json:"decision"`
	}
	if json.Unmarshal(r.Body, &b) != nil {
		return ""
	}
	because := ""
	if b.Reason = cmp.Or(b.Reason, b.Said.Reason); b.Reason != "" {
		because = ": " + b.Reason
	}
	switch r.Kind {
	case caxton.RecordParked:
		return "waits" + because
	case caxton.RecordCancelAsked:
		return "called off by " + b.By
	case caxton.RecordReopened:
		return "reopened by " + b.By + because
	case caxton.RecordApprovalAsked:
		if b.Ticket.Call == nil {
			return "asks for approval"
		}
		return fmt.Sprintf("asks for approval of %s %s", b.Ticket.Call.Tool, b.Ticket.Call.Arguments)
	case caxton.RecordDecided:
		what := b.Kind.Noun()
		if b.Call != nil {
			what += " of " + b.Call.Tool
		}
		return fmt.Sprintf("%s: %s by %s%s", what, b.State, b.Said.By, because)
	case caxton.RecordForked:
		return fmt.Sprintf("forked from %s at record %d%s", b.From, b.Seq, because)
	case caxton.RecordArchived:
		return "archived by " + b.By + because
	case caxton.RecordMessage, caxton.RecordLeased, caxton.RecordReleased, caxton.RecordModelCalled, caxton.RecordToolIntended,
		caxton.RecordToolReturned, caxton.RecordSettled, caxton.RecordBudgetReserved, caxton.RecordBudgetSettled, caxton.RecordMemoryRecalled, caxton.RecordMemoryWritten:
	}
	return ""
}
