package transcript

import (
	"encoding/json"
	"slices"

	"github.com/caxton/caxton"
)

// A Why is what stands behind an answer, as far as the log tells.
type Why struct {
	Message   caxton.Message
	Routing   caxton.Routing
	Version   int // of the agent that handled it
	Outcome   caxton.Outcome
	Error     string
	Attempts  int
	History   []caxton.Message // what was said before
	Memories  []caxton.RecalledItem
	Models    []caxton.ModelCalledBody
	Tools     []ToolUse
	Approvals []caxton.DecidedBody
	Reserved  []caxton.Reservation
	Spent     []caxton.Charge
	Answers   []caxton.Message
}

// A ToolUse is a call and what came of it.
type ToolUse struct {
	Call     caxton.ToolIntendedBody
	Returned *caxton.ToolReturnedBody // nil when nothing is known of its end
}

// Explain returns what stands behind the answer to a message. The ID may be the message's or
// that of an answer to it. NotFound when the log has neither.
func Explain(records []caxton.Record, id caxton.MessageID) (Why, error) {
	said := map[caxton.MessageID]caxton.MessageBody{}
	var order []caxton.MessageID
	asked := id
	for i := range records {
		r := &records[i]
		if r.Kind == caxton.RecordMessage {
			var b caxton.MessageBody
			if err := decode(r, &b); err != nil {
				return Why{}, err
			}
			said[r.MessageID] = b
			order = append(order, r.MessageID)
		}
		if r.Kind == caxton.RecordSettled {
			var b caxton.SettledBody
			if err := decode(r, &b); err != nil {
				return Why{}, err
			}
			if slices.Contains(b.Outputs, id) && said[id].Message.ReceiverID == "" { // an answer to somebody outside
				asked = r.MessageID
			}
		}
	}
	b, ok := said[asked]
	if !ok {
		return Why{}, caxton.Errorf(caxton.NotFound, "message_not_found", "there is no message %s", id)
	}
	w := Why{Message: caxton.Message(b.Message), Routing: b.Routing, Version: b.Version}
	for _, o := range order {
		if o == asked {
			break
		}
		w.History = append(w.History, caxton.Message(said[o].Message))
	}
	for i := range records {
		if records[i].MessageID == asked {
			if err := w.add(&records[i], said); err != nil {
				return w, err
			}
		}
	}
	return w, nil
}

func decode(r *caxton.Record, into any) error {
	if err := json.Unmarshal(r.Body, into); err != nil {
		return caxton.Errorf(caxton.Internal, "journal_unreadable", "record %d of conversation %s cannot be read", r.Seq, r.ConversationID).WithCause(err)
	}
	return nil
}

func (w *Why) add(r *caxton.Record, said map[caxton.MessageID]caxton.MessageBody) error {
	switch r.Kind {
	case caxton.RecordLeased:
		var b caxton.LeasedBody
		if err := decode(r, &b); err != nil {
			return err
		}
		w.Version, w.Attempts = b.Version, b.Attempt
	case caxton.RecordModelCalled:
		var b caxton.ModelCalledBody
		if err := decode(r, &b); err != nil {
			return err
		}
		w.Models = append(w.Models, b)
	case caxton.RecordToolIntended:
		var b caxton.ToolIntendedBody
		if err := decode(r, &b); err != nil {
			return err
		}
		w.Tools = append(w.Tools, ToolUse{Call: b})
	case caxton.RecordToolReturned:
		var b caxton.ToolReturnedBody
		if err := decode(r, &b); err != nil {
			return err
		}
		w.returned(&b)
	case caxton.RecordMemoryRecalled:
		var b caxton.MemoryRecalledBody
		if err := decode(r, &b); err != nil {
			return err
		}
		w.Memories = b.Items
	case caxton.RecordDecided:
		var b caxton.DecidedBody
		if err := decode(r, &b); err != nil {
			return err
		}
		w.Approvals = append(w.Approvals, b)
	case caxton.RecordBudgetReserved:
		var b caxton.BudgetReservedBody
		if err := decode(r, &b); err != nil {
			return err
		}
		w.Reserved = append(w.Reserved, b.Reservation)
	case caxton.RecordBudgetSettled:
		var b caxton.BudgetSettledBody
		if err := decode(r, &b); err != nil {
			return err
		}
		w.Spent = caxton.Totals([]caxton.Reservation{{Charges: w.Spent}, {Charges: b.Cost}})
	case caxton.RecordSettled:
		var b caxton.SettledBody
		if err := decode(r, &b); err != nil {
			return err
		}
		w.Version, w.Attempts, w.Outcome, w.Error = b.Version, b.Attempt, b.Outcome, b.Error
		for _, id := range b.Outputs {
			if o, ok := said[id]; ok {
				w.Answers = append(w.Answers, caxton.Message(o.Message))
			}
		}
	case caxton.RecordMessage, caxton.RecordReleased, caxton.RecordCancelAsked, caxton.RecordParked, caxton.RecordReopened, caxton.RecordApprovalAsked,
		caxton.RecordForked, caxton.RecordArchived, caxton.RecordMemoryWritten:
	}
	return nil
}

// returned adds a result to its call. A call that was denied has a result and never began.
func (w *Why) returned(b *caxton.ToolReturnedBody) {
	for i := len(w.Tools) - 1; i >= 0; i-- {
		if t := &w.Tools[i]; t.Call.CallID == b.CallID && t.Returned == nil {
			t.Returned = b
			return
		}
	}
	w.Tools = append(w.Tools, ToolUse{Call: caxton.ToolIntendedBody{CallID: b.CallID, Tool: b.Tool}, Returned: b})
}
