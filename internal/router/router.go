package router

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/telemetry"
	"github.com/prometheus/client_golang/prometheus"
)

// A Journal keeps the log of every conversation. *sqlite.DB and *memjournal.Journal provide it.
type Journal interface {
	Accept(ctx context.Context, d caxton.Delivery, fresh bool) (stored caxton.Delivery, duplicate bool, err error)
	Append(ctx context.Context, records ...caxton.Record) error
	Leased(ctx context.Context, leases ...caxton.Lease) error
	Release(ctx context.Context, l caxton.Lease, cause string, notBefore time.Time) error
	Park(ctx context.Context, l caxton.Lease, p caxton.Parked) (time.Time, error)
	Settle(ctx context.Context, s caxton.Settlement) error
	Pending(ctx context.Context) ([]caxton.Delivery, error)
	Turn(ctx context.Context, conv caxton.ConversationID, id caxton.MessageID) ([]caxton.Record, error)
	Message(ctx context.Context, id caxton.MessageID) (caxton.MessageStatus, error)
	Thread(ctx context.Context, conv caxton.ConversationID, agent caxton.AgentID) (caxton.Thread, error)
	Conversation(ctx context.Context, id caxton.ConversationID) (caxton.Conversation, error)
	Conversations(ctx context.Context, q caxton.ConversationQuery) ([]caxton.Conversation, string, error)
	Records(ctx context.Context, id caxton.ConversationID, after int64, limit int) ([]caxton.Record, error)
	Messages(ctx context.Context, id caxton.ConversationID) ([]caxton.Message, error)
	Amend(ctx context.Context, kind caxton.TicketKind, id string, change func(caxton.Ticket) (caxton.Amendment, error)) (caxton.Ticket, *caxton.Delivery, error)
	Ticket(ctx context.Context, kind caxton.TicketKind, id string) (caxton.Ticket, error)
	Tickets(ctx context.Context, q caxton.TicketQuery) ([]caxton.Ticket, string, error)
	OpenTickets(ctx context.Context) (map[caxton.TicketKind]int, error)
	BudgetUses(ctx context.Context, prefix string) ([]caxton.BudgetUse, error)
	Import(ctx context.Context, records []caxton.Record) ([]caxton.Delivery, error)
	Archive(ctx context.Context, id caxton.ConversationID, b caxton.ArchivedBody, at time.Time) error
	Search(ctx context.Context, q caxton.MatchQuery) ([]caxton.Match, string, error)
}

// A Directory knows the agents. *registry.Registry provides it.
type Directory interface {
	Agent(id caxton.AgentID) (caxton.Agent, error)
	Resolve(ref string) (caxton.Agent, error)
	Providers(c caxton.Capability) []caxton.Agent
	Capabilities() []caxton.Capability
}

// Config tunes a Router. Zero fields mean the defaults given here.
type Config struct {
	Strategy   caxton.Strategy              // best_match
	QueueSize  int                          // messages waiting per agent, unless its definition says otherwise: 1000
	LeaseAfter time.Duration                // a lease that lasts longer is written down: 25 ms
	MaxMessage caxton.Size                  // content of one message: 1 MiB
	MaxDepth   int                          // conversations that come out of one another: 8
	Limits     Limits                       // of every conversation
	Available  func(id caxton.AgentID) bool // whether an agent takes messages now; nil means always
	Logger     *slog.Logger                 // discards
	Registerer prometheus.Registerer        // a registry of its own
	Now        func() time.Time             // time.Now
	NewID      func() string                // UUID version 7 (RFC 9562)
	Tracer     *telemetry.Tracer            // records nothing
}

