package llm_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/llm/llmtest"
)

// A talker says its pieces and then fails, or not.
type talker struct {
	fake
	pieces []string
}

func (f *talker) Stream(_ context.Context, _ llm.Request, emit func(llm.Delta)) (llm.Response, error) {
	res := llm.Response{Provider: f.name}
	for _, p := range f.pieces {
		emit(llm.Delta{Text: p})
		res.Text += p
	}
	return res, f.err
}

func TestStreamOfChain(t *testing.T) {
	down := caxton.Errorf(caxton.Unavailable, "down", "down")
	silent := &talker{fake: fake{name: "silent", err: down}}
	breaks := &talker{fake{name: "breaks", err: down}, []string{"half ", "an an"}}
	speaks := &talker{fake{name: "speaks"}, []string{"all ", "of ", "it"}}
	mute := &fake{name: "mute"} // no Streamer: it answers with its name
	tests := []struct {
		name     string
		chain    llm.Chain
		want     string // the text, "" for an error
		restarts int
	}{
		{"the first speaks", llm.Chain{speaks, breaks}, "all of it", 0},
		{"the first fails before it says anything", llm.Chain{silent, speaks}, "all of it", 0},
		{"the first fails in the middle", llm.Chain{breaks, speaks}, "all of it", 1},
		{"two fail in the middle", llm.Chain{breaks, breaks, speaks}, "all of it", 2},
		{"one fails in the middle, one at once", llm.Chain{breaks, silent, speaks}, "all of it", 1},
		{"the last cannot stream", llm.Chain{breaks, mute}, "mute", 1},
		{"a chain in a chain", llm.Chain{llm.Chain{breaks, silent}, speaks}, "all of it", 1},
		{"behind breakers", llm.Chain{llm.Guard(breaks, slog.New(slog.DiscardHandler)), llm.Guard(speaks, slog.New(slog.DiscardHandler))}, "all of it", 1},
		{"all fail", llm.Chain{silent, breaks}, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var h llmtest.Heard
			res, err := llm.Stream(t.Context(), tt.chain, llm.Request{}, h.Emit)
			if tt.want == "" {
				if caxton.KindOf(err) != caxton.Unavailable {
					t.Errorf("Stream = %+v, %v, want unavailable", res, err)
				}
				return
			}
			if err != nil || res.Text != tt.want || h.Restarts != tt.restarts {
				t.Errorf("Stream = %+v, %v after %d restarts, want %q and %d", res, err, h.Restarts, tt.want, tt.restarts)
			}
			h.Check(t, res)
		})
	}
}

func TestEmitPiecesStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	err := llm.EmitPieces(ctx, llm.Response{Text: "a b"}, []string{"a ", "b"}, func(llm.Delta) { n++; cancel() })
	if caxton.KindOf(err) != caxton.Canceled || n != 1 {
		t.Errorf("EmitPieces = %v after %d pieces, want it canceled after 1", err, n)
	}
}
