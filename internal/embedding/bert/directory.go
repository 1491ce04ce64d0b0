package bert

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/caxton/caxton"
)

// A float is what comes before the layers of a model, in float32.
type float struct {
	words     []float32
	positions []float32 // the vector of the first token type is added: we use no other
	norm      norm
}

// A floatLayer is a layer in float32, matrices as they lie in the published file: out × in.
type floatLayer struct {
	qkv, out, up, down                 []float32
	qkvBias, outBias, upBias, downBias []float32
	norm1, norm2                       norm
}

// LoadDir reads a model in float32 from a directory as sentence-transformers publishes it:
// model.safetensors, config.json, vocab.txt, and where they are there sentence_bert_config.json
// and 1_Pooling/config.json. The model is called by the directory's name.
func LoadDir(dir string, cfg Config) (*Model, error) {
	m := &Model{}
	err := readDir(dir, func(h Header, vocabulary []byte) {
		m.header, m.vocabulary = h, vocabulary
		m.header.Precision = "float32"
	}, func(f *float) {
		m.words = table{n: m.header.Words, width: m.header.Hidden, exact: f.words}
		m.positions = table{n: m.header.Positions, width: m.header.Hidden, exact: f.positions}
		m.norm = f.norm
	}, func(l floatLayer) {
		h := m.header
		m.layers = append(m.layers, layer{
			qkv:   dense{packed(l.qkv, 3*h.Hidden, h.Hidden), l.qkvBias},
			out:   dense{packed(l.out, h.Hidden, h.Hidden), l.outBias},
			up:    dense{packed(l.up, h.Inner, h.Hidden), l.upBias},
			down:  dense{packed(l.down, h.Hidden, h.Inner), l.downBias},
			norm1: l.norm1,
			norm2: l.norm2,
		})
	})
	if err != nil {
		return nil, err
	}
	return m, m.prepare(cfg)
}

// packed lays a matrix of out × in out as panels.
func packed(w []float32, out, in int) matrix {
	p := make([]float32, len(w))
	for j := range out {
		panel := p[j/panelCols*panelCols*in:]
		for i, v := range w[j*in : (j+1)*in] {
			panel[i*panelCols+j%panelCols] = v
		}
	}
	return matrix{out: out, in: in, packed: p}
}

// readDir reads a directory and hands over its parts as they are read, so that no more than one
// layer is in memory twice.
func readDir(dir string, head func(Header, []byte), base func(*float), each func(floatLayer)) error {
	h, vocabulary, err := readConfig(dir)
	if err != nil {
		return err
	}
	head(h, vocabulary)
	st, closer, err := openSafetensors(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		return err
	}
	defer func() { _ = closer.Close() }() // it was only read
	r := tensorReader{st: st}
	if st.has("bert.embeddings.word_embeddings.weight") {
		r.prefix = "bert."
	}
	d, inner := int64(h.Hidden), int64(h.Inner)
	f := &float{
		words:     r.read("embeddings.word_embeddings.weight", int64(h.Words), d),
		positions: r.read("embeddings.position_embeddings.weight", int64(h.Positions), d),
		norm:      r.norm("embeddings.LayerNorm", d),
	}
	types := r.read("embeddings.token_type_embeddings.weight", 2, d)
	if r.err != nil {
		return r.err
	}
	for i := range f.positions {
		f.positions[i] += types[i%h.Hidden]
	}
	base(f)
	for i := range h.Layers {
		p := fmt.Sprintf("encoder.layer.%d.", i)
		l := floatLayer{
			out:      r.read(p+"attention.output.dense.weight", d, d),
			outBias:  r.read(p+"attention.output.dense.bias", d),
			up:       r.read(p+"intermediate.dense.weight", inner, d),
			upBias:   r.read(p+"intermediate.dense.bias", inner),
			down:     r.read(p+"output.dense.weight", d, inner),
			downBias: r.read(p+"output.dense.bias", d),
			norm1:    r.norm(p+"attention.output.LayerNorm", d),
			norm2:    r.norm(p+"output.LayerNorm", d),
		}
		for _, s := range []string{"query", "key", "value"} {
			l.qkv = append(l.qkv, r.read(p+"attention.self."+s+".weight", d, d)...)
			l.qkvBias = append(l.qkvBias, r.read(p+"attention.self."+s+".bias", d)...)
		}
		if r.err != nil {
			return r.err
		}
		each(l)
	}
	return nil
}