// A Router routes messages. It is safe for concurrent use.
type Router struct {
	journal Journal
	dir     Directory
	cfg     Config
	metrics metrics
	closed  atomic.Bool // no new messages are taken
	turns   sync.Map    // caxton.Capability → *atomic.Uint64, for round_robin
	extents extents

	mu        sync.Mutex // guards all below
	boxes     map[caxton.AgentID]*mailbox
	open      map[caxton.MessageID]*exchange // accepted and not settled
	leases    map[caxton.MessageID]*item
	parking   map[caxton.MessageID]bool               // on their way to be parked; true when the decision came meanwhile
	waiting   map[caxton.MessageID][]caxton.MessageID // parked messages, by the message they wait for
	delayed   delayHeap
	deadlines deadlineHeap  // of messages that wait, and of some that are done
	crowded   int           // so many deadlines that those of messages that are done are taken out
	wake      chan struct{} // capacity 1: Run looks at the delayed messages again
}

// An exchange is an unsettled message and who waits for the answer to it.
type exchange struct {
	done     chan struct{}    // closed when settled; nil until somebody waits
	reply    *caxton.Message  // the first output, nil when there is none
	reopened bool             // sent back to work: its deadline counts no more
	again    *caxton.Delivery // sent back to work before Settle has come to the end
}

