// Package memjournal is the journal for messaging.durability "memory": it keeps the log of
// each conversation in memory and loses it with the process. It is for benchmarks and
// throw-away work. It owns the logs and their bounds; it refuses to write anything down.
//
// It does what internal/sqlite does, under one mutex and without waiting, and passes the
// same suite (internal/journaltest). The router's and the agents' goroutines call it, any
// number at once.
package memjournal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/caxton/caxton"
)

// Config bounds the journal. Zero fields mean the defaults given here.
type Config struct {
	MaxConversations int              // 10,000; the idle ones that were quiet longest go first
	MaxBlobs         int              // full tool results kept: 1,000; the oldest go first
	Now              func() time.Time // time.Now
	Feed             Feed             // is told of records; nil for nobody
}

// A Feed spreads records. *event.Feed provides it.
type Feed interface {
	Active() bool
	PublishRecords(records []caxton.Record)
}

// A Journal keeps conversations in memory. It is safe for concurrent use.
type Journal struct {
	cfg Config

	mu       sync.Mutex // guards all below
	convs    map[caxton.ConversationID]*conversation
	quiet    conversation // head of the ring of all, by their newest record: next is the one quiet longest
	messages map[caxton.MessageID]place
	pending  map[caxton.MessageID]*caxton.Delivery
	blobs    map[string]blob
	blobAge  []string
	counter  int64
	position int64 // of the last record in the log of all conversations

	tickets      map[ticketKey]caxton.Ticket
	accounts     map[accountKey]caxton.BudgetUse
	reservations map[caxton.MessageID]map[string][]caxton.Charge
}

type conversation struct {
	id      caxton.ConversationID
	created time.Time
	parent  caxton.ConversationID
	number  int64 // order of appearance
	active  int   // pending messages in it
	closed  bool  // archived
	log     []entry
	first   [usual]entry // of log, unless it has grown

	prev, next *conversation // in the ring
}

// An entry is a record whose body is made only when somebody reads it.
type entry struct {
	n        int64 // position in the log of all conversations
	at       time.Time
	kind     caxton.RecordKind
	msg      caxton.MessageID
	agent    caxton.AgentID
	delivery *caxton.Delivery    // for kind message
	settled  *caxton.SettledBody // for kind settled
	body     json.RawMessage     // for all others
}

// usual is how many records a conversation has when one message was answered.
const usual = 3

type place struct {
	conv *conversation
	pos  int
}

type blob struct {
	mediaType string
	data      []byte
}

// New returns an empty journal.
func New(cfg Config) *Journal {
	cfg.MaxConversations = cmp.Or(cfg.MaxConversations, 10_000)
	cfg.MaxBlobs = cmp.Or(cfg.MaxBlobs, 1_000)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	j := &Journal{
		cfg: cfg, convs: map[caxton.ConversationID]*conversation{}, messages: map[caxton.MessageID]place{},
		pending: map[caxton.MessageID]*caxton.Delivery{}, blobs: map[string]blob{}, tickets: map[ticketKey]caxton.Ticket{},
		accounts: map[accountKey]caxton.BudgetUse{}, reservations: map[caxton.MessageID]map[string][]caxton.Charge{},
	}
	j.quiet.prev, j.quiet.next = &j.quiet, &j.quiet
	return j
}

// Accept stores a message and makes it pending for its receiver, once per ID. See
// sqlite.DB.Accept.
func (j *Journal) Accept(_ context.Context, d caxton.Delivery, _ bool) (stored caxton.Delivery, duplicate bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if p, ok := j.messages[d.Message.ID]; ok {
		return *p.conv.log[p.pos].delivery, true, nil
	}
	if c := j.convs[d.Message.ConversationID]; c != nil && c.closed {
		return d, false, errArchived(c.id)
	}
	j.accept(&d)
	return d, false, nil
}

func (j *Journal) accept(d *caxton.Delivery) {
	m := &d.Message
	c := j.convs[m.ConversationID]
	if c == nil {
		if len(j.convs) >= j.cfg.MaxConversations {
			j.evict()
		}
		j.counter++
		c = &conversation{id: m.ConversationID, created: m.CreatedAt, number: j.counter, parent: m.Parent}
		c.log = c.first[:0]
		j.convs[c.id] = c
	}
	stored := *d
	j.messages[m.ID] = place{c, len(c.log)}
	j.log(c, entry{at: m.CreatedAt, kind: caxton.RecordMessage, msg: m.ID, agent: m.ReceiverID, delivery: &stored})
	if m.ReceiverID != "" {
		c.active++
		j.pending[m.ID] = &stored
	}
}