// A tensorReader reads tensors and keeps the first error.
type tensorReader struct {
	st     *safetensors
	prefix string
	err    error
}

func (r *tensorReader) read(name string, shape ...int64) []float32 {
	if r.err != nil {
		return nil
	}
	var out []float32
	out, r.err = r.st.read(r.prefix+name, shape...)
	return out
}

func (r *tensorReader) norm(name string, d int64) norm {
	return norm{gain: r.read(name+".weight", d), shift: r.read(name+".bias", d)}
}

// readConfig reads what a directory says of its model, and the vocabulary.
func readConfig(dir string) (Header, []byte, error) {
	var c struct {
		Type       string  `json:"model_type"`
		Activation string  `json:"hidden_act"`
		Position   string  `json:"position_embedding_type"`
		Layers     int     `json:"num_hidden_layers"`
		Heads      int     `json:"num_attention_heads"`
		Hidden     int     `json:"hidden_size"`
		Inner      int     `json:"intermediate_size"`
		Words      int     `json:"vocab_size"`
		Positions  int     `json:"max_position_embeddings"`
		Epsilon    float64 `json:"layer_norm_eps"`
	}
	var s struct {
		MaxTokens int `json:"max_seq_length"`
	}
	var p struct {
		Mean bool `json:"pooling_mode_mean_tokens"`
		CLS  bool `json:"pooling_mode_cls_token"`
	}
	if err := readJSON(filepath.Join(dir, "config.json"), &c, true); err != nil {
		return Header{}, nil, err
	}
	if err := readJSON(filepath.Join(dir, "sentence_bert_config.json"), &s, false); err != nil {
		return Header{}, nil, err
	}
	p.Mean = true
	if err := readJSON(filepath.Join(dir, "1_Pooling", "config.json"), &p, false); err != nil {
		return Header{}, nil, err
	}
	if c.Type != "bert" || c.Activation != "gelu" || c.Position != "" && c.Position != "absolute" || p.Mean == p.CLS {
		return Header{}, nil, caxton.Errorf(caxton.Invalid, "model_unsupported",
			"%s: model type %q with activation %q, positions %q, mean pooling %t, CLS pooling %t", dir, c.Type, c.Activation, c.Position, p.Mean, p.CLS).
			WithHint("the model must be a BERT encoder with GELU, absolute positions and mean or CLS pooling")
	}
	h := Header{
		Name: filepath.Base(filepath.Clean(dir)), Layers: c.Layers, Heads: c.Heads, Hidden: c.Hidden, Inner: c.Inner,
		Words: c.Words, Positions: c.Positions, MaxTokens: c.Positions, Epsilon: c.Epsilon, Pooling: poolMean, Normalised: true,
	}
	if s.MaxTokens > 0 {
		h.MaxTokens = min(s.MaxTokens, c.Positions)
	}
	if p.CLS {
		h.Pooling = poolCLS
	}
	if err := h.check(dir); err != nil {
		return h, nil, err
	}
	path := filepath.Join(dir, "vocab.txt")
	vocabulary, err := os.ReadFile(path) //nolint:gosec // the operator names the directory
	if err != nil {
		return h, nil, caxton.Errorf(caxton.NotFound, "model_not_found", "cannot read %s", path).WithCause(err)
	}
	if n := lines(vocabulary); n != h.Words {
		return h, nil, damaged(path, "it has %d words, config.json says %d", n, h.Words)
	}
	return h, vocabulary, nil
}

// readJSON decodes the file at path into v. A file that is not there is an error only if it must be.
func readJSON(path string, v any, must bool) error {
	b, err := os.ReadFile(path) //nolint:gosec // the operator names the directory
	if errors.Is(err, fs.ErrNotExist) && !must {
		return nil
	}
	if err != nil {
		return caxton.Errorf(caxton.NotFound, "model_not_found", "cannot read %s", path).WithCause(err).
			WithHint("the directory of a model has model.safetensors, config.json and vocab.txt")
	}
	if err := json.Unmarshal(b, v); err != nil {
		return damaged(path, "it is not the JSON of a model").WithCause(err)
	}
	return nil
}
