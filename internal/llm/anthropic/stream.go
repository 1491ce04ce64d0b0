package anthropic

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/caxton/caxton/internal/llm"
)

// Stream answers req and shows the pieces as they come. A server that answers at once all the
// same is heard. A stream without its end is Unavailable; once it has begun nothing is tried
// again.
func (m *Model) Stream(ctx context.Context, req llm.Request, emit func(llm.Delta)) (llm.Response, error) {
	p, err := m.params(req)
	if err != nil {
		return llm.Response{}, err
	}
	x := llm.NewExchange(m.cfg.Name, m.cfg.APIKey, m.cfg.BaseURL, true)
	stream := m.client.Messages.NewStreaming(ctx, p, option.WithMiddleware(x.Do))
	defer func() { _ = stream.Close() }() // what matters has been read
	var msg sdk.Message
	inputs := map[int64]string{} // of tools, as the model wrote them: the SDK loses what is no JSON
	ended := false
	for stream.Next() {
		e := stream.Current()
		if e.Type == "" || e.Type == "message_start" && (len(msg.Content) > 0 || len(e.Message.Content) > 0) {
			return llm.Response{}, llm.DecodeError(m.cfg.Name, errors.New("an event has no place in a stream"))
		}
		if err := msg.Accumulate(e); err != nil {
			return llm.Response{}, x.Error(ctx, err)
		}
		switch {
		case e.Type == "content_block_delta" && e.Delta.Type == "input_json_delta":
			inputs[e.Index] += e.Delta.PartialJSON
		case e.Type == "message_stop":
			ended = true
		case e.Type == "content_block_start" && e.ContentBlock.Type == "tool_use" && e.ContentBlock.Name != "":
			emit(llm.Delta{Tool: e.ContentBlock.Name})
		case e.Type == "content_block_start" && e.ContentBlock.Type == "text" && e.ContentBlock.Text != "":
			emit(llm.Delta{Text: e.ContentBlock.Text})
		case e.Type == "content_block_delta" && e.Delta.Type == "text_delta" && e.Delta.Text != "" && msg.Content[e.Index].Type == "text":
			emit(llm.Delta{Text: e.Delta.Text})
		}
	}
	if err := stream.Err(); err != nil {
		if e, ok := errors.AsType[*sdk.Error](err); ok && e.StatusCode < http.StatusMultipleChoices {
			return llm.Response{}, x.EventError([]byte(e.RawJSON()), err)
		}
		return llm.Response{}, x.Error(ctx, err)
	}
	if body := x.Plain(); body != nil {
		if err := json.Unmarshal(body, &msg); err != nil {
			return llm.Response{}, llm.DecodeError(m.cfg.Name, err)
		}
		res, err := m.response(req, &msg)
		if err == nil {
			llm.EmitWhole(res, emit)
		}
		return res, err
	}
	if !ended {
		if err := llm.Ended(ctx, m.cfg.Name); err != nil {
			return llm.Response{}, err
		}
		return llm.Response{}, x.Broken()
	}
	for i, input := range inputs {
		if input != "" {
			msg.Content[i].Input = json.RawMessage(input)
		}
	}
	return m.response(req, &msg)
}
