package memjournal

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
)

type ticketKey struct {
	kind caxton.TicketKind
	id   string
}

type accountKey struct {
	name string
	unit caxton.Unit
}

// Open adds records together with the tickets that they open. See sqlite.DB.Open.
func (j *Journal) Open(_ context.Context, tickets []caxton.Ticket, records ...caxton.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.appendAll(records); err != nil {
		return err
	}
	for _, t := range tickets {
		if !j.tickets[ticketKey{t.Kind, t.ID}].State.Open() {
			j.tickets[ticketKey{t.Kind, t.ID}] = t
		}
	}
	return nil
}

// Amend changes a ticket, the log, and its message. See sqlite.DB.Amend.
func (j *Journal) Amend(_ context.Context, kind caxton.TicketKind, id string, change func(caxton.Ticket) (caxton.Amendment, error)) (caxton.Ticket, *caxton.Delivery, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	old, ok := j.tickets[ticketKey{kind, id}]
	if !ok {
		return old, nil, errNoTicket(kind, id)
	}
	a, err := change(old)
	if err != nil {
		return old, nil, err
	}
	msg := a.Ticket.MessageID
	pending := j.pending[msg]
	if a.Wake == caxton.WakeReopen && pending != nil {
		return old, nil, caxton.Errorf(caxton.Conflict, "message_not_settled", "message %s is still being handled", msg)
	}
	if err := j.appendAll(a.Records); err != nil {
		return old, nil, err
	}
	j.tickets[ticketKey{kind, id}] = a.Ticket
	if j.waits(msg, kind) {
		a.Wake = caxton.WakeNot // for that one too
	}
	switch a.Wake {
	case caxton.WakeNot:
		return a.Ticket, nil, nil
	case caxton.WakeNow:
		if pending == nil {
			return a.Ticket, nil, nil
		}
		pending.NotBefore = time.Time{}
	case caxton.WakeReopen:
		if pending = j.reopen(msg); pending == nil {
			return a.Ticket, nil, nil
		}
	}
	d := *pending
	return a.Ticket, &d, nil
}

// waits reports whether a ticket of the message is open.
func (j *Journal) waits(msg caxton.MessageID, kind caxton.TicketKind) bool {
	for _, t := range j.tickets {
		if t.Kind == kind && t.MessageID == msg && t.State.Open() {
			return true
		}
	}
	return false
}

// reopen makes a settled message pending again.
func (j *Journal) reopen(msg caxton.MessageID) *caxton.Delivery {
	p, ok := j.messages[msg]
	if !ok {
		return nil
	}
	d := p.conv.log[p.pos].delivery
	d.Outputs = 0
	for i := p.pos + 1; i < len(p.conv.log); i++ {
		if e := &p.conv.log[i]; e.settled != nil && e.msg == msg {
			d.Outputs += len(e.settled.Outputs)
			d.Attempt = max(d.Attempt, e.settled.Attempt)
		}
	}
	d.Parked, d.NotBefore = d.Attempt, time.Time{}
	j.pending[msg] = d
	p.conv.active++
	return d
}

// withdraw closes the approvals of a message that is being settled.
func (j *Journal) withdraw(s *caxton.Settlement) error {
	var open []caxton.Ticket
	for _, t := range j.tickets {
		if t.Kind == caxton.Approval && t.MessageID == s.Lease.Message.ID && t.State.Open() {
			open = append(open, t)
		}
	}
	slices.SortFunc(open, func(a, b caxton.Ticket) int { return cmp.Compare(a.ID, b.ID) })
	for _, t := range open {
		t, what := t.Withdraw(s.Outcome, s.At)
		body, err := json.Marshal(what)
		if err != nil {
			return err
		}
		j.tickets[ticketKey{t.Kind, t.ID}] = t
		j.add(&s.Lease.Message, s.At, entry{kind: caxton.RecordDecided, body: body})
	}
	return nil
}

// Ticket returns one ticket, or NotFound.
func (j *Journal) Ticket(_ context.Context, kind caxton.TicketKind, id string) (caxton.Ticket, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t, ok := j.tickets[ticketKey{kind, id}]
	if !ok {
		return t, errNoTicket(kind, id)
	}
	return t, nil
}

