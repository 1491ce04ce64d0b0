package bert

import (
	"encoding/binary"
	"math"
)

// panelCols is how many output columns a panel of a matrix holds, and blockRows how many
// inputs share a scale.
const (
	panelCols  = 32
	blockRows  = 32
	blockBytes = panelCols*2 + panelCols*blockRows // 32 scales of 16 bits, then 32 rows of 32 int8
	chunk      = 384                               // inputs of a panel that are unpacked at a time: 48 KiB as float32
)

// A matrix holds a weight matrix of out × in as panels of 32 outputs, each in × 32, so that the
// 32 weights that meet one input lie side by side. One of blocks and packed is set.
type matrix struct {
	out, in int
	blocks  []byte    // out/32 × in/32 blocks of int8 and their scales
	gain    float32   // what the scales are multiplied by
	packed  []float32 // out/32 × in × 32
}

// panel returns inputs from to to of panel j as float32, which may lie in buf.
func (m *matrix) panel(k *kernels, buf []float32, j, from, to int) []float32 {
	if m.packed != nil {
		return m.packed[(j*m.in+from)*panelCols : (j*m.in+to)*panelCols]
	}
	perPanel := m.in / blockRows
	src := m.blocks[(j*perPanel+from/blockRows)*blockBytes : (j*perPanel+to/blockRows)*blockBytes]
	dst := buf[:(to-from)*panelCols]
	k.unpack(dst, src, m.gain)
	return dst
}

// A table holds vectors by number: words, positions. One of rows and exact is set.
type table struct {
	n, width int
	rows     []byte    // per vector: width/32 scales of 16 bits, then width int8
	gain     float32   //
	exact    []float32 // n × width
}

// add adds vector i to dst.
func (t *table) add(dst []float32, i int) {
	if t.exact != nil {
		for j, v := range t.exact[i*t.width : (i+1)*t.width] {
			dst[j] += v
		}
		return
	}
	size := rowBytes(t.width)
	row := t.rows[i*size : (i+1)*size]
	values := row[t.width/blockRows*2:]
	for b := range t.width / blockRows {
		scale := fromHalf(binary.LittleEndian.Uint16(row[b*2:])) * t.gain
		d := dst[b*blockRows : (b+1)*blockRows]
		for j, v := range values[b*blockRows : (b+1)*blockRows] {
			d[j] += float32(int8(v)) * scale //nolint:gosec // the byte is an int8
		}
	}
}

// rowBytes is the size of a table's row.
func rowBytes(width int) int { return width + width/blockRows*2 }

// floats copies little-endian float32 out of data. It returns nil if one is not a finite number.
func floats(data []byte) []float32 {
	out := make([]float32, len(data)/4)
	for i := range out {
		v := math.Float32frombits(binary.LittleEndian.Uint32(data[i*4:]))
		if v-v != 0 {
			return nil
		}
		out[i] = v
	}
	return out
}
