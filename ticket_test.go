package caxton_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
)

func TestTicketDecide(t *testing.T) {
	now := time.Unix(100, 0)
	abc := []string{"ann", "bob", "cid"}
	tests := []struct {
		name      string
		kind      caxton.TicketKind
		policy    caxton.ApprovalPolicy
		decisions string // who:state, in order
		want      caxton.TicketState
		kinds     string // kinds of error by decision, "-" for none
	}{
		{"one approval is enough", caxton.Approval, caxton.ApprovalPolicy{}, "ann:approved", "approved", "-"},
		{"one denial is enough", caxton.Approval, caxton.ApprovalPolicy{}, "ann:denied", "denied", "-"},
		{"closed is closed", caxton.Approval, caxton.ApprovalPolicy{}, "ann:denied bob:approved", "denied", "- conflict"},
		{"two of three", caxton.Approval, caxton.ApprovalPolicy{Need: 2, Approvers: abc}, "ann:approved cid:approved", "approved", "- -"},
		{"one may refuse when two of three suffice", caxton.Approval, caxton.ApprovalPolicy{Need: 2, Approvers: abc}, "ann:denied bob:approved cid:approved", "approved", "- - -"},
		{"two refusals of three", caxton.Approval, caxton.ApprovalPolicy{Need: 2, Approvers: abc}, "ann:denied bob:denied", "denied", "- -"},
		{"nobody counts twice", caxton.Approval, caxton.ApprovalPolicy{Need: 2, Approvers: abc}, "ann:approved ann:approved", "pending", "- conflict"},
		{"a stranger", caxton.Approval, caxton.ApprovalPolicy{Approvers: abc}, "eve:approved", "pending", "forbidden"},
		{"two of anybody", caxton.Approval, caxton.ApprovalPolicy{Need: 2}, "ann:approved eve:approved", "approved", "- -"},
		{"two of anybody, one refuses", caxton.Approval, caxton.ApprovalPolicy{Need: 2}, "ann:approved eve:denied", "denied", "- -"},
		{"nobody is the clock", caxton.Approval, caxton.ApprovalPolicy{Approvers: abc}, "eve:expired ann:approved", "approved", "conflict -"},
		{"an effect is no approval", caxton.Effect, caxton.ApprovalPolicy{}, "ann:approved ann:done", "done", "invalid -"},
		{"a letter is replayed", caxton.DeadLetter, caxton.ApprovalPolicy{}, "ann:replayed ann:dropped", "replayed", "- conflict"},
		{"an effect fails", caxton.Effect, caxton.ApprovalPolicy{}, "ann:failed", "failed", "-"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tk := caxton.Ticket{Kind: tt.kind, ID: "x", State: tt.kind.OpenState(), Policy: tt.policy, ExpiresAt: now.Add(time.Hour)}
			var kinds []string
			for d := range strings.FieldsSeq(tt.decisions) {
				by, state, _ := strings.Cut(d, ":")
				next, err := tk.Decide(caxton.Decision{By: by, State: caxton.TicketState(state), At: now})
				if err == nil {
					tk = next
					kinds = append(kinds, "-")
				} else {
					kinds = append(kinds, string(caxton.KindOf(err)))
				}
			}
			if got := fmt.Sprint(strings.Join(kinds, " ")); got != tt.kinds || tk.State != tt.want {
				t.Errorf("state %s, errors %s, want %s, %s", tk.State, got, tt.want, tt.kinds)
			}
			if tk.State.Open() != tk.ClosedAt.IsZero() {
				t.Errorf("closed at %v in state %s", tk.ClosedAt, tk.State)
			}
		})
	}
	late := caxton.Ticket{Kind: caxton.Approval, State: caxton.ApprovalPending, ExpiresAt: now}
	if _, err := late.Decide(caxton.Decision{By: "ann", State: caxton.ApprovalGranted, At: now}); caxton.KindOf(err) != caxton.Conflict {
		t.Errorf("a decision after the expiry: %v, want a conflict", err)
	}
	if tk, err := late.Decide(caxton.Decision{By: "clock", State: caxton.ApprovalExpired, At: now}); err != nil || tk.State != caxton.ApprovalExpired {
		t.Errorf("the expiry: %s, %v", tk.State, err)
	}
}

func TestBudgetArithmetic(t *testing.T) {
	p := caxton.Price{Input: 0.15, Output: 0.6}
	for _, tt := range []struct{ in, out, want int64 }{{0, 0, 0}, {1, 0, 1}, {1_000_000, 0, 150_000}, {1000, 1000, 750}, {3, 1, 2}} {
		if got := p.Of(tt.in, tt.out); got != tt.want {
			t.Errorf("Of(%d, %d) = %d, want %d", tt.in, tt.out, got, tt.want)
		}
	}
	b := caxton.Budget{Tokens: 5, ToolCalls: 6, WallTime: 7 * time.Second, Money: 0.25}
	for u, want := range map[caxton.Unit]int64{caxton.Tokens: 5, caxton.ToolCalls: 6, caxton.WallTime: 7000, caxton.Money: 250_000} {
		if got := b.Cap(u); got != want {
			t.Errorf("Cap(%s) = %d, want %d", u, got, want)
		}
	}
	for n := int64(1); n < 100_000; n++ { // an amount with a decimal point is not the fraction it looks like
		if got := (caxton.Budget{Money: float64(n) / 1e6}).Cap(caxton.Money); got != n {
			t.Fatalf("Cap(money) of %d micros = %d", n, got)
		}
	}
}
