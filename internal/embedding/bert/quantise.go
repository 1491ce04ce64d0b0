package bert

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// Quantise reads a directory as LoadDir does and returns a weights file with matrices in int8.
// Name, source and licence go into its header.
func Quantise(dir, name, source, licence string) ([]byte, error) {
	w := &writer{}
	layers := 0
	err := readDir(dir, func(h Header, vocabulary []byte) {
		w.header = h
		w.header.Name, w.header.Source, w.header.Licence, w.header.Precision = name, source, licence, "int8-1"
		w.add(section{Name: "vocabulary", Kind: kindText, Rows: h.Words}, vocabulary)
	}, func(f *float) {
		h := w.header
		w.rows("words", f.words, h.Words, h.Hidden)
		w.rows("positions", f.positions, h.Positions, h.Hidden)
		w.norm("norm", f.norm)
	}, func(l floatLayer) {
		h, p := w.header, fmt.Sprintf("layer.%d.", layers)
		w.panels(p+"qkv", l.qkv, l.qkvBias, 3*h.Hidden, h.Hidden)
		w.panels(p+"out", l.out, l.outBias, h.Hidden, h.Hidden)
		w.norm(p+"norm1", l.norm1)
		w.panels(p+"up", l.up, l.upBias, h.Inner, h.Hidden)
		w.panels(p+"down", l.down, l.downBias, h.Hidden, h.Inner)
		w.norm(p+"norm2", l.norm2)
		layers++
	})
	if err != nil {
		return nil, err
	}
	return w.finish()
}

// A writer collects the sections of a weights file.
type writer struct {
	header Header
	body   []byte
}

func (w *writer) add(s section, data []byte) {
	w.body = append(w.body, make([]byte, aligned(len(w.body))-len(w.body))...)
	s.Offset, s.Size = len(w.body), len(data)
	w.body = append(w.body, data...)
	w.header.Tensors = append(w.header.Tensors, s)
}

func (w *writer) floats(name string, v []float32) {
	b := make([]byte, 0, 4*len(v))
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	w.add(section{Name: name, Kind: kindFloat, Rows: 1, Cols: len(v)}, b)
}

func (w *writer) norm(name string, n norm) {
	w.floats(name+".gain", n.gain)
	w.floats(name+".shift", n.shift)
}

// rows writes a table: a scale for each 32 values of a row.
func (w *writer) rows(name string, v []float32, n, width int) {
	gain := gainOf(v)
	size, blocks := rowBytes(width), width/blockRows
	b := make([]byte, n*size)
	for i := range n {
		row := b[i*size : (i+1)*size]
		for j := range blocks {
			block := v[i*width+j*blockRows:][:blockRows]
			scale := bestScale(block, gain)
			binary.LittleEndian.PutUint16(row[j*2:], scale)
			for k, q := range quantised(block, scale, gain) {
				row[blocks*2+j*blockRows+k] = byte(q) //nolint:gosec // the bits are kept
			}
		}
	}
	w.add(section{Name: name, Kind: kindRows, Rows: n, Cols: width, Gain: float64(gain)}, b)
}

// panels writes a matrix of out × in and its bias: a scale for each 32 inputs of an output.
func (w *writer) panels(name string, v, bias []float32, out, in int) {
	gain := gainOf(v)
	perPanel := in / blockRows
	b := make([]byte, out/panelCols*perPanel*blockBytes)
	for o := range out {
		for j := range perPanel {
			block := v[o*in+j*blockRows:][:blockRows]
			scale := bestScale(block, gain)
			dst := b[(o/panelCols*perPanel+j)*blockBytes:][:blockBytes]
			binary.LittleEndian.PutUint16(dst[o%panelCols*2:], scale)
			for k, q := range quantised(block, scale, gain) {
				dst[panelCols*2+k*panelCols+o%panelCols] = byte(q) //nolint:gosec // the bits are kept
			}
		}
	}
	w.add(section{Name: name, Kind: kindPanels, Rows: out, Cols: in, Gain: float64(gain)}, b)
	w.floats(name+".bias", bias)
}

// finish returns the file.
func (w *writer) finish() ([]byte, error) {
	head, err := json.Marshal(w.header)
	if err != nil {
		return nil, fmt.Errorf("write the header: %w", err)
	}
	file := []byte(fileMagic)
	file = binary.LittleEndian.AppendUint32(file, fileVersion)
	file = binary.LittleEndian.AppendUint32(file, uint32(len(head))) //nolint:gosec // a few kilobytes
	file = append(file, head...)
	file = append(file, make([]byte, aligned(len(file))-len(file))...)
	file = append(file, w.body...)
	sum := sha256.Sum256(file)
	return append(file, sum[:]...), nil
}

// gainOf returns the power of two that brings the scales of v into the range where a 16-bit
// float has all its digits.
func gainOf(v []float32) float32 {
	top := largest(v)
	if top == 0 {
		return 1
	}
	_, exp := math.Frexp(float64(top) / 127)
	return float32(math.Ldexp(1, exp-10)) // the largest scale becomes 512 to 1024
}

func largest(v []float32) float32 {
	return max(slices.Max(v), -slices.Min(v))
}

// bestScale returns the 16-bit scale with which the block loses least, by squares. The largest
// value over 127 is where the search begins; a little less cuts the largest off and is finer
// for the others; a little more may suit them better as well.
func bestScale(block []float32, gain float32) uint16 {
	top := largest(block)
	if top == 0 {
		return 0
	}
	var best uint16
	least := math.Inf(1)
	for step := -24; step <= 8; step++ {
		h := toHalf(top / 127 / gain * (1 + float32(step)/200))
		scale := float64(fromHalf(h) * gain)
		if scale == 0 {
			continue
		}
		loss := 0.0
		for _, v := range block {
			q := math.Round(float64(v) / scale)
			d := float64(v) - scale*max(-127, min(127, q))
			loss += d * d
		}
		if loss < least {
			best, least = h, loss
		}
	}
	return best
}

// quantised returns the block as multiples of the scale.
func quantised(block []float32, scale uint16, gain float32) [blockRows]int8 {
	var q [blockRows]int8
	s := float64(fromHalf(scale) * gain)
	if s == 0 {
		return q
	}
	for i, v := range block {
		q[i] = int8(max(-127, min(127, math.Round(float64(v)/s))))
	}
	return q
}
