package router

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/caxton/caxton"
)

// Log returns all records of a conversation, or NotFound.
func (r *Router) Log(ctx context.Context, id caxton.ConversationID) ([]caxton.Record, error) {
	const page = 1000
	var all []caxton.Record
	for {
		rs, err := r.journal.Records(ctx, id, int64(len(all)), page)
		if err != nil {
			return nil, err
		}
		all = append(all, rs...)
		if len(rs) < page {
			return all, nil
		}
	}
}

// Fork begins a new conversation as a copy of the records of another one, up to a point, and
// returns it. A message that is open at that point is handled in the copy, too, from there
// on. Errors: NotFound, and those of caxton.Fork.Copy.
func (r *Router) Fork(ctx context.Context, from caxton.ConversationID, f caxton.Fork) (caxton.Conversation, error) {
	if r.closed.Load() {
		return caxton.Conversation{}, errDraining()
	}
	records, err := r.Log(ctx, from)
	if err != nil {
		return caxton.Conversation{}, err
	}
	f.ID = cmp.Or(f.ID, caxton.ConversationID(r.cfg.NewID()))
	f.By = cmp.Or(f.By, "operator")
	copied, err := f.Copy(records, r.cfg.Now())
	if err != nil {
		return caxton.Conversation{}, err
	}
	open, err := r.journal.Import(ctx, copied)
	if err != nil {
		return caxton.Conversation{}, err
	}
	r.cfg.Logger.InfoContext(ctx, "conversation forked", "conversation_id", f.ID, "from", from, "records", len(copied)-1, "open", len(open), "by", f.By)
	c, err := r.journal.Conversation(ctx, f.ID) // as it begins: what is open may be handled at once
	if _, uerr := r.takeUp(context.WithoutCancel(ctx), open); uerr != nil {
		return c, uerr
	}
	return c, err
}

// Import brings in the log of a conversation from elsewhere. What it leaves open stays
// unhandled: it is settled as called off, because its time and its agents were others.
// Errors: Conflict when the conversation is known, and those of caxton.CheckLog.
func (r *Router) Import(ctx context.Context, records []caxton.Record) error {
	if r.closed.Load() {
		return errDraining()
	}
	open, err := caxton.Unsettled(records)
	if err != nil {
		return err
	}
	now := r.cfg.Now()
	for i := range open {
		d := &open[i]
		body, err := json.Marshal(caxton.SettledBody{
			Outcome: caxton.OutcomeCancelled, Attempt: d.Attempt, Version: d.Version, LeasedAt: now,
			Code: "imported", Error: "the message was not settled when its conversation was exported",
		})
		if err != nil {
			return err
		}
		settled := caxton.Record{
			ConversationID: d.Message.ConversationID, At: now, Kind: caxton.RecordSettled, MessageID: d.Message.ID, AgentID: d.Message.ReceiverID, Body: body,
		}
		records = append(slices.Clip(records), settled)
	}
	_, err = r.journal.Import(ctx, records)
	return err
}

// Archive closes a conversation: it can be read, exported and forked, and takes no messages.
// Errors: NotFound, Conflict when it is archived already or a message in it is not settled.
func (r *Router) Archive(ctx context.Context, id caxton.ConversationID, by, reason string) error {
	err := r.journal.Archive(ctx, id, caxton.ArchivedBody{By: cmp.Or(by, "operator"), Reason: reason}, r.cfg.Now())
	if err == nil {
		r.cfg.Logger.InfoContext(ctx, "conversation archived", "conversation_id", id, "by", by, "reason", reason)
	}
	return err
}

// Search returns a page of the messages that q selects, and the cursor of the next page.
func (r *Router) Search(ctx context.Context, q caxton.MatchQuery) ([]caxton.Match, string, error) {
	return r.journal.Search(ctx, q)
}

func errDraining() error {
	return caxton.Errorf(caxton.Unavailable, "draining", "the server is stopping").WithHint("send the message again when it is back")
}
