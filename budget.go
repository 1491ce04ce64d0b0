package caxton

import (
	"math"
	"slices"
	"strings"
	"time"
)

// A Unit is what a budget counts.
type Unit string

// The units of budgets. All amounts are whole numbers.
const (
	Tokens    Unit = "tokens"     // input and output of models
	ToolCalls Unit = "tool_calls" // calls of tools
	WallTime  Unit = "wall_ms"    // time spent in models and tools, in milliseconds
	Money     Unit = "micros"     // money, in millionths of the currency of the price table
)

// Units returns every unit, in the order of the documentation.
func Units() []Unit { return []Unit{Tokens, ToolCalls, WallTime, Money} }

// A Budget bounds what may be spent. A zero field bounds nothing.
type Budget struct {
	Tokens    int64         `json:"tokens,omitempty"`
	ToolCalls int64         `json:"tool_calls,omitempty"`
	WallTime  time.Duration `json:"wall_time,omitempty"`
	Money     float64       `json:"money,omitempty"` // in the currency of the price table
}

// IsZero reports whether the budget bounds nothing.
func (b Budget) IsZero() bool { return b == Budget{} }

// Cap returns the limit for a unit, and 0 when there is none.
func (b Budget) Cap(u Unit) int64 {
	switch u {
	case Tokens:
		return b.Tokens
	case ToolCalls:
		return b.ToolCalls
	case WallTime:
		return b.WallTime.Milliseconds()
	case Money:
		return int64(math.Round(b.Money * 1e6))
	}
	return 0
}

// Budgets bound an agent, or the server: in each period, and within one tree of conversations.
type Budgets struct {
	Conversation Budget `json:"conversation,omitzero"` // one conversation with all that came out of it
	Day          Budget `json:"day,omitzero"`          // one day, UTC
	Total        Budget `json:"total,omitzero"`        // ever
}

// IsZero reports whether nothing is bounded.
func (b Budgets) IsZero() bool { return b == Budgets{} }

// A Price is what one million tokens of a model cost.
type Price struct {
	Input  float64 `json:"input"`
	Output float64 `json:"output"`
}

// Of returns the cost of so many tokens, in millionths of the currency, rounded up.
func (p Price) Of(input, output int64) int64 {
	f := float64(input)*p.Input + float64(output)*p.Output
	n := int64(f)
	if float64(n) < f {
		n++
	}
	return n
}

// An Account is one thing that is counted against a cap: "agent/<id>/day/2026-11-21" in
// tokens, for example.
type Account struct {
	Name string `json:"account"` // what is bounded, and for which period
	Unit Unit   `json:"unit"`
	Cap  int64  `json:"cap"`
}

// A Charge is an amount on an Account.
type Charge struct {
	Account
	Amount int64 `json:"amount"`
}

// A Reservation holds back what a call can cost at most, before it is made. It is settled
// with what the call did cost. One that is left open by a crash counts as spent in full.
type Reservation struct {
	ID        string    `json:"id"` // unique in its message
	MessageID MessageID `json:"message_id"`
	Charges   []Charge  `json:"charges"`
}

// Totals returns one charge for each account that the reservations charge, with the sum of
// the amounts.
func Totals(rs []Reservation) []Charge {
	var all []Charge
	for _, r := range rs {
		for _, c := range r.Charges {
			i := slices.IndexFunc(all, func(o Charge) bool { return o.Name == c.Name && o.Unit == c.Unit })
			if i < 0 {
				all = append(all, c)
			} else {
				all[i].Amount += c.Amount
			}
		}
	}
	return all
}

// A BudgetUse tells how much of an account is used.
type BudgetUse struct {
	Name     string    `json:"account"`
	Unit     Unit      `json:"unit"`
	Cap      int64     `json:"cap"` // as it was when something was last reserved
	Spent    int64     `json:"spent"`
	Reserved int64     `json:"reserved"`
	At       time.Time `json:"updated_at"`
}

// Under returns the charge with the cap that counts for an account whose cap is set already:
// that one where the charge brings none (below 0), and the lower of the two for a tree of
// conversations, in which several agents may bring caps of their own.
func (c Charge) Under(limit int64) Charge {
	if c.Cap < 0 || limit > 0 && limit < c.Cap && strings.HasPrefix(c.Name, "tree/") {
		c.Cap = limit
	}
	return c
}

// Fits returns nil when the charge can be added to an account with so much spent and
// reserved, and otherwise Exhausted with the code budget_exceeded, the numbers, and an
// *Overspent as its cause.
func (c Charge) Fits(spent, reserved int64) error {
	if c.Cap <= 0 || spent+reserved+c.Amount <= c.Cap {
		return nil
	}
	return Errorf(Exhausted, "budget_exceeded", "the budget %s allows %d %s: %d are spent, %d are held back, and this needs up to %d",
		c.Name, c.Cap, c.Unit, spent, reserved, c.Amount).
		WithHint("wait for the next period, ask for less, or raise the budget").
		WithCause(&Overspent{Charge: c, Spent: spent, Reserved: reserved})
}

// Overspent is the cause of an Error: it has the numbers of a charge that does not fit.
type Overspent struct {
	Charge
	Spent    int64 `json:"spent"`
	Reserved int64 `json:"reserved"`
}

// Error names the account.
func (o *Overspent) Error() string { return "over the cap of " + o.Name }

// Busy reports whether the charge would fit if nothing were held back by others.
func (o *Overspent) Busy() bool { return o.Spent+o.Amount <= o.Cap }
