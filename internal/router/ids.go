package router

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"
)

// ids makes UUIDs of version 7 (RFC 9562): the time in front, to a fraction of a millisecond,
// each above the one before, and 62 random bits. Randomness is fetched for many at once.
type ids struct {
	mu     sync.Mutex // guards all below
	last   uint64     // time of the last one: milliseconds and 4096ths of them
	random [64 * 8]byte
	left   int // bytes of random that are not used yet
}

func (g *ids) next() string {
	now := time.Now()
	ms := now.UnixMilli()
	at := uint64(ms)<<12 | uint64(now.UnixNano()-ms*int64(time.Millisecond))*4096/uint64(time.Millisecond) //nolint:gosec // after 1970
	var u [16]byte
	g.mu.Lock()
	at = max(at, g.last+1)
	g.last = at
	if g.left == 0 {
		_, _ = rand.Read(g.random[:]) // never fails
		g.left = len(g.random)
	}
	g.left -= 8
	copy(u[8:], g.random[g.left:])
	g.mu.Unlock()
	binary.BigEndian.PutUint64(u[:8], at>>12<<16|7<<12|at&0xfff)
	u[8] = u[8]&0x3f | 0x80
	b := [36]byte{8: '-', 13: '-', 18: '-', 23: '-'}
	hex.Encode(b[0:8], u[0:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:36], u[10:16])
	return string(b[:])
}