// New returns a Router over the journal and the directory. It starts nothing.
func New(journal Journal, dir Directory, cfg Config) *Router {
	cfg.Strategy = cmp.Or(cfg.Strategy, caxton.DefaultStrategy)
	cfg.QueueSize = cmp.Or(cfg.QueueSize, 1000)
	cfg.LeaseAfter = cmp.Or(cfg.LeaseAfter, 25*time.Millisecond)
	cfg.MaxMessage = cmp.Or(cfg.MaxMessage, caxton.MiB)
	cfg.MaxDepth = cmp.Or(cfg.MaxDepth, 8)
	if cfg.Available == nil {
		cfg.Available = func(caxton.AgentID) bool { return true }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NewID == nil {
		cfg.NewID = (&ids{}).next
	}
	r := &Router{
		journal: journal, dir: dir, cfg: cfg,
		boxes: map[caxton.AgentID]*mailbox{}, open: map[caxton.MessageID]*exchange{},
		leases: map[caxton.MessageID]*item{}, parking: map[caxton.MessageID]bool{},
		waiting: map[caxton.MessageID][]caxton.MessageID{}, wake: make(chan struct{}, 1),
	}
	r.metrics = newMetrics(cfg.Registerer, r)
	return r
}

// Close makes Send refuse new messages as Unavailable. What was accepted goes on.
func (r *Router) Close() { r.closed.Store(true) }

// Send accepts a message: it finds the receiver, stores the message, and queues it. When
// Send returns without error the message will be handled, whatever happens to the process,
// within what the journal's durability promises. A message whose ID was accepted before is
// not sent again: its receipt says so. Errors: Invalid (the message), NotFound (the receiver
// or capability), Exhausted (the mailbox is full), TooLarge, Unavailable (stopping).
func (r *Router) Send(ctx context.Context, m caxton.Message) (caxton.Receipt, error) {
	if !r.cfg.Tracer.On() {
		return r.send(ctx, m)
	}
	// The message carries on the trace from here: whoever handles it, after a restart too, finds
	// this span by it.
	ctx, span := r.cfg.Tracer.Start(ctx, telemetry.Sending, "send", "", m.TraceParent)
	m.TraceParent = telemetry.TraceParent(ctx)
	rc, err := r.send(ctx, m)
	describe(span, &m, &rc)
	span.End(err)
	return rc, err
}

// describe tells the span of a message what became of it.
func describe(span telemetry.Span, m *caxton.Message, rc *caxton.Receipt) {
	if !span.Recorded() {
		return
	}
	to := cmp.Or(rc.Agent, m.Capability.String())
	if to == "" && len(m.Receiver) <= 100 && caxton.Slug(m.Receiver) == m.Receiver {
		to = m.Receiver // an agent that is not there, or takes no more; any other text may be what was said
	}
	span.Rename("send", to)
	span.Set(
		telemetry.Str("messaging.system", "caxton"),
		telemetry.Str("messaging.operation.type", "send"),
		telemetry.Str("messaging.destination.name", rc.Agent),
		telemetry.Str("messaging.message.id", string(rc.MessageID)),
		telemetry.Str("messaging.message.conversation_id", string(rc.ConversationID)),
		telemetry.Int("messaging.message.body.size", len(m.Content)),
		telemetry.Str("caxton.message.performative", string(cmp.Or(m.Performative, caxton.Request))),
		telemetry.Str("caxton.routing.strategy", string(rc.Routing.Strategy)),
	)
	if len(rc.Others) > 0 {
		span.Int("messaging.batch.message_count", int64(1+len(rc.Others)))
	}
	if rc.Duplicate {
		span.Bool("caxton.message.duplicate", true)
	}
}

func (r *Router) send(ctx context.Context, m caxton.Message) (caxton.Receipt, error) {
	if r.closed.Load() {
		return caxton.Receipt{}, errDraining()
	}
	fresh := m.ID == ""
	if fresh {
		m.ID = caxton.MessageID(r.cfg.NewID())
	}
	m.Performative = cmp.Or(m.Performative, caxton.Request)
	m.Priority = cmp.Or(m.Priority, caxton.DefaultPriority)
	m.Sender = cmp.Or(m.Sender, "user")
	if err := m.Check(); err != nil {
		return caxton.Receipt{}, err
	}
	if caxton.Size(len(m.Content)) > r.cfg.MaxMessage {
		return caxton.Receipt{}, caxton.Errorf(caxton.TooLarge, "message_too_large", "the content has %d bytes, %s is the limit", len(m.Content), r.cfg.MaxMessage).
			WithHint("send less, or raise messaging.max_message_size")
	}
	if !fresh {
		if rc, known, err := r.known(ctx, m.ID); known || err != nil {
			return rc, err
		}
	}
	now := r.cfg.Now()
	if !m.ReplyBy.IsZero() && !m.ReplyBy.After(now) {
		return caxton.Receipt{}, caxton.Errorf(caxton.Invalid, "reply_by_passed", "the deadline reply_by has passed already").WithHint("give a later reply_by, or none")
	}
	m.CreatedAt = now
	continued := m.ConversationID != ""
	if !continued {
		m.ConversationID = caxton.ConversationID(r.cfg.NewID())
	}
	if cmp.Or(m.Strategy, r.cfg.Strategy) == caxton.Broadcast && !m.Capability.IsZero() {
		return r.broadcast(ctx, m, continued)
	}
	agent, routing, err := r.choose(ctx, &m, continued)
	if err != nil {
		r.metrics.refused.WithLabelValues(string(caxton.KindOf(err))).Inc()
		return caxton.Receipt{}, err
	}
	return r.dispatch(ctx, m, agent, routing, continued, fresh)
}

// dispatch sends a message to the agent that was chosen.
func (r *Router) dispatch(ctx context.Context, m caxton.Message, agent caxton.Agent, routing caxton.Routing, continued, fresh bool) (caxton.Receipt, error) {
	m.ReceiverID = agent.ID
	m.Receiver = cmp.Or(m.Receiver, agent.Slug)
	d := caxton.Delivery{Message: m, Routing: routing, Version: agent.VersionFor(m.ConversationID)}
	if continued {
		if err := r.within(ctx, &d.Message, &agent); err != nil {
			r.metrics.refused.WithLabelValues(string(caxton.KindOf(err))).Inc()
			return caxton.Receipt{}, err
		}
	}
	if continued || m.Parent != "" {
		if err := r.thread(ctx, &d, agent, continued); err != nil {
			return caxton.Receipt{}, err
		}
	}
	violation := r.protocol(ctx, &d.Message, continued)
	if violation != nil && caxton.KindOf(violation) != caxton.Invalid {
		return caxton.Receipt{}, violation
	}
	rc, err := r.accept(ctx, d, &agent, fresh, violation)
	if continued && (err != nil || rc.Duplicate) {
		r.forget(m.ConversationID) // it was counted, and did not come in
	}
	return rc, err
}

// broadcast sends one message to every provider of its capability, in one conversation. The
// copies have IDs that follow from the message's. When some cannot be sent, the receipt has
// those that were; when none can, it is the first error.
func (r *Router) broadcast(ctx context.Context, m caxton.Message, continued bool) (caxton.Receipt, error) {
	all := r.dir.Providers(m.Capability)
	if len(all) == 0 {
		return caxton.Receipt{}, r.errNoCapability(m.Capability)
	}
	cs, err := r.candidates(ctx, &m, all, continued)
	if err != nil {
		return caxton.Receipt{}, err
	}
	score(caxton.Broadcast, cs, all)
	var first caxton.Receipt
	var failed error
	base := m.ID
	for i, a := range all {
		m.ID = caxton.DeriveMessageIDFor(base, a.ID)
		rc, err := r.dispatch(ctx, m, a, caxton.Routing{Strategy: caxton.Broadcast, Candidates: cs}, continued || i > 0, false)
		switch {
		case err != nil:
			failed = cmp.Or(failed, err)
		case first.MessageID == "":
			first = rc
		default:
			first.Others = append(first.Others, rc)
		}
	}
	if first.MessageID == "" {
		return first, failed
	}
	if failed != nil {
		r.cfg.Logger.WarnContext(ctx, "broadcast incomplete", "message_id", base, "sent", len(first.Others)+1, "providers", len(all), "error", failed)
	}
	return first, nil
}

// thread fills in what a message has from its conversation: the version it began with,
// unless a deployment told conversations to move on or the version was withdrawn, and its
// place in the tree.
func (r *Router) thread(ctx context.Context, d *caxton.Delivery, a caxton.Agent, continued bool) error {
	m := &d.Message
	var th caxton.Thread
	var err error
	if continued {
		if th, err = r.journal.Thread(ctx, m.ConversationID, a.ID); err != nil {
			return err
		}
		d.Version = a.Continue(m.ConversationID, th.Version)
		if th.Parent != "" || m.Parent == "" || m.Parent == m.ConversationID {
			m.Parent, m.Root, m.Depth = th.Parent, th.Root, th.Depth
			return nil
		}
	}
	above, err := r.journal.Thread(ctx, m.Parent, a.ID)
	if err != nil {
		return err
	}
	m.Root, m.Depth = cmp.Or(above.Root, m.Parent), above.Depth+1
	if m.Depth > r.cfg.MaxDepth {
		return caxton.Errorf(caxton.Exhausted, "conversation_too_deep", "%d conversations came out of one another, %d is the limit", m.Depth, r.cfg.MaxDepth).
			WithHint("let an agent answer instead of asking another one, or raise messaging.max_depth")
	}
	return nil
}

// known returns the receipt of a message that was accepted before.
func (r *Router) known(ctx context.Context, id caxton.MessageID) (caxton.Receipt, bool, error) {
	st, err := r.journal.Message(ctx, id)
	if caxton.KindOf(err) == caxton.NotFound {
		return caxton.Receipt{}, false, nil
	}
	if err != nil {
		return caxton.Receipt{}, false, err
	}
	return receipt(&caxton.Delivery{Message: st.Message, Routing: st.Routing}, true), true, nil
}

func receipt(d *caxton.Delivery, duplicate bool) caxton.Receipt {
	return caxton.Receipt{
		MessageID: d.Message.ID, ConversationID: d.Message.ConversationID, AgentID: d.Message.ReceiverID,
		Agent: d.Message.Receiver, Routing: d.Routing, AcceptedAt: d.Message.CreatedAt, Duplicate: duplicate,
	}
}

// accept stores and queues a delivery. A place in the mailbox is taken first, so that a
// stored message never lacks one.
//
// A message that breaks its protocol is stored and answered with not-understood, and a
// cancel is done at once; the agent sees neither, and neither needs a place.
func (r *Router) accept(ctx context.Context, d caxton.Delivery, agent *caxton.Agent, fresh bool, violation error) (caxton.Receipt, error) {
	start := time.Now()
	aside := violation != nil || d.Message.Performative == caxton.Cancel // answered here
	r.mu.Lock()
	box := r.box(agent.ID)
	limit := cmp.Or(agent.Definition.Performance.QueueSize, r.cfg.QueueSize)
	if !aside && box.queued+box.reserved >= limit {
		r.mu.Unlock()
		r.metrics.refused.WithLabelValues(string(caxton.Exhausted)).Inc()
		return caxton.Receipt{}, caxton.Errorf(caxton.Exhausted, "queue_full", "%d messages wait for %s already", limit, agent.Slug).
			WithHint("send again later, or raise agents.queue_size")
	}
	box.reserved++
	r.mu.Unlock()

	stored, duplicate, err := r.journal.Accept(ctx, d, fresh)

	r.mu.Lock()
	box.reserved--
	if err == nil && !duplicate {
		r.open[d.Message.ID] = &exchange{}
		if !aside {
			r.arrive(box, &d)
		}
	}
	r.mu.Unlock()
	if err != nil {
		return caxton.Receipt{}, err
	}
	if duplicate {
		return receipt(&stored, true), nil
	}
	r.metrics.accepted.WithLabelValues(string(d.Message.Performative)).Inc()
	r.metrics.accepting.Observe(time.Since(start).Seconds())
	if aside {
		if err := r.answerAside(context.WithoutCancel(ctx), d, violation); err != nil {
			return caxton.Receipt{}, err
		}
		return receipt(&d, false), nil
	}
	if _, err := r.dir.Agent(agent.ID); err != nil { // removed meanwhile: nobody would come for it
		if err := r.Drop(context.WithoutCancel(ctx), agent.ID); err != nil {
			return caxton.Receipt{}, err
		}
	}
	rc := receipt(&d, false)
	rc.Agent = agent.Slug
	return rc, nil
}

// answerAside settles a message that the agent does not get to see.
func (r *Router) answerAside(ctx context.Context, d caxton.Delivery, violation error) error {
	if violation != nil {
		return r.notUnderstood(ctx, d, violation)
	}
	return r.cancelMessages(ctx, d)
}

// Await waits until the message is settled and returns the first reply to it, also when ctx
// has ended and it is settled already. Errors: Timeout when ctx's deadline passes, Canceled
// when ctx is cancelled, NotFound with the code no_reply when it was handled without an
// answer, or with message_not_found.
func (r *Router) Await(ctx context.Context, id caxton.MessageID) (caxton.Message, error) {
	ex := r.exchangeOf(id)
	for ex == nil {
		st, err := r.journal.Message(context.WithoutCancel(ctx), id)
		switch {
		case err != nil:
			return caxton.Message{}, err
		case st.Settled && len(st.Replies) > 0:
			return st.Replies[0], nil
		case st.Settled:
			return caxton.Message{}, errNoReply(id)
		case !pause(ctx, handover): // it is in the log, and about to be known here
			return caxton.Message{}, errAwait(ctx, id)
		}
		ex = r.exchangeOf(id)
	}
	select {
	case <-ex.done:
	case <-ctx.Done():
	}
	select {
	case <-ex.done:
		if ex.reply == nil {
			return caxton.Message{}, errNoReply(id)
		}
		return *ex.reply, nil
	default:
		return caxton.Message{}, errAwait(ctx, id)
	}
}

// handover is the time between two looks for a message that is pending in the log and not yet
// queued here: a moment after it was accepted or sent back to work.
const handover = 5 * time.Millisecond

// pause waits for a while, and reports false when ctx has ended before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// exchangeOf returns the exchange of an unsettled message, whose end can be waited for, or nil.
func (r *Router) exchangeOf(id caxton.MessageID) *exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	ex := r.open[id]
	if ex != nil && ex.done == nil {
		ex.done = make(chan struct{})
	}
	return ex
}

