package sqlite

import (
	"maps"

	"github.com/caxton/caxton"
)

// writing is what whoever writes remembers between transactions, so that the hot path
// reads and writes as few pages as it can. Changes made inside a transaction take effect
// only when it is committed.
type writing struct {
	ends  map[caxton.ConversationID]int64 // of their logs: the next sequence numbers
	open  map[caxton.MessageID]int64      // unsettled messages: their positions in the log of the server, or stored
	spans map[caxton.ConversationID]span  // times of conversations, not yet in table conversations

	flushed int64 // what the records up to this position leave open is in table pending
	mark    int64 // the position at the last flush

	newest caxton.ConversationID // no conversation with an ordered ID above it has a record

	next, limit int64                    // next position in the log of the server; up to limit they may be used
	reserved    map[caxton.MessageID]int // reservations that are open, by message

	tx transaction
}

// stored is in the place of the position of an unsettled message that is in table pending.
const stored int64 = 0

// A span is the time from the first to the last record seen, and what the conversation came
// out of.
type span struct {
	first, last int64
	parent      caxton.ConversationID
}

// transaction holds what changes when the transaction at work is committed.
type transaction struct {
	ends     map[caxton.ConversationID]int64
	opened   map[caxton.MessageID]int64
	closed   map[caxton.MessageID]bool
	spans    map[caxton.ConversationID]span
	flush    bool                           // spans were written
	archived map[caxton.ConversationID]bool // no record may follow any more
	newest   caxton.ConversationID
	flushed  int64 // new value of flushed, or 0
	mark     int64 // new mark, or 0
	limit    int64 // new limit of positions, or 0

	reserved map[caxton.MessageID]int // reservations made, less those booked
	fed      bool                     // somebody listens: records are gathered
	records  []caxton.Record          // for the feed
	from     int64                    // the first position it may use
}

// maxRemembered bounds the map of ends.
const maxRemembered = 100_000

func newWriting() writing {
	return writing{
		ends: map[caxton.ConversationID]int64{}, open: map[caxton.MessageID]int64{}, spans: map[caxton.ConversationID]span{},
		reserved: map[caxton.MessageID]int{},
		tx: transaction{
			ends: map[caxton.ConversationID]int64{}, opened: map[caxton.MessageID]int64{},
			closed: map[caxton.MessageID]bool{}, spans: map[caxton.ConversationID]span{}, reserved: map[caxton.MessageID]int{},
			archived: map[caxton.ConversationID]bool{},
		},
	}
}

func (w *writing) begin(fed bool) {
	clear(w.tx.ends)
	clear(w.tx.opened)
	clear(w.tx.closed)
	clear(w.tx.spans)
	clear(w.tx.reserved)
	clear(w.tx.archived)
	w.tx.flush, w.tx.newest, w.tx.flushed, w.tx.mark, w.tx.limit, w.tx.records = false, "", 0, 0, 0, nil
	w.tx.fed, w.tx.from = fed, w.next
}

// commit has the changes of a transaction count.
func (w *writing) commit() {
	if len(w.ends) > maxRemembered {
		clear(w.ends)
	}
	maps.Copy(w.ends, w.tx.ends)
	for c := range w.tx.archived { // the next one to write must see it
		delete(w.ends, c)
	}
	maps.Copy(w.open, w.tx.opened)
	for id := range w.tx.closed {
		delete(w.open, id)
	}
	if w.tx.flush {
		clear(w.spans)
	}
	for c, s := range w.tx.spans {
		w.spans[c] = w.spans[c].with(s)
	}
	w.newest = max(w.newest, w.tx.newest)
	w.flushed = max(w.flushed, w.tx.flushed)
	w.mark = max(w.mark, w.tx.mark)
	w.limit = max(w.limit, w.tx.limit)
	for id, n := range w.tx.reserved {
		if w.reserved[id] += n; w.reserved[id] <= 0 {
			delete(w.reserved, id)
		}
	}
}

func (s span) with(t span) span {
	if s.first == 0 || t.first != 0 && t.first < s.first {
		s.first = t.first
	}
	s.last = max(s.last, t.last)
	if s.parent == "" {
		s.parent = t.parent
	}
	return s
}

// end returns the next sequence number of a conversation's log, and false when it must be read.
func (w *writing) end(c caxton.ConversationID) (int64, bool) {
	if w.tx.archived[c] {
		return 0, false
	}
	e, ok := w.tx.ends[c]
	if !ok {
		e, ok = w.ends[c]
	}
	return e, ok
}

// unseen reports whether a conversation is certain to have no record, so that nothing need be
// read: those with ordered IDs begin in their order, or nearly so.
func (w *writing) unseen(c caxton.ConversationID) bool {
	return c > w.newest && c > w.tx.newest && ordered(c)
}

// ordered reports whether a conversation's ID begins with a time.
func ordered(c caxton.ConversationID) bool { return caxton.MessageID(c).TimeOrdered() }

// unsettled reports whether a message was accepted for an agent and is not settled.
func (w *writing) unsettled(id caxton.MessageID) bool {
	if w.tx.closed[id] {
		return false
	}
	_, ok := w.tx.opened[id]
	if !ok {
		_, ok = w.open[id]
	}
	return ok
}

// stored reports whether an unsettled message is in table pending.
func (w *writing) stored(id caxton.MessageID) bool {
	n, ok := w.tx.opened[id]
	if !ok {
		n, ok = w.open[id]
	}
	return ok && n == stored
}

func (w *writing) note(c caxton.ConversationID, seq, at int64) {
	w.tx.ends[c] = seq + 1
	if c > w.newest && c > w.tx.newest && ordered(c) {
		w.tx.newest = c
	}
	w.tx.spans[c] = w.tx.spans[c].with(span{first: at, last: at})
}

// parent notes what a new conversation came out of.
func (w *writing) parent(c, parent caxton.ConversationID) {
	w.tx.spans[c] = w.tx.spans[c].with(span{parent: parent})
}

// dirty reports whether a flush has something to do.
func (w *writing) dirty() bool {
	if len(w.spans) > 0 {
		return true
	}
	for _, n := range w.open {
		if n != stored {
			return true
		}
	}
	return false
}
