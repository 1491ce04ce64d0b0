package memdb

import (
	"container/list"
	"math"
	"slices"
	"sync"

	"github.com/ncruces/go-sqlite3"
)

// maxPostings bounds the passages in all lists that are kept, and maxLists the lists.
const (
	maxPostings = 2 << 20 // of 8 bytes
	maxLists    = 20_000
	maxMatch    = 256 // bytes of a query whose list is kept
)

// postings keep lists of passages that the text index has read, the least recently used of which go first.
// IDs of passages grow: what a list lacks since it was read has greater ones. When a passage with an
// older ID is indexed anew, every list is read again.
type postings struct {
	mu    sync.Mutex // guards all below
	epoch uint64     // grows when the lists become void
	of    map[string]*list.Element
	order *list.List // of *posting, most recently used first
	held  int        // passages in all lists
}

// A posting is a list of passages that a query of the text index finds.
type posting struct {
	match string
	ids   []int64 // in order, the newest postingBudget of them at most; nobody changes what is in it
	upTo  int64   // passages with greater IDs were not there yet
}

func (p *postings) init() {
	p.of = map[string]*list.Element{}
	p.order = list.New()
}

// now returns the epoch. Who reads a list asks for it before the state that it reads is chosen.
func (p *postings) now() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.epoch
}

// void forgets every list.
func (p *postings) void() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.epoch++
	clear(p.of)
	p.order.Init()
	p.held = 0
}

func (p *postings) get(match string) (l posting, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	el := p.of[match]
	if el == nil {
		return l, false
	}
	p.order.MoveToFront(el)
	return *el.Value.(*posting), true
}

// put keeps a list that was read in an epoch.
func (p *postings) put(epoch uint64, l posting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if epoch != p.epoch || len(l.match) > maxMatch {
		return
	}
	if el := p.of[l.match]; el != nil {
		old := el.Value.(*posting)
		if l.upTo <= old.upTo {
			return
		}
		p.held += len(l.ids) - len(old.ids)
		*old = l
	} else {
		p.of[l.match] = p.order.PushFront(&l)
		p.held += len(l.ids)
	}
	for p.held > maxPostings || len(p.of) > maxLists {
		last := p.order.Remove(p.order.Back()).(*posting)
		delete(p.of, last.match)
		p.held -= len(last.ids)
	}
}

// manyPassages stands for a number of passages that was not counted.
const manyPassages = math.MaxInt64

// posted returns the passages that a query of the text index finds, in order of their IDs: the newest
// postingBudget of them. df is how many there are, about, or manyPassages.
func (r *reader) posted(match string, df int64) ([]int64, error) {
	if r.newest == 0 {
		var err error
		if r.newest, err = r.number(`SELECT max(id) FROM passages_docsize`); err != nil {
			return nil, err
		}
	}
	l, ok := r.postings.get(match)
	if ok && l.upTo >= r.newest {
		return l.ids, nil
	}
	var ids []int64
	query, args, back := `SELECT rowid FROM passages WHERE passages MATCH ? AND rowid>? ORDER BY rowid`, []any{match, l.upTo}, false
	if !ok && df > postingBudget {
		query, args, back = `SELECT rowid FROM passages WHERE passages MATCH ? ORDER BY rowid DESC LIMIT ?`, []any{match, postingBudget}, true
	}
	err := r.each(query, args, func(st *sqlite3.Stmt) error {
		ids = append(ids, st.ColumnInt64(0))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if back {
		slices.Reverse(ids)
	}
	if len(l.ids) > 0 {
		ids = slices.Concat(l.ids, ids)
	}
	if more := len(ids) - postingBudget; more > 0 {
		ids = slices.Clone(ids[more:])
	}
	r.postings.put(r.epoch, posting{match, ids, r.newest})
	return ids, nil
}