// errAwait says why somebody stopped waiting for the reply to a message.
func errAwait(ctx context.Context, id caxton.MessageID) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return caxton.Errorf(caxton.Timeout, "reply_timeout", "no reply to %s in time", id).
			WithHint("it is still being handled; ask for the message again later")
	}
	return caxton.Errorf(caxton.Canceled, "canceled", "the caller left").WithCause(ctx.Err())
}

func errNoReply(id caxton.MessageID) error {
	return caxton.Errorf(caxton.NotFound, "no_reply", "message %s was handled without a reply", id)
}

// Status returns what the journal knows of a message, or NotFound.
func (r *Router) Status(ctx context.Context, id caxton.MessageID) (caxton.MessageStatus, error) {
	return r.journal.Message(ctx, id)
}

// Conversation returns one conversation, or NotFound.
func (r *Router) Conversation(ctx context.Context, id caxton.ConversationID) (caxton.Conversation, error) {
	return r.journal.Conversation(ctx, id)
}

// Conversations returns a page of conversations and the cursor of the next page.
func (r *Router) Conversations(ctx context.Context, q caxton.ConversationQuery) ([]caxton.Conversation, string, error) {
	return r.journal.Conversations(ctx, q)
}

// Records returns part of a conversation's log, or NotFound.
func (r *Router) Records(ctx context.Context, id caxton.ConversationID, after int64, limit int) ([]caxton.Record, error) {
	return r.journal.Records(ctx, id, after, limit)
}

