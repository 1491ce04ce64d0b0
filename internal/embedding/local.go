package embedding

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/embedding/bert"
	"github.com/caxton/caxton/internal/embedding/hub"
	"github.com/caxton/caxton/internal/embedding/minilm"
	"github.com/caxton/caxton/internal/embedding/wordpiece"
)

const (
	// localParallel batches run at a time: a text that comes while a long batch has all
	// processors shares them instead of waiting.
	localParallel = 2
	// localBytes of text for each processor are a batch: about 256 tokens, which is what the
	// model computes in one pass. More would not be faster, and whoever comes next would wait
	// longer.
	localBytes = 1 << 10
)

// A local model runs in this process.
type local struct {
	model  *bert.Model
	tokens *wordpiece.Tokenizer
}

func newLocal(m *bert.Model) (*local, error) {
	t, err := wordpiece.Read(bytes.NewReader(m.Vocabulary()))
	if err != nil {
		return nil, err
	}
	return &local{model: m, tokens: t}, nil
}

func (l *local) embed(ctx context.Context, texts []string) ([][]float32, error) {
	limit, d := l.model.MaxTokens(), l.model.Dimensions()
	var all []int32
	ends := make([]int, len(texts))
	for i, t := range texts {
		all = l.tokens.Encode(all, t, limit)
		ends[i] = len(all)
	}
	ids, out := make([][]int32, len(texts)), make([][]float32, len(texts))
	from := 0
	for i, end := range ends {
		ids[i], out[i] = all[from:end], make([]float32, d) // one by one: the cache keeps them apart
		from = end
	}
	if err := l.model.EmbedBatch(ctx, out, ids); err != nil {
		return nil, err
	}
	return out, nil
}

func (l *local) loaded(from source, identity string, verified bool) loaded {
	return loaded{
		backend: l, identity: identity, source: from, dimensions: l.model.Dimensions(), maxTokens: l.model.MaxTokens(),
		bytes: weightBytes(l.model.Header()), kernel: l.model.Kernel(), verified: verified, parallel: localParallel, batchBytes: localBytes * max(2, runtime.GOMAXPROCS(0)),
	}
}

// weightBytes is about what a model takes: four bytes a weight in float32, and 34 for 32 of them
// as int8, with their scale.
func weightBytes(h bert.Header) int64 {
	d, inner := int64(h.Hidden), int64(h.Inner)
	n := int64(h.Words+h.Positions)*d + int64(h.Layers)*(4*d*d+2*d*inner)
	if strings.HasPrefix(h.Precision, "int8") {
		return n * 34 / 32
	}
	return 4 * n
}

func openBuiltIn() (loaded, error) {
	m, err := minilm.Load(bert.Config{})
	if err != nil {
		return loaded{}, err
	}
	l, err := newLocal(m)
	if err != nil {
		return loaded{}, err
	}
	return l.loaded(builtIn, m.Header().Identity(), true), nil
}

// The weights and the vocabulary of all-MiniLM-L6-v2 as published.
const (
	shortRevision  = "1110a24"
	minilmRevision = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
	minilmWeights  = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
	minilmWords    = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
	minilmBytes    = 90_868_376
	minilmVocab    = 231_508
)

// modelFiles are what is read of a model, small ones first.
func modelFiles() []hub.File {
	return []hub.File{
		{Name: "config.json"},
		{Name: "tokenizer_config.json", Optional: true},
		{Name: "sentence_bert_config.json", Optional: true},
		{Name: "1_Pooling/config.json", Optional: true},
		{Name: "vocab.txt"},
		{Name: "model.safetensors"},
	}
}

// pinned sets the sizes and digests of the files that are known.
func pinned(files []hub.File) []hub.File {
	for i := range files {
		switch files[i].Name {
		case "vocab.txt":
			files[i].Size, files[i].SHA256 = minilmVocab, minilmWords
		case "model.safetensors":
			files[i].Size, files[i].SHA256 = minilmBytes, minilmWeights
		}
	}
	return files
}