// Tickets returns a page of the tickets that q selects, newest first.
func (j *Journal) Tickets(_ context.Context, q caxton.TicketQuery) (page []caxton.Ticket, next string, err error) {
	limit := q.Limit
	if limit <= 0 || limit > 200 {
		limit = 50
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var before caxton.Ticket
	if q.Before != "" {
		var ok bool
		if before, ok = j.tickets[ticketKey{q.Kind, q.Before}]; !ok {
			return nil, "", caxton.Errorf(caxton.Invalid, "cursor_invalid", "%q is not a cursor", q.Before).WithHint("use the \"next\" of the page before")
		}
	}
	for _, t := range j.tickets {
		if (q.Before == "" || newest(t, before) > 0) && selects(q, &t) {
			page = append(page, t)
		}
	}
	slices.SortFunc(page, newest)
	if len(page) > limit {
		page = page[:limit]
		next = page[limit-1].ID
	}
	return page, next, nil
}

func newest(a, b caxton.Ticket) int {
	return cmp.Or(b.OpenedAt.Compare(a.OpenedAt), cmp.Compare(b.ID, a.ID))
}

func selects(q caxton.TicketQuery, t *caxton.Ticket) bool {
	return t.Kind == q.Kind && (!q.Open || t.State.Open()) && (q.State == "" || t.State == q.State) &&
		(q.ConversationID == "" || t.ConversationID == q.ConversationID) &&
		(q.MessageID == "" || t.MessageID == q.MessageID) && (q.AgentID == "" || t.AgentID == q.AgentID)
}

// OpenTickets counts the tickets that wait, by kind.
func (j *Journal) OpenTickets(context.Context) (map[caxton.TicketKind]int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	counts := map[caxton.TicketKind]int{}
	for _, t := range j.tickets {
		if t.State.Open() {
			counts[t.Kind]++
		}
	}
	return counts, nil
}

// Reserve holds back what calls can cost at most. See sqlite.DB.Reserve.
func (j *Journal) Reserve(_ context.Context, rs []caxton.Reservation, records ...caxton.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	totals := caxton.Totals(rs)
	missing := map[caxton.Account]bool{} // accounts that are not there and get no cap now
	for i := range totals {
		c := &totals[i]
		u, known := j.accounts[accountKey{c.Name, c.Unit}]
		if c.Cap < 0 && !known {
			missing[c.Account] = true
			continue
		}
		*c = c.Under(u.Cap)
		if err := c.Fits(u.Spent, u.Reserved); err != nil {
			return err
		}
	}
	if err := j.appendAll(records); err != nil {
		return err
	}
	for _, c := range totals {
		if missing[c.Account] {
			continue
		}
		u := j.accounts[accountKey{c.Name, c.Unit}]
		u.Name, u.Unit, u.Cap, u.At = c.Name, c.Unit, c.Cap, j.cfg.Now()
		u.Reserved += c.Amount
		j.accounts[accountKey{c.Name, c.Unit}] = u
	}
	for _, r := range rs {
		if j.reservations[r.MessageID] == nil {
			j.reservations[r.MessageID] = map[string][]caxton.Charge{}
		}
		j.reservations[r.MessageID][r.ID] = slices.DeleteFunc(slices.Clone(r.Charges), func(c caxton.Charge) bool { return missing[c.Account] })
	}
	return nil
}

// Book settles a reservation. See sqlite.DB.Book.
func (j *Journal) Book(_ context.Context, msg caxton.MessageID, id string, cost []caxton.Charge, records ...caxton.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.appendAll(records); err != nil {
		return err
	}
	j.book(msg, id, cost)
	return nil
}

func (j *Journal) book(msg caxton.MessageID, id string, cost []caxton.Charge) {
	for _, h := range j.reservations[msg][id] {
		u := j.accounts[accountKey{h.Name, h.Unit}]
		u.Reserved -= h.Amount
		u.At = j.cfg.Now()
		for _, c := range cost {
			if c.Name == h.Name && c.Unit == h.Unit {
				u.Spent += c.Amount
			}
		}
		j.accounts[accountKey{h.Name, h.Unit}] = u
	}
	delete(j.reservations[msg], id)
	if len(j.reservations[msg]) == 0 {
		delete(j.reservations, msg)
	}
}

func (j *Journal) bookLost(m *caxton.Message, at time.Time) error {
	for id, held := range j.reservations[m.ID] {
		body, err := json.Marshal(caxton.BudgetSettledBody{ID: id, Cost: held, Lost: true})
		if err != nil {
			return err
		}
		j.book(m.ID, id, held)
		j.add(m, at, entry{kind: caxton.RecordBudgetSettled, body: body})
	}
	return nil
}

// BudgetUses returns the accounts whose names begin with the prefix, by name.
func (j *Journal) BudgetUses(_ context.Context, prefix string) ([]caxton.BudgetUse, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var us []caxton.BudgetUse
	for k, u := range j.accounts {
		if strings.HasPrefix(k.name, prefix) {
			us = append(us, u)
		}
	}
	slices.SortFunc(us, func(a, b caxton.BudgetUse) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Unit, b.Unit))
	})
	return us, nil
}

func errNoTicket(kind caxton.TicketKind, id string) error {
	return caxton.Errorf(caxton.NotFound, string(kind)+"_not_found", "there is no %s %s", kind.Noun(), id)
}
