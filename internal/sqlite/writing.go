package sqlite

import (
	"maps"
	"time"

	"github.com/caxton/caxton"
)

// writing is what whoever writes remembers between transactions, so that the hot path
// reads and writes as few pages as it can. Changes made inside a transaction take effect
// only when it is committed.
type writing struct {
	ends  map[caxton.ConversationID]end  // of their logs
	open  map[caxton.MessageID]bool      // unsettled messages; true when they are in table pending
	spans map[caxton.ConversationID]span // times of conversations, not yet in table conversations
	bound caxton.MessageID               // below it, unsettled messages with ordered IDs are in table pending

	newest caxton.ConversationID // no conversation with an ordered ID above it has a record

	next, limit int64                    // next position in the log of the server; up to limit they may be used
	reserved    map[caxton.MessageID]int // reservations that are open, by message

	tx transaction
}

// An end is where the log of a conversation ends: the next sequence number, and the time of
// the record before it.
type end struct{ next, at int64 }

// A span is the time from the first to the last record seen, and what the conversation came
// out of.
type span struct {
	first, last int64
	parent      caxton.ConversationID
}

// transaction holds what changes when the transaction at work is committed.
type transaction struct {
	ends     map[caxton.ConversationID]end
	opened   map[caxton.MessageID]bool
	closed   map[caxton.MessageID]bool
	spans    map[caxton.ConversationID]span
	flush    bool                           // spans were written
	archived map[caxton.ConversationID]bool // no record may follow any more
	newest   caxton.ConversationID
	bound    caxton.MessageID // new bound, or ""
	limit    int64            // new limit of positions, or 0

	reserved map[caxton.MessageID]int // reservations made, less those booked
	fed      bool                     // somebody listens: records are gathered
	records  []caxton.Record          // for the feed
	from     int64                    // the first position it may use
}

// maxRemembered bounds the map of ends.
const maxRemembered = 100_000

func newWriting() writing {
	return writing{
		ends: map[caxton.ConversationID]end{}, open: map[caxton.MessageID]bool{}, spans: map[caxton.ConversationID]span{},
		reserved: map[caxton.MessageID]int{},
		tx: transaction{
			ends: map[caxton.ConversationID]end{}, opened: map[caxton.MessageID]bool{},
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
	w.tx.flush, w.tx.newest, w.tx.bound, w.tx.limit, w.tx.records = false, "", "", 0, nil
	w.tx.fed, w.tx.from = fed, w.next
}

func (w *writing) finish(committed bool) {
	if !committed {
		return
	}
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
	if w.tx.bound != "" {
		w.bound = w.tx.bound
	}
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

// end returns the end of a conversation's log, and false when it must be read.
func (w *writing) end(c caxton.ConversationID) (end, bool) {
	if w.tx.archived[c] {
		return end{}, false
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

// stored reports whether an unsettled message is in table pending.
func (w *writing) stored(id caxton.MessageID) bool {
	st, ok := w.tx.opened[id]
	if !ok {
		st = w.open[id]
	}
	return st
}

func (w *writing) note(c caxton.ConversationID, seq, at int64) {
	w.tx.ends[c] = end{seq + 1, at}
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
	for _, stored := range w.open {
		if !stored {
			return true
		}
	}
	return false
}

// idAt returns the smallest ordered message ID of a time: the first 48 bits of a UUID of
// version 7 are milliseconds since 1970 (RFC 9562, section 5.7).
func idAt(t time.Time) caxton.MessageID {
	const digits = "0123456789abcdef"
	ms := uint64(t.UnixMilli())
	b := []byte("00000000-0000-7000-8000-000000000000")
	for i := 12; i >= 0; i-- {
		if b[i] == '-' {
			continue
		}
		b[i] = digits[ms&0xf]
		ms >>= 4
	}
	return caxton.MessageID(b)
}
