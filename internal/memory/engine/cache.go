package engine

import (
	"container/list"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
)

// A cache keeps results of searches until their time is over or something is written to a
// scope that they may come from. The least recently used goes first when they are too many or
// take more than cacheBytes.
type cache struct {
	most int

	mu           sync.Mutex
	bytes        int
	of           map[string]*list.Element // of *kept
	order        *list.List
	all          uint64 // writes to any scope, and everything else that changes results
	scopes       map[caxton.Scope]uint64
	hits, misses uint64
}

const (
	cacheBytes = 32 << 20 // of all results together, about
	hitBytes   = 1 << 10  // of a hit beside its texts
)

type kept struct {
	key    string
	bytes  int
	access memory.Access
	stamp  uint64
	until  time.Time
	result memory.Result
}

func newCache(most int) *cache {
	return &cache{most: most, of: map[string]*list.Element{}, order: list.New(), scopes: map[caxton.Scope]uint64{}}
}

// stamp returns a number that changes when a result for a may have changed.
func (c *cache) stamp(a memory.Access) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stampOf(a)
}

func (c *cache) stampOf(a memory.Access) uint64 {
	if a.All {
		return c.all
	}
	sum := uint64(0) // of numbers that only grow: it changes when one does
	for _, s := range a.Scopes {
		sum += c.scopes[s]
	}
	return sum + c.scopes[caxton.Scope{}]
}

// changed says that something was written to a scope.
func (c *cache) changed(s caxton.Scope) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all++
	c.scopes[s]++
}

// clear says that anything may have changed.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all++
	c.scopes[caxton.Scope{}]++
	clear(c.of)
	c.order.Init()
	c.bytes = 0
}

func (c *cache) get(key string, now time.Time) (memory.Result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.of[key]; ok {
		k := el.Value.(*kept) // the list holds nothing else
		if now.Before(k.until) && k.stamp == c.stampOf(k.access) {
			c.order.MoveToFront(el)
			c.hits++
			return copied(k.result), true
		}
		c.drop(el)
	}
	c.misses++
	return memory.Result{}, false
}

func (c *cache) put(key string, a memory.Access, stamp uint64, r memory.Result, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.most < 0 || key == "" || stamp != c.stampOf(a) {
		return
	}
	size := bytesOf(key, &r)
	if size > cacheBytes/4 {
		return // it would drive out too many others
	}
	if el, ok := c.of[key]; ok {
		c.drop(el)
	}
	c.of[key] = c.order.PushFront(&kept{key, size, a, stamp, until, copied(r)})
	c.bytes += size
	for c.order.Len() > c.most || c.bytes > cacheBytes {
		c.drop(c.order.Back())
	}
}

// drop takes a result out. mu is held.
func (c *cache) drop(el *list.Element) {
	k := el.Value.(*kept) // the list holds nothing else
	delete(c.of, k.key)
	c.order.Remove(el)
	c.bytes -= k.bytes
}

// bytesOf returns about how much memory a result takes.
func bytesOf(key string, r *memory.Result) int {
	n := 2 * len(key)
	for i := range r.Hits {
		h := &r.Hits[i]
		n += hitBytes + len(h.Entity.Metadata) + hitBytes*len(h.Relations)
		for j := range h.Entity.Observations {
			n += len(h.Entity.Observations[j].Text)
		}
		for j := range h.Relations {
			n += len(h.Relations[j].Metadata)
		}
	}
	return n
}

func (c *cache) counts() (hits, misses uint64, kept int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hits, c.misses, c.order.Len()
}

// copied returns a result whose hits the caller may change; what they point to is shared and
// nobody's to change.
func copied(r memory.Result) memory.Result {
	r.Hits = slices.Clone(r.Hits)
	return r
}

// accessKey is the same for accesses that see the same.
func accessKey(a memory.Access) string {
	if a.All {
		return "*"
	}
	names := make([]string, len(a.Scopes))
	for i, s := range a.Scopes {
		names[i] = s.String()
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " ")
}

// queryKey is the same for queries with the same answer, or "" for one not to be kept.
func queryKey(q *memory.Query) string {
	c := *q
	c.Access = memory.Access{}
	b, err := json.Marshal(&c)
	if err != nil {
		return "" // of a filter that no value passes: nothing to keep
	}
	return accessKey(q.Access) + "\x00" + string(b)
}
