package embeddingtest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// WriteModel writes a small model with random weights into dir, in the files that
// sentence-transformers publishes: 64 dimensions, two layers, letters as its vocabulary.
func WriteModel(tb testing.TB, dir string) {
	tb.Helper()
	const hidden, inner, layers, positions = 64, 128, 2, 64
	vocab := []byte("[PAD]\n[UNK]\n[CLS]\n[SEP]\n")
	words := 4
	for _, prefix := range []string{"", "##"} {
		for c := '!'; c <= '~'; c++ {
			if c < 'A' || c > 'Z' {
				vocab = append(append(append(vocab, prefix...), byte(c)), '\n')
				words++
			}
		}
	}
	for _, w := range []string{"cat", "mat", "the", "revenue"} {
		vocab = append(append(vocab, w...), '\n')
		words++
	}
	write := func(name string, b []byte) {
		tb.Helper()
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	write("vocab.txt", vocab)
	write("tokenizer_config.json", []byte(`{"do_lower_case": true, "strip_accents": null}`))
	write("sentence_bert_config.json", fmt.Appendf(nil, `{"max_seq_length": %d}`, positions/2))
	write("1_Pooling/config.json", []byte(`{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false}`))
	write("config.json", fmt.Appendf(nil, `{"model_type": "bert", "hidden_act": "gelu", "num_hidden_layers": %d, "num_attention_heads": 2, "hidden_size": %d,
"intermediate_size": %d, "vocab_size": %d, "max_position_embeddings": %d, "layer_norm_eps": 1e-12}`, layers, hidden, inner, words, positions))

	r := rand.New(rand.NewPCG(1, 2))
	header := map[string]any{}
	var data []byte
	add := func(name string, value func() float32, shape ...int) {
		n, from := 1, len(data)
		for _, s := range shape {
			n *= s
		}
		for range n {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(value()))
		}
		header[name] = map[string]any{"dtype": "F32", "shape": shape, "data_offsets": []int{from, len(data)}}
	}
	random := func(scale float64) func() float32 { return func() float32 { return float32(r.NormFloat64() * scale) } }
	one := func() float32 { return 1 }
	dense := func(name string, out, in int) {
		add(name+".weight", random(0.02), out, in)
		add(name+".bias", random(0.01), out)
	}
	norm := func(name string) {
		add(name+".weight", one, hidden)
		add(name+".bias", random(0.01), hidden)
	}
	add("embeddings.word_embeddings.weight", random(1), words, hidden)
	add("embeddings.position_embeddings.weight", random(0.02), positions, hidden)
	add("embeddings.token_type_embeddings.weight", random(0.02), 2, hidden)
	norm("embeddings.LayerNorm")
	for i := range layers {
		p := fmt.Sprintf("encoder.layer.%d.", i)
		for _, s := range []string{"query", "key", "value"} {
			dense(p+"attention.self."+s, hidden, hidden)
		}
		dense(p+"attention.output.dense", hidden, hidden)
		norm(p + "attention.output.LayerNorm")
		dense(p+"intermediate.dense", inner, hidden)
		dense(p+"output.dense", hidden, inner)
		norm(p + "output.LayerNorm")
	}
	head, err := json.Marshal(header)
	if err != nil {
		tb.Fatal(err)
	}
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	write("model.safetensors", append(append(file, head...), data...))
}
