package router_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/router"
)

// TestSettledMessageAsksNobody holds that no approval stays open for a message that is done
// with: nobody would go on when it is given.
func TestSettledMessageAsksNobody(t *testing.T) {
	for _, tt := range []struct {
		name   string
		settle func(*router.Router, *directory, caxton.MessageID) error
		want   string
	}{
		{"called off", func(r *router.Router, _ *directory, id caxton.MessageID) error {
			return r.Cancel(t.Context(), id, "ann")
		}, "the message is settled: cancelled"},
		{"its agent removed", func(r *router.Router, d *directory, _ caxton.MessageID) error {
			d.remove("a1")
			return r.Drop(t.Context(), "a1")
		}, "the message is settled: failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, d, j := newRouter(router.Config{}, helper("a1", "Ann", "", 0))
			var ids []caxton.MessageID
			for range 2 {
				rc := send(t, r, to("ann", "x"))
				ids = append(ids, rc.MessageID)
				l := next(t, r, "a1")
				tk := caxton.Ticket{
					Kind: caxton.Approval, ID: "of " + string(rc.MessageID), State: caxton.ApprovalPending, ConversationID: rc.ConversationID,
					MessageID: rc.MessageID, AgentID: "a1", OpenedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
				}
				body, err := json.Marshal(caxton.ApprovalAskedBody{Ticket: tk})
				if err != nil {
					t.Fatal(err)
				}
				if err := j.Open(t.Context(), []caxton.Ticket{tk}, caxton.Record{
					ConversationID: rc.ConversationID, At: time.Now(), Kind: caxton.RecordApprovalAsked, MessageID: rc.MessageID, AgentID: "a1", Body: body,
				}); err != nil {
					t.Fatal(err)
				}
				if err := r.Park(t.Context(), l, caxton.Parked{Until: time.Now().Add(time.Hour), Ticket: true}); err != nil {
					t.Fatal(err)
				}
			}
			if err := tt.settle(r, d, ids[0]); err != nil {
				t.Fatal(err)
			}
			tk, err := r.Ticket(t.Context(), caxton.Approval, "of "+string(ids[0]))
			if err != nil || tk.State != caxton.ApprovalWithdrawn || len(tk.Decisions) != 1 || tk.Decisions[0].Reason != tt.want {
				t.Errorf("approval of a settled message: %+v, %v", tk, err)
			}
			rs, err := r.Turn(t.Context(), tk.ConversationID, ids[0])
			if err != nil || len(rs) == 0 || rs[len(rs)-1].Kind != caxton.RecordSettled || rs[len(rs)-2].Kind != caxton.RecordDecided {
				t.Errorf("log of %d records, %v; want the decision and then the settlement at its end", len(rs), err)
			}
			open, err := r.OpenTickets(t.Context())
			if want := map[string]int{"called off": 1, "its agent removed": 0}[tt.name]; err != nil || open[caxton.Approval] != want {
				t.Errorf("%d approvals are open, %v; want %d", open[caxton.Approval], err, want)
			}
		})
	}
}
