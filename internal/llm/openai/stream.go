package openai

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/caxton/caxton/internal/llm"
	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/packages/ssestream"
)

// Stream answers req and shows the pieces as they come. A server that answers at once all the
// same is heard. A stream that ends without a reason to is Unavailable; once it has begun
// nothing is tried again.
func (m *Model) Stream(ctx context.Context, req llm.Request, emit func(llm.Delta)) (llm.Response, error) {
	p, err := m.params(req)
	if err != nil {
		return llm.Response{}, err
	}
	p.StreamOptions.IncludeUsage = param.NewOpt(true)
	x := llm.NewExchange(m.cfg.Name, m.cfg.APIKey, m.cfg.BaseURL, true)
	stream := m.chat.NewStreaming(ctx, p, option.WithMiddleware(x.Do))
	defer func() { _ = stream.Close() }() // what matters has been read
	g := gatherer{emit: emit, at: map[int64]int{}}
	for stream.Next() {
		g.add(stream.Current())
	}
	if err := stream.Err(); err != nil {
		if e, ok := errors.AsType[*ssestream.StreamError](err); ok {
			return llm.Response{}, x.EventError(e.Event.Data, err)
		}
		return llm.Response{}, x.Error(ctx, err)
	}
	if body := x.Plain(); body != nil {
		return m.plain(req, body, emit)
	}
	if g.finish == "" {
		if err := llm.Ended(ctx, m.cfg.Name); err != nil {
			return llm.Response{}, err
		}
		return llm.Response{}, x.Broken()
	}
	g.announce(len(g.calls))
	return m.response(req, &g.answer), nil
}

// plain is for a server that does not stream.
func (m *Model) plain(req llm.Request, body []byte, emit func(llm.Delta)) (llm.Response, error) {
	var c sdk.ChatCompletion
	if err := json.Unmarshal(body, &c); err != nil {
		return llm.Response{}, llm.DecodeError(m.cfg.Name, err)
	}
	res, err := m.whole(req, &c)
	if err == nil {
		llm.EmitWhole(res, emit)
	}
	return res, err
}

// A gatherer puts the chunks of a stream together. The SDK's own wants every chunk to have
// the same ID, which not all servers give it.
type gatherer struct {
	answer
	emit      func(llm.Delta)
	at        map[int64]int // where the newest call with an index is in calls
	announced int           // calls that were shown
}

func (g *gatherer) add(c sdk.ChatCompletionChunk) {
	if c.Model != "" {
		g.model = c.Model
	}
	if c.Usage.PromptTokens+c.Usage.CompletionTokens > 0 { // the last chunk has it; some servers count in each
		g.usage = c.Usage
	}
	for _, choice := range c.Choices {
		if choice.Index != 0 {
			continue // only one was asked for
		}
		if d := choice.Delta.Content; d != "" {
			if g.content == "" && g.refusal != "" { // the text of the answer is the content, if there is any
				g.emit(llm.Delta{Restart: true})
				g.announced = 0
			}
			g.content += d
			g.emit(llm.Delta{Text: d})
		}
		if d := choice.Delta.Refusal; d != "" {
			g.refusal += d
			if g.content == "" {
				g.emit(llm.Delta{Text: d})
			}
		}
		for _, tc := range choice.Delta.ToolCalls {
			if tc.Type != "custom" {
				g.call(tc)
			}
		}
		if choice.FinishReason != "" {
			g.finish = choice.FinishReason
		}
	}
}

// call adds a piece of a tool call. Some servers give every call the index 0 and tell them
// apart by ID, and some repeat ID and name in each piece.
func (g *gatherer) call(tc sdk.ChatCompletionChunkChoiceDeltaToolCall) {
	i, known := g.at[tc.Index]
	if !known || tc.ID != "" && g.calls[i].id != "" && tc.ID != g.calls[i].id {
		i = len(g.calls)
		g.at[tc.Index] = i
		g.calls = append(g.calls, call{})
	}
	g.announce(i) // those before it are complete
	c := &g.calls[i]
	if tc.ID != "" {
		c.id = tc.ID
	}
	if name := tc.Function.Name; name != c.name {
		c.name += name
	}
	c.arguments += tc.Function.Arguments
	if c.arguments != "" && c.name != "" {
		g.announce(i + 1)
	}
}

// announce shows the first n calls; those without a name never are, see response.
func (g *gatherer) announce(n int) {
	for ; g.announced < n; g.announced++ {
		if name := g.calls[g.announced].name; name != "" {
			g.emit(llm.Delta{Tool: name})
		}
	}
}
