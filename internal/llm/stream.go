package llm

import "context"

// A Delta is a piece of an answer that is still being made. Exactly one field is set.
type Delta struct {
	Text    string // the next piece of the text
	Tool    string // the name of a tool that the model begins to call
	Restart bool   // all pieces so far are void: the answer begins again, perhaps another model's
}

// A Streamer is a Model that can show its answer while it makes it. Stream calls emit for
// each piece, from its own goroutine and never after it returned; emit should be quick, for
// the provider waits meanwhile. The texts since the last Restart, joined, are the text of the
// Response, and there is one Tool for each of its calls, in order; the Response means the
// same as Generate's. After an error all pieces are void.
type Streamer interface {
	Model
	Stream(ctx context.Context, req Request, emit func(Delta)) (Response, error)
}

// Stream answers req as m.Generate does and shows pieces of the answer to emit: as they come
// when m is a Streamer, else at the end. A nil emit means that nobody looks.
func Stream(ctx context.Context, m Model, req Request, emit func(Delta)) (Response, error) {
	if emit == nil {
		return m.Generate(ctx, req)
	}
	if s, ok := m.(Streamer); ok {
		return s.Stream(ctx, req, emit)
	}
	res, err := m.Generate(ctx, req)
	if err == nil {
		EmitWhole(res, emit)
	}
	return res, err
}

// EmitWhole shows a finished answer, its text in one piece.
func EmitWhole(res Response, emit func(Delta)) {
	if res.Text != "" {
		emit(Delta{Text: res.Text})
	}
	for _, c := range res.ToolCalls {
		emit(Delta{Tool: c.Name})
	}
}

// EmitPieces shows a finished answer piece by piece, for models that have it at once. It ends
// early, with the error that Ended returns, when ctx does.
func EmitPieces(ctx context.Context, res Response, pieces []string, emit func(Delta)) error {
	for _, p := range pieces {
		if err := Ended(ctx, res.Provider); err != nil {
			return err
		}
		emit(Delta{Text: p})
	}
	for _, c := range res.ToolCalls {
		emit(Delta{Tool: c.Name})
	}
	return nil
}
