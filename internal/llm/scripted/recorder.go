package scripted

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
)

// A Recorder is a Model that passes requests on to another and writes each with its answer,
// or its error, to a cassette. It is safe for concurrent use when the other is.
type Recorder struct {
	model llm.Model

	mu      sync.Mutex
	w       io.Writer
	started bool
	err     error // the first failure to write; nothing is written after it
}

// NewRecorder returns a Recorder that writes the cassette of m to w, whole lines at a time.
// Nothing is written before the first call; the caller closes w after the last.
func NewRecorder(m llm.Model, w io.Writer) *Recorder { return &Recorder{model: m, w: w} }

// Info is the recorded model's.
func (r *Recorder) Info() llm.Info { return r.model.Info() }

// Generate returns the model's answer once it is written. An answer that cannot be written
// is an Internal error, and so is every call after it. What ends because ctx does is not
// recorded: it says nothing about the model.
func (r *Recorder) Generate(ctx context.Context, req llm.Request) (llm.Response, error) {
	res, err := r.model.Generate(ctx, req)
	return r.keep(ctx, req, res, err)
}

// Stream is Generate with the model's pieces, which are not recorded.
func (r *Recorder) Stream(ctx context.Context, req llm.Request, emit func(llm.Delta)) (llm.Response, error) {
	res, err := llm.Stream(ctx, r.model, req, emit)
	return r.keep(ctx, req, res, err)
}

func (r *Recorder) keep(ctx context.Context, req llm.Request, res llm.Response, err error) (llm.Response, error) {
	if err != nil && ctx.Err() != nil {
		return res, err
	}
	parts := split(req)
	e := entry{Hash: sum(parts), Request: parts}
	if err != nil {
		e.Error = &entryError{Kind: caxton.KindOf(err), Code: "internal", Message: "the model failed"}
		if known, ok := errors.AsType[*caxton.Error](err); ok {
			e.Error.Code, e.Error.Message, e.Error.Hint = known.Code, known.Message, known.Hint
		}
	} else {
		e.Response = newEntryResponse(res)
	}
	if werr := r.write(&e); werr != nil {
		return llm.Response{}, caxton.Errorf(caxton.Internal, "cassette_unwritable", "the cassette cannot be written").WithCause(errors.Join(werr, err))
	}
	return res, err
}

func newEntryResponse(res llm.Response) *entryResponse {
	out := &entryResponse{
		Text: res.Text, Stop: cmp.Or(res.Stop, llm.StopEnd), Provider: res.Provider, Model: res.Model,
		InputTokens: res.Usage.InputTokens, OutputTokens: res.Usage.OutputTokens, Estimated: res.Usage.Estimated,
	}
	for _, tc := range res.ToolCalls {
		c := entryCall{ID: tc.ID, Name: tc.Name}
		if json.Valid(tc.Arguments) {
			c.Arguments = tc.Arguments
		} else {
			c.Raw = string(tc.Arguments)
		}
		out.ToolCalls = append(out.ToolCalls, c)
	}
	return out
}

func (r *Recorder) write(e *entry) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // people read it
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	if !r.started {
		r.started = true
		info := r.model.Info()
		if r.err = enc.Encode(header{Version: cassetteVersion, Provider: info.Provider, Model: info.Model}); r.err != nil {
			return r.err
		}
	}
	if r.err = enc.Encode(e); r.err == nil {
		_, r.err = r.w.Write(b.Bytes())
	}
	return r.err
}