// Recover queues what the journal holds as pending. Call it once, after the directory is
// loaded and before agents run. Messages for agents that are gone fail.
func (r *Router) Recover(ctx context.Context) (int, error) {
	ds, err := r.journal.Pending(ctx)
	if err != nil {
		return 0, err
	}
	return r.takeUp(ctx, ds)
}

// takeUp queues deliveries that the journal holds as pending.
func (r *Router) takeUp(ctx context.Context, ds []caxton.Delivery) (int, error) {
	var asides []*caxton.Delivery
	violations := map[caxton.MessageID]error{}
	for i := range ds {
		d := &ds[i]
		r.mu.Lock()
		if r.open[d.Message.ID] != nil {
			r.mu.Unlock()
			continue
		}
		r.open[d.Message.ID] = &exchange{}
		r.mu.Unlock()
		if _, err := r.dir.Agent(d.Message.ReceiverID); err != nil {
			if err := r.fail(ctx, *d, "agent_removed", "the agent was removed before it handled the message"); err != nil {
				return i, err
			}
			continue
		}
		if d.Attempt == 0 { // nobody has seen it: the server may have stopped before it answered
			violation := r.protocol(ctx, &d.Message, true)
			if violation != nil && caxton.KindOf(violation) != caxton.Invalid {
				return i, violation
			}
			if violation != nil || d.Message.Performative == caxton.Cancel {
				asides, violations[d.Message.ID] = append(asides, d), violation
				continue
			}
		}
		r.mu.Lock()
		r.queue(d, true)
		r.mu.Unlock()
	}
	for _, d := range asides { // now that all they may be about is there
		if err := r.answerAside(ctx, *d, violations[d.Message.ID]); err != nil {
			return len(ds), err
		}
	}
	return len(ds), nil
}

