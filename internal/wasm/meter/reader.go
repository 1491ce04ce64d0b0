package meter

import (
	"fmt"
	"unicode/utf8"
)

// A reader reads the parts of the binary format from a section of a module. Its first fault
// sticks and moves it to its end; what is read after that is zero. So a caller may read on
// for a while, must not loop without looking at failed, and need not check each step.
type reader struct {
	buf   []byte // the whole module, so that positions are offsets in it
	pos   int
	end   int
	fault *fault
}

func (r *reader) failed() bool   { return r.fault != nil }
func (r *reader) remaining() int { return r.end - r.pos }

// fail notes a fault at pos, unless there is one.
func (r *reader) fail(pos int, code, format string, args ...any) {
	if r.fault == nil {
		r.fault = &fault{code: code, what: fmt.Sprintf(format, args...), offset: pos}
	}
	r.pos = r.end
}

// hint adds advice to the fault just noted.
func (r *reader) hint(format string, args ...any) {
	if r.fault != nil && r.fault.hint == "" {
		r.fault.hint = fmt.Sprintf(format, args...)
	}
}

func (r *reader) byte() byte {
	if r.pos >= r.end {
		r.fail(r.pos, CodeMalformed, "it ends too early")
		return 0
	}
	b := r.buf[r.pos]
	r.pos++
	return b
}

func (r *reader) skip(n int) {
	if n < 0 || n > r.remaining() {
		r.fail(r.pos, CodeMalformed, "%d bytes are announced and %d are left", n, r.remaining())
		return
	}
	r.pos += n
}

// u32 reads an unsigned LEB128 number of 32 bits: at most five bytes, no bits lost.
func (r *reader) u32() uint32 {
	if r.pos < r.end && r.buf[r.pos] < 0x80 { // by far the most
		r.pos++
		return uint32(r.buf[r.pos-1])
	}
	start := r.pos
	var v uint32
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		if r.failed() {
			return 0
		}
		if shift == 28 && b > 0x0f {
			break
		}
		v |= uint32(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	r.fail(start, CodeMalformed, "a number is longer than 32 bits")
	return 0
}

// signed reads a signed LEB128 number of the given width, 32, 33 or 64 bits.
func (r *reader) signed(width int) int64 {
	start := r.pos
	var v int64
	for shift := 0; shift < width; shift += 7 {
		b := r.byte()
		if r.failed() {
			return 0
		}
		v |= int64(b&0x7f) << shift
		if b >= 0x80 {
			continue
		}
		if left := width - shift; left < 7 { // the last byte: its spare bits repeat the sign
			if top, all := b>>(left-1), byte(0x7f)>>(left-1); top != 0 && top != all {
				break
			}
		}
		if shift+7 < 64 && b&0x40 != 0 {
			v |= -1 << (shift + 7)
		}
		return v
	}
	r.fail(start, CodeMalformed, "a number is longer than %d bits", width)
	return 0
}

// count reads the length of a list whose items take at least size bytes each, and refuses
// one that cannot be, so that memory may be set aside for it.
func (r *reader) count(what string, size int) int {
	start := r.pos
	n := int(r.u32())
	if n*size > r.remaining() {
		r.fail(start, CodeMalformed, "%d %s are announced in %d bytes", n, what, r.remaining())
		return 0
	}
	return n
}

// atMost refuses a count above a limit.
func (r *reader) atMost(pos, n, limit int, what string) {
	if n > limit {
		r.fail(pos, CodeTooLarge, "%d %s are over the limit of %d", n, what, limit)
	}
}

// index reads an index into one of the module's spaces, which has n things in it.
func (r *reader) index(what string, n int) int {
	start := r.pos
	i := int(r.u32())
	if !r.failed() && i >= n {
		r.fail(start, CodeInvalid, "%s %d does not exist: there are %d", what, i, n)
	}
	return i
}

func (r *reader) text(what string) string {
	start := r.pos
	n := r.count("bytes", 1)
	s := r.buf[r.pos : r.pos+n]
	if !utf8.Valid(s) {
		r.fail(start, CodeMalformed, "the %s is not UTF-8", what)
		return ""
	}
	r.pos += n
	return string(s)
}

// appendU32 appends an unsigned LEB128 number; v is an index, a size or a uint32.
func appendU32[T int | uint32](b []byte, v T) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendS64(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func appendText(b []byte, s string) []byte {
	return append(appendU32(b, len(s)), s...)
}
