package bert

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"os"
	"slices"

	"github.com/caxton/caxton"
)

// A safetensors file is open for reading its tensors one at a time, so that no more of it than
// one tensor is in memory.
type safetensors struct {
	file    string
	r       io.ReaderAt
	size    int64 // of the data
	start   int64 // of the data
	tensors map[string]safetensor
}

type safetensor struct {
	Type    string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

const maxSafetensorsHeader = 16 << 20

// newSafetensors reads the header of r, which is size bytes long and called file in errors.
func newSafetensors(file string, r io.ReaderAt, size int64) (*safetensors, error) {
	var prefix [8]byte
	if _, err := r.ReadAt(prefix[:], 0); err != nil {
		return nil, damaged(file, "it ends after %d bytes", size).WithCause(err)
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	if n > maxSafetensorsHeader || int64(n) > size-8 {
		return nil, damaged(file, "its header claims %d bytes", n)
	}
	head := make([]byte, n)
	if _, err := r.ReadAt(head, 8); err != nil {
		return nil, damaged(file, "its header cannot be read").WithCause(err)
	}
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(head, &entries); err != nil {
		return nil, damaged(file, "its header is not JSON").WithCause(err)
	}
	s := &safetensors{file: file, r: r, start: 8 + int64(n), tensors: make(map[string]safetensor, len(entries))}
	s.size = size - s.start
	for name, raw := range entries {
		if name == "__metadata__" {
			continue
		}
		var t safetensor
		if err := json.Unmarshal(raw, &t); err != nil {
			return nil, damaged(file, "its entry for %q cannot be read", name).WithCause(err)
		}
		s.tensors[name] = t
	}
	return s, nil
}

// openSafetensors opens the file at path. The caller closes the second result.
func openSafetensors(path string) (*safetensors, io.Closer, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the directory
	if err != nil {
		return nil, nil, caxton.Errorf(caxton.NotFound, "model_not_found", "cannot open %s", path).WithCause(err).
			WithHint("the directory of a model has model.safetensors, config.json and vocab.txt")
	}
	info, err := f.Stat()
	if err == nil {
		var s *safetensors
		if s, err = newSafetensors(path, f, info.Size()); err == nil {
			return s, f, nil
		}
	}
	_ = f.Close() // it was only read
	return nil, nil, err
}

// has reports whether the file has a tensor of that name.
func (s *safetensors) has(name string) bool {
	_, ok := s.tensors[name]
	return ok
}

// read returns the tensor of the given name as float32; its shape must be the one given.
func (s *safetensors) read(name string, shape ...int64) ([]float32, error) {
	t, ok := s.tensors[name]
	if !ok {
		return nil, damaged(s.file, "it has no tensor %s", name)
	}
	if !slices.Equal(t.Shape, shape) {
		return nil, damaged(s.file, "tensor %s has the shape %v, want %v", name, t.Shape, shape)
	}
	width := int64(2)
	switch t.Type {
	case "F32":
		width = 4
	case "F16", "BF16":
	default:
		return nil, caxton.Errorf(caxton.Invalid, "model_unsupported", "%s: tensor %s is of type %s, want F32, F16 or BF16", s.file, name, t.Type)
	}
	count := int64(1)
	for _, n := range shape {
		count *= n
	}
	from, to := t.Offsets[0], t.Offsets[1]
	if from < 0 || to < from || to > s.size || to-from != count*width {
		return nil, damaged(s.file, "tensor %s lies at %d to %d of %d bytes", name, from, to, s.size)
	}
	out := make([]float32, count)
	buf := make([]byte, min(1<<20, to-from))
	for done := int64(0); done < count; {
		part := buf[:min(int64(len(buf)), (count-done)*width)]
		if _, err := s.r.ReadAt(part, s.start+from+done*width); err != nil {
			return nil, damaged(s.file, "tensor %s cannot be read", name).WithCause(err)
		}
		decode(out[done:], part, t.Type)
		done += int64(len(part)) / width
	}
	for _, v := range out {
		if v-v != 0 {
			return nil, damaged(s.file, "tensor %s holds a value that is no number", name)
		}
	}
	return out, nil
}

// decode fills dst from little-endian numbers of the given type.
func decode(dst []float32, src []byte, kind string) {
	switch kind {
	case "F32":
		for i := range len(src) / 4 {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[i*4:]))
		}
	case "BF16":
		for i := range len(src) / 2 {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[i*2:])) << 16)
		}
	case "F16":
		for i := range len(src) / 2 {
			h := binary.LittleEndian.Uint16(src[i*2:])
			v := fromHalf(h)
			if h&0x7c00 == 0x7c00 { // infinite or not a number
				v = float32(math.Inf(1))
			}
			if h&0x8000 != 0 {
				v = -v
			}
			dst[i] = v
		}
	}
}