// openDownload loads a model of a hub, and fetches it first unless that has been done.
func openDownload(ctx context.Context, ref reference, cfg Config) (loaded, error) {
	files := modelFiles()
	if strings.EqualFold(ref.name, builtInFull) && strings.HasPrefix(minilmRevision, ref.revision) && len(ref.revision) >= len(shortRevision) {
		ref.revision = minilmRevision
		files = pinned(files)
	}
	if cfg.Dir == "" {
		return loaded{}, caxton.Errorf(caxton.Invalid, "embedding_model_invalid", "there is no place to keep %s in", ref.name).
			WithHint("name a directory that holds the model")
	}
	dir := filepath.Join(cfg.Dir, strings.ReplaceAll(ref.name, "/", "--"), ref.revision)
	hc := cfg.Hub
	hc.Offline = hc.Offline || cfg.Offline
	hc.Logger = cmp.Or(hc.Logger, cfg.Logger)
	h, err := hub.New(hc)
	if err != nil {
		return loaded{}, err
	}
	s, err := h.Fetch(ctx, ref.name, ref.revision, files, dir)
	if err != nil {
		return loaded{}, err
	}
	digests := map[string]string{}
	verified := true
	for _, f := range s.Files {
		digests[f.Name] = f.SHA256
		if f.Name == "model.safetensors" {
			verified = f.Verified // the hub gives digests of large files only
		}
	}
	return loadDirectory(download, dir, path.Base(ref.name), digests["model.safetensors"], digests["vocab.txt"], verified)
}

// openDirectory loads the model in a directory.
func openDirectory(ctx context.Context, dir string) (loaded, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return loaded{}, caxton.Errorf(caxton.NotFound, "model_not_found", "there is no directory %s", dir).
			WithHint("memory.embedding_model names a directory with model.safetensors, config.json and vocab.txt").WithCause(err)
	}
	var digests [2]string
	for i, name := range []string{"model.safetensors", "vocab.txt"} {
		d, err := digest(ctx, filepath.Join(dir, name))
		if err != nil {
			return loaded{}, err
		}
		digests[i] = d
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return loaded{}, err
	}
	return loadDirectory(directory, dir, filepath.Base(abs), digests[0], digests[1], true) // the operator put it there
}

func digest(ctx context.Context, file string) (string, error) {
	f, err := os.Open(file) //nolint:gosec // the operator names the directory
	if err != nil {
		return "", caxton.Errorf(caxton.NotFound, "model_not_found", "cannot read %s", file).
			WithHint("the directory of a model has model.safetensors, config.json and vocab.txt").WithCause(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	h := sha256.New()
	if _, err := io.Copy(h, readerFunc(func(b []byte) (int, error) {
		if err := ended(ctx); err != nil {
			return 0, err
		}
		return f.Read(b)
	})); err != nil {
		return "", fmt.Errorf("read %s: %w", file, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// loadDirectory loads the model in dir. Its identity holds a digest of everything that the
// vectors depend on, so that a model which was exchanged is another.
func loadDirectory(from source, dir, name, weights, vocabulary string, verified bool) (loaded, error) {
	if err := uncased(dir); err != nil {
		return loaded{}, err
	}
	m, err := bert.LoadDir(dir, bert.Config{})
	if err != nil {
		return loaded{}, err
	}
	l, err := newLocal(m)
	if err != nil {
		return loaded{}, fmt.Errorf("%s: %w", filepath.Join(dir, "vocab.txt"), err)
	}
	if weights == minilmWeights {
		name = builtInName // wherever it lies
	}
	h := m.Header()
	all := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %s %t", weights, vocabulary, h.MaxTokens, h.Pooling, h.Normalised))
	return l.loaded(from, fmt.Sprintf("%s@%s-%x", name, h.Precision, all[:6]), verified), nil
}

// uncased refuses a model whose text must not be brought to lower case.
func uncased(dir string) error {
	file := filepath.Join(dir, "tokenizer_config.json")
	b, err := os.ReadFile(file) //nolint:gosec // the operator names the directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return caxton.Errorf(caxton.NotFound, "model_not_found", "cannot read %s", file).WithCause(err)
	}
	c := struct {
		Lower        *bool `json:"do_lower_case"`
		StripAccents *bool `json:"strip_accents"`
		CJK          *bool `json:"tokenize_chinese_chars"`
	}{}
	if err := json.Unmarshal(b, &c); err != nil {
		return caxton.Errorf(caxton.Malformed, "model_damaged", "%s is not JSON", file).WithCause(err)
	}
	for _, v := range []*bool{c.Lower, c.StripAccents, c.CJK} {
		if v != nil && !*v {
			return caxton.Errorf(caxton.Invalid, "model_unsupported", "%s says that text keeps its case, its accents or its Chinese words", file).
				WithHint("the model must be an uncased BERT encoder such as all-MiniLM-L6-v2")
		}
	}
	return nil
}