// arrive puts a new delivery into its mailbox. r.mu is held.
func (r *Router) arrive(b *mailbox, d *caxton.Delivery) {
	it := &item{delivery: *d, since: r.cfg.Now()}
	b.pushItem(it)
	r.watch(it)
}

// watch notes the deadline of a waiting message. r.mu is held.
func (r *Router) watch(it *item) {
	if by := it.delivery.Deadline(); !by.IsZero() {
		r.watchAt(it, by)
	}
}

func (r *Router) watchAt(it *item, at time.Time) {
	if len(r.deadlines) >= max(r.crowded, 1000) { // most are of messages that were settled long before
		r.deadlines = slices.DeleteFunc(r.deadlines, func(d deadline) bool { return r.open[d.id] == nil })
		heap.Init(&r.deadlines)
		r.crowded = 2 * len(r.deadlines)
	}
	heap.Push(&r.deadlines, deadline{at, it.delivery.Message.ID})
	select {
	case r.wake <- struct{}{}:
	default: // Run will look anyway
	}
}

// queue puts a stored delivery where it belongs: its mailbox, or with the delayed ones.
// r.mu is held.
func (r *Router) queue(d *caxton.Delivery, recovered bool) {
	it := &item{delivery: *d, since: r.cfg.Now(), recovered: recovered}
	r.watch(it)
	r.place(it)
}

