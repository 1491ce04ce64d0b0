package bert

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/caxton/caxton"
)

// The weights file: the magic, the version and the header's length as 32 bits each, the header
// as JSON, zeros to a multiple of 64 bytes, the sections each at a multiple of 64 bytes, and
// the SHA-256 of all that. Numbers are little-endian.
const (
	fileMagic   = "CXBERT\r\n"
	fileVersion = 1
	prefixBytes = len(fileMagic) + 8
	align       = 64
	maxHeader   = 1 << 20
)

const (
	kindPanels = "panels" // a matrix, int8 in panels
	kindRows   = "rows"   // a table, int8 in rows
	kindFloat  = "float32"
	kindText   = "text"
)

// A Config says how a Model computes. Its zero value is right for all but tests and measurements.
type Config struct {
	// Kernel is the form of the loops: avx512, avx2 or plain. Empty is the best this processor has.
	Kernel string
	// Workers is how many goroutines a batch uses. 0 is one per processor.
	Workers int
}

// Load reads a weights file, which is called file in errors. The model keeps data and reads its
// matrices from it for as long as it lives.
func Load(file string, data []byte, cfg Config) (*Model, error) {
	h, body, err := open(file, data)
	if err != nil {
		return nil, err
	}
	r := reader{file: file, header: h, body: body, byName: make(map[string]section, len(h.Tensors))}
	for _, s := range h.Tensors {
		r.byName[s.Name] = s
	}
	m := &Model{header: h}
	m.header.Tensors = nil
	m.vocabulary = r.bytes("vocabulary", kindText, h.Words, 0)
	m.words = r.table("words", h.Words, h.Hidden)
	m.positions = r.table("positions", h.Positions, h.Hidden)
	m.norm = r.norm("norm", h.Hidden)
	for i := range h.Layers {
		p := fmt.Sprintf("layer.%d.", i)
		m.layers = append(m.layers, layer{
			qkv:   r.dense(p+"qkv", 3*h.Hidden, h.Hidden),
			out:   r.dense(p+"out", h.Hidden, h.Hidden),
			norm1: r.norm(p+"norm1", h.Hidden),
			up:    r.dense(p+"up", h.Inner, h.Hidden),
			down:  r.dense(p+"down", h.Hidden, h.Inner),
			norm2: r.norm(p+"norm2", h.Hidden),
		})
		if r.err != nil {
			break
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	if n := lines(m.vocabulary); n != h.Words {
		return nil, damaged(file, "its vocabulary has %d words, want %d", n, h.Words)
	}
	return m, m.prepare(cfg)
}

// damaged is the error for a file that is not what Quantise wrote.
func damaged(file, what string, args ...any) *caxton.Error {
	return caxton.Errorf(caxton.Malformed, "model_damaged", "%s is damaged: %s", file, fmt.Sprintf(what, args...)).
		WithHint("restore the file from where it came")
}

// open checks the frame of a weights file and returns its header and its sections.
func open(file string, data []byte) (Header, []byte, error) {
	var h Header
	if len(data) < len(fileMagic) || string(data[:len(fileMagic)]) != fileMagic {
		return h, nil, caxton.Errorf(caxton.Malformed, "model_not_weights", "%s is not a weights file", file).
			WithHint("name a file made by the generator, or a directory with model.safetensors")
	}
	if len(data) < prefixBytes+sha256.Size {
		return h, nil, damaged(file, "it ends after %d bytes", len(data))
	}
	if v := binary.LittleEndian.Uint32(data[8:]); v != fileVersion {
		return h, nil, caxton.Errorf(caxton.Invalid, "model_version", "%s has version %d of the weights file, this program reads %d", file, v, fileVersion).
			WithHint("make the file again with the generator of this version")
	}
	data, sum := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if got := sha256.Sum256(data); !bytes.Equal(got[:], sum) {
		return h, nil, damaged(file, "its checksum does not agree with its content")
	}
	n := int64(binary.LittleEndian.Uint32(data[12:]))
	if n > maxHeader || n > int64(len(data)-prefixBytes) {
		return h, nil, damaged(file, "its header claims %d bytes", n)
	}
	end := prefixBytes + int(n)
	if err := json.Unmarshal(data[prefixBytes:end], &h); err != nil {
		return h, nil, damaged(file, "its header cannot be read").WithCause(err)
	}
	if err := h.check(file); err != nil {
		return h, nil, err
	}
	return h, data[min(aligned(end), len(data)):], nil
}

// lines counts the lines of a vocabulary, whose last one may lack its end.
func lines(b []byte) int {
	n := bytes.Count(b, []byte("\n"))
	if len(b) > 0 && b[len(b)-1] != '\n' {
		n++
	}
	return n
}

func aligned(n int) int { return (n + align - 1) / align * align }

// A reader takes sections out of a weights file and keeps the first error.
type reader struct {
	file   string
	header Header
	body   []byte
	byName map[string]section
	err    error
}

// find returns the section of the given name and form and its bytes, of which there must be
// size, or any number if size is 0.
func (r *reader) find(name, kind string, rows, cols, size int) (section, []byte) {
	if r.err != nil {
		return section{}, nil
	}
	s, ok := r.byName[name]
	switch {
	case !ok:
		r.err = damaged(r.file, "it has no %s", name)
	case s.Kind != kind || s.Rows != rows || s.Cols != cols:
		r.err = damaged(r.file, "%s is %s of %d × %d, want %s of %d × %d", name, s.Kind, s.Rows, s.Cols, kind, rows, cols)
	case s.Offset < 0 || s.Size < 0 || s.Offset > len(r.body) || s.Size > len(r.body)-s.Offset:
		r.err = damaged(r.file, "%s lies outside the file", name)
	case size > 0 && s.Size != size:
		r.err = damaged(r.file, "%s has %d bytes, want %d", name, s.Size, size)
	case !(s.Gain >= 0 && s.Gain < 1<<16):
		r.err = damaged(r.file, "%s has the gain %v", name, s.Gain)
	default:
		return s, r.body[s.Offset : s.Offset+s.Size]
	}
	return section{}, nil
}

func (r *reader) bytes(name, kind string, rows, cols int) []byte {
	_, b := r.find(name, kind, rows, cols, 0)
	return b
}

func (r *reader) floats(name string, n int) []float32 {
	_, b := r.find(name, kindFloat, 1, n, 4*n)
	if r.err != nil {
		return nil
	}
	f := floats(b)
	if f == nil {
		r.err = damaged(r.file, "%s holds a value that is no number", name)
	}
	return f
}

func (r *reader) table(name string, n, width int) table {
	s, b := r.find(name, kindRows, n, width, n*rowBytes(width))
	return table{n: n, width: width, rows: b, gain: float32(s.Gain)}
}

func (r *reader) norm(name string, width int) norm {
	return norm{gain: r.floats(name+".gain", width), shift: r.floats(name+".shift", width)}
}

func (r *reader) dense(name string, out, in int) dense {
	s, b := r.find(name, kindPanels, out, in, out/panelCols*(in/blockRows)*blockBytes)
	return dense{
		weight: matrix{out: out, in: in, blocks: b, gain: float32(s.Gain)},
		bias:   r.floats(name+".bias", out),
	}
}
