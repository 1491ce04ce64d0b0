package wasm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/caxton/caxton"
)

// reads are what a turn found in its state.
type reads struct {
	sums map[string][sha256.Size]byte // by key: what it found there first
	keep bool                         // all the values, and not only the few that a replay may want
	size int
	all  []caxton.StateRead
}

// keptReads bounds the values of one turn that are kept for its shadow, and replayReads those
// that are kept with its changes.
const (
	keptReads   = 1 << 20
	replayReads = 4 << 10
)

// note notes what is found under a key.
func (r *reads) note(key string, value []byte, found bool) {
	if _, known := r.sums[key]; known {
		return
	}
	if r.sums == nil {
		r.sums = map[string][sha256.Size]byte{}
	}
	state := byte(0)
	if found {
		state = 1
	}
	r.sums[key] = sha256.Sum256(append([]byte{state}, value...))
	if r.size += len(key) + len(value); r.size <= replayReads || r.keep && r.size <= keptReads {
		r.all = append(r.all, caxton.StateRead{Key: key, Value: value, Found: found})
	}
}

// sum returns a hash over all that was found, the same for the same; "" for nothing.
func (r *reads) sum() string {
	if len(r.sums) == 0 {
		return ""
	}
	h := sha256.New()
	for _, key := range sortedKeys(r.sums) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(key)))
		sum := r.sums[key]
		_, _ = h.Write(n[:]) // a hash takes all
		_, _ = h.Write([]byte(key))
		_, _ = h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// tell says what the turn saw.
func (t *turn) tell(to *caxton.ModuleTurn) {
	if to == nil {
		return
	}
	to.Clock, to.State = t.told, t.reads.sum()
	if t.reads.keep && t.reads.size <= keptReads {
		to.Reads = t.reads.all
	}
}