// evict forgets some conversations that were quiet longest, idle ones only: all that is to be
// looked at for it was touched long ago, so that most messages better have nothing to do with
// it. Those that are not idle go to the end of the ring, where they would come anyway when
// they are. It looks at a few, so that no message waits long for it.
func (j *Journal) evict() {
	left := 2 + j.cfg.MaxConversations/500
	for range 4 * left {
		c := j.quiet.next
		switch {
		case left == 0 || c == &j.quiet:
			return
		case c.active > 0:
			j.stir(c)
			continue
		}
		for i := range c.log {
			if c.log[i].kind == caxton.RecordMessage {
				delete(j.messages, c.log[i].msg)
			}
		}
		delete(j.convs, c.id)
		c.leave()
		left--
	}
}

// leave takes c out of the ring.
func (c *conversation) leave() {
	if c.prev != nil {
		c.prev.next, c.next.prev = c.next, c.prev
	}
}

// stir moves c to the end of the ring: it is the one that was quiet shortest.
func (j *Journal) stir(c *conversation) {
	if j.quiet.prev == c {
		return
	}
	c.leave()
	c.prev, c.next = j.quiet.prev, &j.quiet
	c.prev.next, c.next.prev = c, c
}

// log adds an entry to a conversation's log and tells who listens.
func (j *Journal) log(c *conversation, e entry) {
	j.position++
	e.n = j.position
	c.log = append(c.log, e)
	j.stir(c)
	if j.cfg.Feed == nil || !j.cfg.Feed.Active() {
		return
	}
	if r, err := c.record(len(c.log) - 1); err == nil {
		j.cfg.Feed.PublishRecords([]caxton.Record{r})
	}
}

// record prints the entry at a position of the log.
func (c *conversation) record(i int) (caxton.Record, error) {
	e := &c.log[i]
	body := e.body
	var err error
	switch {
	case e.delivery != nil:
		body, err = json.Marshal(e.delivery.Body())
	case e.settled != nil:
		body, err = json.Marshal(e.settled)
	}
	if err != nil {
		return caxton.Record{}, caxton.Errorf(caxton.Internal, "journal_unreadable", "a record cannot be printed").WithCause(err)
	}
	return caxton.Record{
		ConversationID: c.id, Seq: int64(i) + 1, N: e.n, At: e.at, Kind: e.kind, MessageID: e.msg, AgentID: e.agent, Body: body,
	}, nil
}

// last returns when something happened last. The records of a fork are older than itself.
func (c *conversation) last() time.Time {
	if at := c.log[len(c.log)-1].at; at.After(c.created) {
		return at
	}
	return c.created
}

// Append adds records to their conversations' logs, all or none.
func (j *Journal) Append(_ context.Context, records ...caxton.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.appendAll(records)
}

func (j *Journal) appendAll(records []caxton.Record) error {
	for i := range records {
		switch c := j.convs[records[i].ConversationID]; {
		case c == nil:
			return errNoConversation(records[i].ConversationID)
		case c.closed:
			return errArchived(c.id)
		}
	}
	for _, r := range records {
		if r.At.IsZero() {
			r.At = j.cfg.Now()
		}
		j.log(j.convs[r.ConversationID], entry{at: r.At, kind: r.Kind, msg: r.MessageID, agent: r.AgentID, body: r.Body})
	}
	return nil
}

// Leased records that leases were taken.
func (j *Journal) Leased(_ context.Context, leases ...caxton.Lease) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range leases {
		l := &leases[i]
		p := j.pending[l.Message.ID]
		if p == nil || p.Attempt >= l.Attempt {
			continue
		}
		body, err := json.Marshal(caxton.LeasedBody{Attempt: l.Attempt, Version: l.Version})
		if err != nil {
			return err
		}
		p.Attempt = l.Attempt
		j.add(&l.Message, l.LeasedAt, entry{kind: caxton.RecordLeased, body: body})
	}
	return nil
}

// Release records that an attempt ended without success.
func (j *Journal) Release(_ context.Context, l caxton.Lease, cause string, notBefore time.Time) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.putBack(l, notBefore, caxton.RecordReleased, caxton.ReleasedBody{Attempt: l.Attempt, Error: cause, NotBefore: notBefore})
}