// place puts a waiting item into its mailbox, or with the delayed ones. r.mu is held.
func (r *Router) place(it *item) {
	b := r.box(it.delivery.Message.ReceiverID)
	_, held := b.busy[it.delivery.Message.ConversationID]
	if it.delivery.NotBefore.After(r.cfg.Now()) && !held {
		r.delay(it)
		return
	}
	b.pushItem(it)
}

// giveBack puts back an item that was taken to be settled and could not be. It waits behind
// what came after it in its conversation.
func (r *Router) giveBack(it *item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open[it.delivery.Message.ID] == nil {
		return // it was settled before
	}
	now := r.cfg.Now()
	if by := it.delivery.Deadline(); !by.IsZero() && !now.Before(by) || !r.deployed(it.delivery.Message.ReceiverID) {
		r.watchAt(it, now.Add(abandonedPause))
	}
	r.place(it)
}

// Run writes down leases that last and hands out retries when they are due, until ctx ends.
func (r *Router) Run(ctx context.Context) error {
	sweep := time.NewTicker(r.cfg.LeaseAfter)
	defer sweep.Stop()
	for {
		next := r.tick(ctx)
		var due <-chan time.Time
		var t *time.Timer
		if next >= 0 {
			t = time.NewTimer(next)
			due = t.C
		}
		select {
		case <-ctx.Done():
			if t != nil {
				t.Stop()
			}
			return nil
		case <-sweep.C:
			r.writeLeases(ctx)
		case <-due:
		case <-r.wake:
		}
		if t != nil {
			t.Stop()
		}
	}
}

// tick hands out what is due, gives up what has passed its deadline, and returns the time
// until it has to be called again, or -1.
func (r *Router) tick(ctx context.Context) time.Duration {
	now := r.cfg.Now()
	var late []*item
	r.mu.Lock()
	next := r.handOutDue(now)
	for len(r.deadlines) > 0 {
		if wait := r.deadlines[0].at.Sub(now); wait > 0 {
			if next < 0 || wait < next {
				next = wait
			}
			break
		}
		d := heap.Pop(&r.deadlines).(deadline)
		if ex := r.open[d.id]; ex == nil || ex.reopened || r.leases[d.id] != nil {
			continue // settled, or without a deadline since; or at work, and its turn has it
		}
		if it := r.take(d.id); it != nil {
			late = append(late, it)
		}
	}
	r.mu.Unlock()
	for _, it := range late {
		var err error
		if r.deployed(it.delivery.Message.ReceiverID) {
			err = r.fail(ctx, it.delivery, "reply_by_passed", "nobody handled the message before reply_by")
		} else {
			err = r.failRemoved(ctx, it)
		}
		if err != nil {
			r.cfg.Logger.ErrorContext(ctx, "late message not settled", "message_id", it.delivery.Message.ID, "error", err)
			r.giveBack(it)
		}
	}
	return next
}

// writeLeases records the leases that have lasted for a while: should the process die now,
// the attempt counts.
func (r *Router) writeLeases(ctx context.Context) {
	limit := r.cfg.Now().Add(-r.cfg.LeaseAfter)
	var ls []caxton.Lease
	r.mu.Lock()
	for _, it := range r.leases {
		if !it.written && it.leasedAt.Before(limit) {
			it.written = true
			ls = append(ls, caxton.Lease{Delivery: it.delivery, LeasedAt: it.leasedAt})
		}
	}
	r.mu.Unlock()
	if len(ls) == 0 {
		return
	}
	if err := r.journal.Leased(ctx, ls...); err != nil {
		r.cfg.Logger.WarnContext(ctx, "leases not recorded", "count", len(ls), "error", err)
	}
}
