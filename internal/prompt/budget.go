package prompt

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
)

// A reservation is what a call in progress holds back. The zero reservation holds nothing.
type reservation struct {
	id      string
	charges []caxton.Charge
	timeout time.Duration // of the call, as far as the budget allows; 0 for no bound
	price   caxton.Price  // by which money was held back
}

// limits bound one model call.
type limits struct {
	timeout time.Duration
}

// accounts returns what is counted against a cap in this turn: what the agent may spend, what
// the server may spend, and what the whole tree of conversations may. A cap below 0 stands
// for the one that the root of the tree set.
func (t *turnState) accounts(ctx context.Context) ([]caxton.Account, error) {
	own, server := t.a.def.Budget, t.a.h.cfg.Budgets
	m := &t.turn.Message
	if own.IsZero() && server.IsZero() && m.Root == "" {
		return nil, nil
	}
	day := t.a.h.cfg.Now().UTC().Format(time.DateOnly)
	agent := "agent/" + string(t.turn.Agent.ID)
	tree := "tree/" + string(m.Tree())
	var as []caxton.Account
	add := func(name string, limit func(caxton.Unit) int64) {
		for _, u := range caxton.Units() {
			if c := limit(u); c != 0 {
				as = append(as, caxton.Account{Name: name, Unit: u, Cap: c})
			}
		}
	}
	add(agent+"/total", own.Total.Cap)
	add(agent+"/day/"+day, own.Day.Cap)
	add("server/total", server.Total.Cap)
	add("server/day/"+day, server.Day.Cap)
	if m.Root == "" {
		add(tree, func(u caxton.Unit) int64 { return lesser(own.Conversation.Cap(u), server.Conversation.Cap(u)) })
		return as, nil
	}
	var uses []caxton.BudgetUse // of the tree: its root may allow less than the server
	if !server.Conversation.IsZero() {
		var err error
		if uses, err = t.a.h.log.BudgetUses(ctx, tree); err != nil {
			return nil, err
		}
	}
	add(tree, func(u caxton.Unit) int64 {
		limit := server.Conversation.Cap(u)
		if limit == 0 {
			return -1
		}
		for i := range uses {
			if uses[i].Name == tree && uses[i].Unit == u {
				limit = lesser(limit, uses[i].Cap)
			}
		}
		return limit
	})
	add(agent+"/"+tree, own.Conversation.Cap)
	return as, nil
}

// lesser returns the smaller of two caps, of which 0 is none.
func lesser(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// room returns how much of each unit is left in the tightest of the accounts; units that
// nothing bounds are missing.
func (t *turnState) room(ctx context.Context, as []caxton.Account) (map[caxton.Unit]int64, error) {
	left := map[caxton.Unit]int64{}
	seen := map[string][]caxton.BudgetUse{}
	for _, a := range as {
		uses, ok := seen[a.Name]
		if !ok {
			var err error
			if uses, err = t.a.h.log.BudgetUses(ctx, a.Name); err != nil {
				return nil, err
			}
			seen[a.Name] = uses
		}
		limit, used := a.Cap, int64(0)
		for _, u := range uses {
			if u.Name == a.Name && u.Unit == a.Unit {
				used = u.Spent + u.Reserved
				if limit < 0 {
					limit = u.Cap
				}
			}
		}
		if limit <= 0 {
			continue
		}
		if n, known := left[a.Unit]; !known || limit-used < n {
			left[a.Unit] = limit - used
		}
	}
	return left, nil
}

// minAnswer is the shortest answer, in tokens, that is worth a call.
const minAnswer = 16

// reserveModel holds back the most that a call can cost, and shortens answer and time to
// what the budget still allows. A token is at least one byte of text, so the length of the
// request in bytes bounds its tokens from above, whatever the tokenizer.
func (t *turnState) reserveModel(ctx context.Context, step int, req *llm.Request) (reservation, limits, error) {
	h := t.a.h
	l := limits{timeout: cmp.Or(t.a.def.LLM.Timeout, h.cfg.ModelTimeout)}
	as, err := t.accounts(ctx)
	if len(as) == 0 || err != nil {
		return reservation{}, l, err
	}
	left, err := t.room(ctx, as)
	if err != nil {
		return reservation{}, l, err
	}
	input, err := inputBound(req)
	if err != nil {
		return reservation{}, l, err
	}
	answer := int64(cmp.Or(req.MaxTokens, h.cfg.BudgetAnswer))
	if n, bounded := left[caxton.Tokens]; bounded {
		answer = max(min(answer, n-input), min(answer, minAnswer))
	}
	price, unpriced := t.dearest(req.Model)
	if n, bounded := left[caxton.Money]; bounded {
		if unpriced != "" {
			return reservation{}, l, caxton.Errorf(caxton.Invalid, "budget_unpriced", "the model %q has no price, so its cost cannot be held within the budget", unpriced).
				WithHint("give its price in llm.prices, or take the money out of the budget")
		}
		for answer > minAnswer && price.Of(input, answer) > n {
			answer -= max(1, answer/8)
		}
	}
	if slices.ContainsFunc(as, func(a caxton.Account) bool { return a.Unit == caxton.Tokens || a.Unit == caxton.Money }) {
		req.MaxTokens = int(answer)
	}
	if n, bounded := left[caxton.WallTime]; bounded && n > 0 {
		l.timeout = min(l.timeout, time.Duration(n)*time.Millisecond)
	}
	res := reservation{id: t.reservationID(fmt.Sprintf("model/%d", step)), price: price}
	for _, a := range as {
		n := int64(0)
		switch a.Unit {
		case caxton.Tokens:
			n = input + answer
		case caxton.Money:
			n = price.Of(input, answer)
		case caxton.WallTime:
			n = max(1, l.timeout.Milliseconds())
		case caxton.ToolCalls:
			continue
		}
		res.charges = append(res.charges, caxton.Charge{Account: a, Amount: n})
	}
	if len(res.charges) == 0 { // only tool calls are counted
		return reservation{}, l, nil
	}
	return res, l, t.reserve(ctx, []reservation{res})
}

// inputBound returns the most tokens that a request can have.
func inputBound(req *llm.Request) (int64, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return 0, caxton.Errorf(caxton.Internal, "request_unprintable", "the model's request cannot be written").WithCause(err)
	}
	return int64(len(b)), nil
}

