package router

import (
	"cmp"
	"container/heap"
	"time"

	"github.com/caxton/caxton"
)

// A mailbox holds what waits for one agent. Messages of one conversation leave it one at a
// time and in order; among conversations the higher priority goes first, then the older
// message. The Router's mutex guards it.
type mailbox struct {
	ready    readyHeap
	busy     map[caxton.ConversationID]*convQueue // conversations with a message ready, delayed or leased
	queued   int                                  // messages in ready, in busy queues, and delayed
	reserved int                                  // places taken by messages on their way into the journal
	inFlight int
	arrivals uint64
	signal   chan struct{} // capacity 1: something may be ready
	health   float64       // moving average of turns that went well, 0 to 1
}

// A convQueue holds the messages of a conversation that come after the one at work.
type convQueue struct{ waiting []*item }

// An item is one delivery that waits, and then is in somebody's hands. When it comes back it
// is another item.
type item struct {
	delivery  caxton.Delivery
	since     time.Time
	arrival   uint64
	recovered bool // came back after a crash: its lease is written down before it is handled
	cancelled bool // was called off while it was at work

	leasedAt time.Time
	written  bool // its lease is in the log, or on its way there
	cancel   caxton.Cancellation
}

func newMailbox() *mailbox {
	return &mailbox{busy: map[caxton.ConversationID]*convQueue{}, signal: make(chan struct{}, 1), health: 1}
}

// box returns the mailbox of an agent, making it when needed. r.mu is held.
func (r *Router) box(id caxton.AgentID) *mailbox {
	b := r.boxes[id]
	if b == nil {
		b = newMailbox()
		r.boxes[id] = b
	}
	return b
}

// pushItem queues a new delivery behind those of its conversation.
func (b *mailbox) pushItem(it *item) {
	b.queued++
	b.arrivals++
	it.arrival = b.arrivals
	conv := it.delivery.Message.ConversationID
	if _, busy := b.busy[conv]; busy {
		b.wait(it)
		return
	}
	b.busy[conv] = nil
	heap.Push(&b.ready, it)
	b.ring()
}

// again makes a delivery ready whose conversation is already held for it.
func (b *mailbox) again(it *item) {
	heap.Push(&b.ready, it)
	b.ring()
}

// wait queues a delivery behind those of its conversation, which is held.
func (b *mailbox) wait(it *item) {
	conv := it.delivery.Message.ConversationID
	if b.busy[conv] == nil {
		b.busy[conv] = &convQueue{}
	}
	b.busy[conv].waiting = append(b.busy[conv].waiting, it)
}

// next lets a conversation go on: its following message is made ready, or waits until it is
// due, or the conversation is free. r.mu is held.
func (r *Router) next(b *mailbox, conv caxton.ConversationID) {
	q := b.busy[conv]
	if q == nil || len(q.waiting) == 0 {
		delete(b.busy, conv)
		return
	}
	it := q.waiting[0]
	q.waiting[0] = nil
	q.waiting = q.waiting[1:]
	if it.delivery.NotBefore.After(r.cfg.Now()) {
		b.queued-- // delay counts it again
		r.delay(it)
		return
	}
	b.again(it)
}

// take removes a waiting message. first says that its conversation has to go on now.
func (b *mailbox) take(id caxton.MessageID) (it *item, first bool) {
	for i, it := range b.ready {
		if it.delivery.Message.ID == id {
			heap.Remove(&b.ready, i)
			b.queued--
			return it, true
		}
	}
	for _, q := range b.busy {
		if q == nil {
			continue
		}
		for i, it := range q.waiting {
			if it.delivery.Message.ID == id {
				q.waiting = append(q.waiting[:i:i], q.waiting[i+1:]...)
				b.queued--
				return it, false
			}
		}
	}
	return nil, false
}

// find returns a message that waits behind another one of its conversation, or nil.
func (b *mailbox) find(id caxton.MessageID) *item {
	for _, q := range b.busy {
		if q == nil {
			continue
		}
		for _, it := range q.waiting {
			if it.delivery.Message.ID == id {
				return it
			}
		}
	}
	return nil
}

func (b *mailbox) ring() {
	select {
	case b.signal <- struct{}{}:
	default: // it rings already
	}
}

// settled notes how a turn ended.
func (b *mailbox) settled(well bool) {
	const weight = 0.05 // about the last twenty turns count
	v := 0.0
	if well {
		v = 1
	}
	b.health += weight * (v - b.health)
}

// readyHeap orders items by priority, then arrival.
type readyHeap []*item

func (h readyHeap) Len() int { return len(h) }
func (h readyHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	return cmp.Or(cmp.Compare(b.delivery.Message.Priority, a.delivery.Message.Priority), cmp.Compare(a.arrival, b.arrival)) < 0
}
func (h readyHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *readyHeap) Push(x any)   { *h = append(*h, x.(*item)) }
func (h *readyHeap) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return it
}

// delayHeap orders items by the time they are due.
type delayHeap []*item

func (h delayHeap) Len() int { return len(h) }
func (h delayHeap) Less(i, j int) bool {
	return h[i].delivery.NotBefore.Before(h[j].delivery.NotBefore)
}
func (h delayHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *delayHeap) Push(x any)   { *h = append(*h, x.(*item)) }
func (h *delayHeap) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return it
}

func (h *delayHeap) remove(i int) { heap.Remove(h, i) }

// delay keeps an item until it is due. Its conversation stays held: what comes after it
// waits too. r.mu is held.
func (r *Router) delay(it *item) {
	b := r.box(it.delivery.Message.ReceiverID)
	b.queued++
	b.arrivals++
	it.arrival = b.arrivals
	if _, held := b.busy[it.delivery.Message.ConversationID]; !held {
		b.busy[it.delivery.Message.ConversationID] = nil
	}
	heap.Push(&r.delayed, it)
	select {
	case r.wake <- struct{}{}:
	default: // Run will look anyway
	}
}

// handOutDue moves due items into their mailboxes and returns the time until the next one,
// or -1 when there is none. r.mu is held.
func (r *Router) handOutDue(now time.Time) time.Duration {
	for len(r.delayed) > 0 {
		it := r.delayed[0]
		if wait := it.delivery.NotBefore.Sub(now); wait > 0 {
			return wait
		}
		heap.Pop(&r.delayed)
		r.box(it.delivery.Message.ReceiverID).again(it)
	}
	return -1
}

// A deadline is when a message is given up if it still waits.
type deadline struct {
	at time.Time
	id caxton.MessageID
}

// deadlineHeap orders deadlines by time.
type deadlineHeap []deadline

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h deadlineHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *deadlineHeap) Push(x any)        { *h = append(*h, x.(deadline)) }
func (h *deadlineHeap) Pop() any {
	old := *h
	d := old[len(old)-1]
	*h = old[:len(old)-1]
	return d
}