// Park records that a message was put aside. See sqlite.DB.Park.
func (j *Journal) Park(_ context.Context, l caxton.Lease, p caxton.Parked) (time.Time, error) {
	l.Parked++
	j.mu.Lock()
	defer j.mu.Unlock()
	effective := p.Until
	if p.Ticket && !j.waits(l.Message.ID, caxton.Approval) {
		effective = time.Time{}
	}
	return effective, j.putBack(l, effective, caxton.RecordParked, caxton.ParkedBody{Attempt: l.Attempt, Reason: p.Reason, Until: p.Until})
}

func (j *Journal) putBack(l caxton.Lease, notBefore time.Time, kind caxton.RecordKind, what any) error {
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	p := j.pending[l.Message.ID]
	if p == nil {
		return errSettled(l.Message.ID)
	}
	p.Attempt, p.Parked, p.NotBefore = l.Attempt, l.Parked, notBefore
	j.add(&l.Message, j.cfg.Now(), entry{kind: kind, body: body})
	return nil
}

// Settle ends a message together with its outputs. See sqlite.DB.Settle.
func (j *Journal) Settle(_ context.Context, s caxton.Settlement) error {
	sb := &caxton.SettledBody{
		Outcome: s.Outcome, Attempt: s.Lease.Attempt, Version: s.Lease.Version, LeasedAt: s.Lease.LeasedAt,
		Error: s.Error, Code: s.Code, Tickets: s.Tickets, Module: s.Module,
	}
	for i := range s.Outputs {
		sb.Outputs = append(sb.Outputs, s.Outputs[i].Message.ID)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	id := s.Lease.Message.ID
	if j.pending[id] == nil {
		return errSettled(id)
	}
	for i, out := range sb.Outputs {
		if _, known := j.messages[out]; known || slices.Contains(sb.Outputs[:i], out) {
			return caxton.Errorf(caxton.Conflict, "message_known", "message %s was accepted before", out)
		}
	}
	delete(j.pending, id)
	j.convs[s.Lease.Message.ConversationID].active--
	for i := range s.Outputs {
		j.accept(&s.Outputs[i])
	}
	for _, t := range s.Tickets {
		t.Decisions = j.tickets[ticketKey{t.Kind, t.ID}].Decisions
		j.tickets[ticketKey{t.Kind, t.ID}] = t
	}
	if err := j.bookLost(&s.Lease.Message, s.At); err != nil {
		return err
	}
	if s.Lease.Parked > 0 {
		if err := j.withdraw(&s); err != nil {
			return err
		}
	}
	j.add(&s.Lease.Message, s.At, entry{kind: caxton.RecordSettled, settled: sb})
	return nil
}

func (j *Journal) add(m *caxton.Message, at time.Time, e entry) {
	c := j.convs[m.ConversationID]
	e.at, e.msg, e.agent = at, m.ID, m.ReceiverID
	j.log(c, e)
}

// Pending returns every delivery that was accepted and not settled, oldest first.
func (j *Journal) Pending(context.Context) ([]caxton.Delivery, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	ds := make([]caxton.Delivery, 0, len(j.pending))
	for _, d := range j.pending {
		ds = append(ds, *d)
	}
	slices.SortFunc(ds, func(a, b caxton.Delivery) int {
		return cmp.Compare(j.acceptedAt(a.Message.ID), j.acceptedAt(b.Message.ID))
	})
	return ds, nil
}

// acceptedAt returns the position in the log of the server at which a message was accepted.
func (j *Journal) acceptedAt(id caxton.MessageID) int64 {
	p := j.messages[id]
	return p.conv.log[p.pos].n
}

// Turn returns what the log holds about the handling of one message, oldest first.
func (j *Journal) Turn(_ context.Context, conv caxton.ConversationID, id caxton.MessageID) ([]caxton.Record, error) {
	return j.records(conv, 0, 1<<30, func(e *entry) bool { return e.msg == id && e.kind != caxton.RecordMessage })
}

// Records returns a conversation's log from the record after the given position.
func (j *Journal) Records(_ context.Context, conv caxton.ConversationID, after int64, limit int) ([]caxton.Record, error) {
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	j.mu.Lock()
	known := j.convs[conv] != nil
	j.mu.Unlock()
	if !known {
		return nil, errNoConversation(conv)
	}
	return j.records(conv, after, limit, func(*entry) bool { return true })
}

func (j *Journal) records(conv caxton.ConversationID, after int64, limit int, want func(*entry) bool) ([]caxton.Record, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.convs[conv]
	if c == nil {
		return nil, nil
	}
	var rs []caxton.Record
	for i := max(0, int(after)); i < len(c.log) && len(rs) < limit; i++ {
		e := &c.log[i]
		if !want(e) {
			continue
		}
		r, err := c.record(i)
		if err != nil {
			return nil, err
		}
		rs = append(rs, r)
	}
	return rs, nil
}

// History returns the messages of a conversation that came before the message given.
func (j *Journal) History(_ context.Context, conv caxton.ConversationID, before caxton.MessageID, limit int) ([]caxton.Message, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.convs[conv]
	if c == nil {
		return nil, nil
	}
	end := len(c.log)
	if p, ok := j.messages[before]; ok && p.conv == c {
		end = p.pos
	}
	var ms []caxton.Message
	for i := end - 1; i >= 0 && len(ms) < limit; i-- {
		if c.log[i].delivery != nil {
			ms = append(ms, c.log[i].delivery.Message)
		}
	}
	slices.Reverse(ms)
	return ms, nil
}

// Messages returns all messages of a conversation, oldest first.
func (j *Journal) Messages(ctx context.Context, conv caxton.ConversationID) ([]caxton.Message, error) {
	return j.History(ctx, conv, "", 10_000)
}

// Message returns what the journal knows of a message, or NotFound.
func (j *Journal) Message(_ context.Context, id caxton.MessageID) (caxton.MessageStatus, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p, ok := j.messages[id]
	if !ok {
		return caxton.MessageStatus{}, caxton.Errorf(caxton.NotFound, "message_not_found", "there is no message %s", id)
	}
	d := p.conv.log[p.pos].delivery
	st := caxton.MessageStatus{Message: d.Message, Routing: d.Routing, Settled: d.Message.ReceiverID == ""}
	if j.pending[id] != nil {
		return st, nil
	}
	for i := len(p.conv.log) - 1; i > p.pos; i-- {
		e := &p.conv.log[i]
		if e.settled == nil || e.msg != id {
			continue
		}
		st.Settled, st.Outcome, st.Error, st.Code, st.Attempt = true, e.settled.Outcome, e.settled.Error, e.settled.Code, e.settled.Attempt
		for _, out := range e.settled.Outputs {
			if o, ok := j.messages[out]; ok {
				st.Replies = append(st.Replies, o.conv.log[o.pos].delivery.Message)
			}
		}
		break
	}
	return st, nil
}

// Thread returns what a message that continues a conversation needs to know of it. See
// sqlite.DB.Thread.
func (j *Journal) Thread(_ context.Context, conv caxton.ConversationID, agent caxton.AgentID) (caxton.Thread, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.convs[conv].thread(agent), nil
}

func (c *conversation) thread(agent caxton.AgentID) (t caxton.Thread) {
	if c == nil {
		return t
	}
	for i := range c.log {
		if d := c.log[i].delivery; d != nil {
			t.Parent, t.Root, t.Depth = d.Message.Parent, d.Message.Root, d.Message.Depth
			break
		}
	}
	for _, v := range slices.Backward(c.log) {
		if d := v.delivery; d != nil && d.Message.ReceiverID == agent {
			t.Version = d.Version
			break
		}
	}
	return t
}

// Conversation returns one conversation, or NotFound.
func (j *Journal) Conversation(_ context.Context, id caxton.ConversationID) (caxton.Conversation, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.convs[id]
	if c == nil {
		return caxton.Conversation{}, errNoConversation(id)
	}
	return c.view(), nil
}

// Conversations returns a page of the conversations that q selects, newest activity first.
func (j *Journal) Conversations(_ context.Context, q caxton.ConversationQuery) (page []caxton.Conversation, next string, err error) {
	limit := q.Limit
	if limit <= 0 || limit > 200 {
		limit = 50
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var before *conversation
	if q.Before != "" {
		if before = j.convs[caxton.ConversationID(q.Before)]; before == nil {
			return nil, "", caxton.Errorf(caxton.Invalid, "cursor_invalid", "%q is not a cursor", q.Before).WithHint("use the \"next\" of the page before")
		}
	}
	var all []*conversation
	for _, c := range j.convs {
		if (before == nil || order(c, before) > 0) && c.matches(q) {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, order)
	for _, c := range all[:min(len(all), limit)] {
		page = append(page, c.view())
	}
	if len(all) > limit {
		next = string(all[limit-1].id)
	}
	return page, next, nil
}

func order(a, b *conversation) int {
	return cmp.Or(b.last().Compare(a.last()), cmp.Compare(b.number, a.number))
}

func (c *conversation) matches(q caxton.ConversationQuery) bool {
	if q.State != "" && c.state() != q.State || !q.Since.IsZero() && c.last().Before(q.Since) ||
		!q.Until.IsZero() && c.last().After(q.Until) || !q.BegunBy.IsZero() && c.created.After(q.BegunBy) {
		return false
	}
	if q.Participant != "" && !slices.ContainsFunc(c.log, func(e entry) bool {
		return e.delivery != nil && (e.delivery.Message.Sender == q.Participant || e.delivery.Message.Receiver == q.Participant)
	}) {
		return false
	}
	return q.Agent == "" || slices.ContainsFunc(c.log, func(e entry) bool { return e.agent == q.Agent })
}

func (c *conversation) state() caxton.ConversationState {
	if c.closed {
		return caxton.ConversationArchived
	}
	if c.active > 0 {
		return caxton.ConversationActive
	}
	return caxton.ConversationIdle
}

func (c *conversation) view() caxton.Conversation {
	v := caxton.Conversation{ID: c.id, Parent: c.parent, State: c.state(), CreatedAt: c.created, LastActivity: c.last()}
	for i := range c.log {
		d := c.log[i].delivery
		if d == nil {
			continue
		}
		v.Messages++
		for _, n := range []string{d.Message.Sender, d.Message.Receiver} {
			if n != "" && !slices.Contains(v.Participants, n) && v.Messages <= 100 {
				v.Participants = append(v.Participants, n)
			}
		}
	}
	return v
}

// PutBlob keeps data under the SHA-256 of its content, in hex.
func (j *Journal) PutBlob(_ context.Context, data []byte, mediaType string) (string, error) {
	sum := sha256.Sum256(data)
	hash := hex.EncodeToString(sum[:])
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, ok := j.blobs[hash]; !ok {
		if len(j.blobs) >= j.cfg.MaxBlobs {
			delete(j.blobs, j.blobAge[0])
			j.blobAge = j.blobAge[1:]
		}
		j.blobs[hash] = blob{mediaType, slices.Clone(data)}
		j.blobAge = append(j.blobAge, hash)
	}
	return hash, nil
}

// Blob returns what PutBlob kept under hash, or NotFound.
func (j *Journal) Blob(_ context.Context, hash string) ([]byte, string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	b, ok := j.blobs[hash]
	if !ok {
		return nil, "", caxton.Errorf(caxton.NotFound, "blob_not_found", "there is no stored result %s", hash)
	}
	return b.data, b.mediaType, nil
}

// ToolUses counts the calls of every tool by every agent, over the kept conversations.
func (j *Journal) ToolUses(context.Context) ([]caxton.AgentTools, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	uses := map[caxton.AgentID]map[string]int64{}
	for _, c := range j.convs {
		for i := range c.log {
			e := &c.log[i]
			var b caxton.ToolIntendedBody
			if e.kind != caxton.RecordToolIntended || json.Unmarshal(e.body, &b) != nil {
				continue
			}
			if uses[e.agent] == nil {
				uses[e.agent] = map[string]int64{}
			}
			uses[e.agent][b.Tool]++
		}
	}
	var all []caxton.AgentTools
	for id, m := range uses {
		all = append(all, caxton.AgentTools{AgentID: id, Uses: m})
	}
	slices.SortFunc(all, func(a, b caxton.AgentTools) int { return cmp.Compare(a.AgentID, b.AgentID) })
	return all, nil
}

func errSettled(id caxton.MessageID) error {
	return caxton.Errorf(caxton.Conflict, "already_settled", "message %s is already settled", id)
}

func errNoConversation(id caxton.ConversationID) error {
	return caxton.Errorf(caxton.NotFound, "conversation_not_found", "there is no conversation %s", id).
		WithHint("caxton conversations list shows the ones there are")
}

func errArchived(id caxton.ConversationID) error {
	return caxton.Errorf(caxton.Conflict, "conversation_archived", "conversation %s is archived", id).WithHint("start a new conversation")
}