// reserveTools holds back the calls of a step, all or none: the reservation of each call, at
// the same place, is zero for those that run no more or that nothing bounds.
func (t *turnState) reserveTools(ctx context.Context, intents []caxton.ToolIntendedBody) ([]reservation, error) {
	held := make([]reservation, len(intents))
	as, err := t.accounts(ctx)
	if len(as) == 0 || err != nil {
		return held, err
	}
	left, err := t.room(ctx, as)
	if err != nil {
		return nil, err
	}
	runs := 0
	for i := range intents {
		if _, returned := t.past.returns[intents[i].CallID]; !returned {
			runs++
		}
	}
	var all []reservation
	for i := range intents {
		if _, returned := t.past.returns[intents[i].CallID]; returned {
			continue
		}
		r := reservation{id: t.reservationID("tool/" + intents[i].CallID)}
		if n, bounded := left[caxton.WallTime]; bounded {
			r.timeout = min(toolTime, time.Duration(max(n/int64(runs), 1))*time.Millisecond)
		}
		for _, a := range as {
			switch a.Unit {
			case caxton.ToolCalls:
				r.charges = append(r.charges, caxton.Charge{Account: a, Amount: 1})
			case caxton.WallTime:
				r.charges = append(r.charges, caxton.Charge{Account: a, Amount: max(1, r.timeout.Milliseconds())})
			case caxton.Tokens, caxton.Money:
			}
		}
		if len(r.charges) > 0 {
			held[i] = r
			all = append(all, r)
		}
	}
	if len(all) == 0 {
		return held, nil
	}
	return held, t.reserve(ctx, all)
}

// toolTime is how much time a tool call holds back at most when time is bounded.
const toolTime = 30 * time.Second

// within bounds a call by what was held back for it.
func (r reservation) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, r.timeout)
}

// reservationID is unique in the message: attempts count on.
func (t *turnState) reservationID(what string) string {
	return fmt.Sprintf("%s/%d", what, t.turn.Attempt)
}

func (t *turnState) reserve(ctx context.Context, held []reservation) error {
	rs := make([]caxton.Reservation, len(held))
	records := make([]caxton.Record, len(held))
	for i, r := range held {
		rs[i] = caxton.Reservation{ID: r.id, MessageID: t.turn.Message.ID, Charges: r.charges}
		var err error
		if records[i], err = t.record(caxton.RecordBudgetReserved, caxton.BudgetReservedBody{Reservation: rs[i]}); err != nil {
			return err
		}
	}
	err := t.a.h.log.Reserve(ctx, rs, records...)
	if o, ok := errors.AsType[*caxton.Overspent](err); ok {
		t.a.h.metrics.refused.WithLabelValues(string(o.Unit)).Inc()
		if o.Busy() { // calls in progress hold it back; some of it will be free again
			p := &caxton.Parked{Until: t.a.h.cfg.Now().Add(budgetPause), Reason: "the budget is held back by calls in progress"}
			return caxton.Errorf(caxton.Exhausted, "budget_busy", "the budget is held back by calls in progress").WithCause(p)
		}
	}
	return err
}

// budgetPause is how long a turn waits for others that hold its budget back.
const budgetPause = 200 * time.Millisecond

// book settles a reservation together with a record, or only appends the record when
// nothing was held back.
func (t *turnState) book(ctx context.Context, r reservation, cost func(caxton.Unit) int64, more ...caxton.Record) error {
	if r.id == "" {
		if len(more) == 0 {
			return nil
		}
		return t.a.h.log.Append(ctx, more...)
	}
	records, charges, err := t.settled(r, cost)
	if err != nil {
		return err
	}
	return t.a.h.log.Book(ctx, t.turn.Message.ID, r.id, charges, append(records, more...)...)
}

func (t *turnState) settled(r reservation, cost func(caxton.Unit) int64) ([]caxton.Record, []caxton.Charge, error) {
	charges := make([]caxton.Charge, len(r.charges))
	for i, c := range r.charges {
		c.Amount = cost(c.Unit)
		charges[i] = c
	}
	rec, err := t.record(caxton.RecordBudgetSettled, caxton.BudgetSettledBody{ID: r.id, Cost: charges})
	return []caxton.Record{rec}, charges, err
}

// bookLost books in full what earlier attempts held back and did not settle: their calls may
// have been made.
func (t *turnState) bookLost(ctx context.Context) error {
	for id, r := range t.past.reserved {
		rec, err := t.record(caxton.RecordBudgetSettled, caxton.BudgetSettledBody{ID: id, Cost: r.Charges, Lost: true})
		if err != nil {
			return err
		}
		if err := t.a.h.log.Book(ctx, t.turn.Message.ID, id, r.Charges, rec); err != nil {
			return err
		}
	}
	return nil
}

// modelCost returns what an answer did cost. A model that has no price by the name it answers
// with, as providers add a date to theirs, costs what was reckoned with.
func (t *turnState) modelCost(r reservation, res llm.Response, took time.Duration) func(caxton.Unit) int64 {
	in, out := int64(res.Usage.InputTokens), int64(res.Usage.OutputTokens)
	price, priced := t.a.h.cfg.price(llm.Info{Provider: res.Provider, Model: res.Model}, res.Model)
	if !priced {
		price = r.price
	}
	return func(u caxton.Unit) int64 {
		switch u {
		case caxton.Tokens:
			return in + out
		case caxton.Money:
			return price.Of(in, out)
		case caxton.WallTime:
			return took.Milliseconds()
		case caxton.ToolCalls:
		}
		return 0
	}
}

// bookFailedModel books a call that failed: with nothing but its time when the provider did
// no work, else in full, because nobody knows what it will charge.
func (t *turnState) bookFailedModel(ctx context.Context, r reservation, failure error, took time.Duration) error {
	if r.id == "" {
		return nil
	}
	full := map[caxton.Unit]int64{}
	for _, c := range r.charges {
		full[c.Unit] = c.Amount
	}
	idle := false
	switch caxton.KindOf(failure) {
	case caxton.Unavailable, caxton.Exhausted, caxton.Unauthenticated, caxton.Forbidden, caxton.Invalid, caxton.NotFound:
		idle = true
	case caxton.Malformed, caxton.Conflict, caxton.TooLarge, caxton.Canceled, caxton.Internal, caxton.Timeout:
	}
	records, charges, err := t.settled(r, func(u caxton.Unit) int64 {
		switch {
		case u == caxton.WallTime:
			return took.Milliseconds()
		case idle:
			return 0
		}
		return full[u]
	})
	if err != nil {
		return err
	}
	return t.a.h.log.Book(context.WithoutCancel(ctx), t.turn.Message.ID, r.id, charges, records...)
}

// toolCost returns what a tool call did cost.
func (r reservation) toolCost(took time.Duration) func(caxton.Unit) int64 {
	return func(u caxton.Unit) int64 {
		switch u {
		case caxton.ToolCalls:
			return 1
		case caxton.WallTime:
			return took.Milliseconds()
		case caxton.Tokens, caxton.Money:
		}
		return 0
	}
}

// waitCost returns what a call did cost that has not come to its end and runs again: time.
func (r reservation) waitCost(took time.Duration) func(caxton.Unit) int64 {
	return func(u caxton.Unit) int64 {
		if u == caxton.WallTime {
			return took.Milliseconds()
		}
		return 0
	}
}

// dearest returns the highest prices of the models that may answer, each for itself, and the
// name of one that has none, or "". The model that was asked for is the first one's.
func (t *turnState) dearest(model string) (p caxton.Price, unpriced string) {
	infos := []llm.Info{t.a.model.Info()}
	if c, ok := t.a.model.(interface{ Infos() []llm.Info }); ok {
		infos = c.Infos()
	}
	for i, info := range infos {
		name := cmp.Or(model, info.Model)
		if i > 0 {
			name = info.Model
		}
		q, priced := t.a.h.cfg.price(info, name)
		if !priced {
			unpriced = cmp.Or(unpriced, name, info.Provider)
		}
		p.Input, p.Output = max(p.Input, q.Input), max(p.Output, q.Output)
	}
	return p, unpriced
}

// price returns what a model costs: by "provider/model", by its name, or nothing for the
// answerer that is built in.
func (c *Config) price(info llm.Info, model string) (caxton.Price, bool) {
	model = cmp.Or(model, info.Model)
	if p, ok := c.Prices[info.Provider+"/"+model]; ok {
		return p, true
	}
	if p, ok := c.Prices[model]; ok {
		return p, true
	}
	return caxton.Price{}, info.Provider == "builtin"
}
