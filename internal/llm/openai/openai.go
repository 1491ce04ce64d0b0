// Package openai speaks to OpenAI's chat completions and to every server that offers the
// same interface: Ollama, vLLM, llama.cpp, Azure. It wraps the official SDK; it owns the
// translation and the kinds of errors, and refuses to choose models or to fall back.
//
// internal/prompt calls Generate through an llm.Catalog from agents' workers. The SDK
// retries 408, 409, 429 and 5xx with pauses that honour Retry-After, within the caller's
// deadline.
package openai

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/shared"
)

// Config says which server and which model. Zero fields mean the defaults given here.
type Config struct {
	Name       string        // the provider's name in answers and metrics: openai
	APIKey     string        // may be empty for servers that want none
	BaseURL    string        // the SDK's default, OpenAI's own
	Model      string        // gpt-4o-mini
	Timeout    time.Duration // of one attempt: 60 s
	MaxRetries int           // 2; negative for none
	HTTPClient *http.Client  // http.DefaultClient
}

// A Model is one model behind the interface. It is safe for concurrent use.
type Model struct {
	client sdk.Client
	cfg    Config
	local  bool // not OpenAI's own server: it may know only the older max_tokens
}

// New returns a Model. It calls nobody.
func New(cfg Config) *Model {
	cfg.Name = cmp.Or(cfg.Name, "openai")
	cfg.Model = cmp.Or(cfg.Model, "gpt-4o-mini")
	cfg.Timeout = cmp.Or(cfg.Timeout, time.Minute)
	cfg.MaxRetries = max(0, cmp.Or(cfg.MaxRetries, 2))
	opts := []option.RequestOption{
		option.WithAPIKey(cmp.Or(cfg.APIKey, "none")), option.WithMaxRetries(cfg.MaxRetries), option.WithRequestTimeout(cfg.Timeout),
	}
	if cfg.BaseURL != "" {
		opts = append(opts, option.WithBaseURL(cfg.BaseURL))
	}
	if cfg.HTTPClient != nil {
		opts = append(opts, option.WithHTTPClient(cfg.HTTPClient))
	}
	return &Model{client: sdk.NewClient(opts...), cfg: cfg, local: cfg.BaseURL != "" && !strings.Contains(cfg.BaseURL, "api.openai.com")}
}

// Info names the provider and the model.
func (m *Model) Info() llm.Info { return llm.Info{Provider: m.cfg.Name, Model: m.cfg.Model} }

// Generate answers req.
func (m *Model) Generate(ctx context.Context, req llm.Request) (llm.Response, error) {
	p, err := m.params(req)
	if err != nil {
		return llm.Response{}, err
	}
	c, err := m.client.Chat.Completions.New(ctx, p)
	if err != nil {
		return llm.Response{}, m.fail(ctx, err)
	}
	if len(c.Choices) == 0 {
		return llm.Response{}, caxton.Errorf(caxton.Malformed, "model_answer_malformed", "%s answered without a choice", m.cfg.Name).
			WithHint("check that llm.base_url points to a chat completions server")
	}
	choice := c.Choices[0]
	res := llm.Response{Text: choice.Message.Content, Stop: llm.StopEnd, Provider: m.cfg.Name, Model: cmp.Or(c.Model, string(p.Model))}
	if res.Text == "" {
		res.Text = choice.Message.Refusal
	}
	for _, tc := range choice.Message.ToolCalls {
		if tc.Type == "custom" {
			continue
		}
		args := tc.Function.Arguments
		if strings.TrimSpace(args) == "" {
			args = "{}"
		}
		res.ToolCalls = append(res.ToolCalls, llm.ToolCall{ID: tc.ID, Name: tc.Function.Name, Arguments: json.RawMessage(args)})
	}
	switch {
	case len(res.ToolCalls) > 0:
		res.Stop = llm.StopTools
	case choice.FinishReason == "length":
		res.Stop = llm.StopLength
	case choice.FinishReason == "content_filter":
		res.Stop = llm.StopFilter
	}
	res.Usage = llm.Usage{InputTokens: int(c.Usage.PromptTokens), OutputTokens: int(c.Usage.CompletionTokens)}
	if c.Usage.TotalTokens == 0 {
		res.Usage = llm.EstimateUsage(req, res.Text)
	}
	return res, nil
}

func (m *Model) params(req llm.Request) (sdk.ChatCompletionNewParams, error) {
	p := sdk.ChatCompletionNewParams{Model: shared.ChatModel(cmp.Or(req.Model, m.cfg.Model))}
	if len(req.Messages) == 0 {
		return p, caxton.Errorf(caxton.Invalid, "request_empty", "the request has no message")
	}
	if system := llm.Instructions(req); system != "" {
		p.Messages = append(p.Messages, sdk.SystemMessage(system))
	}
	for _, msg := range req.Messages {
		switch msg.Role {
		case llm.User:
			p.Messages = append(p.Messages, sdk.UserMessage(msg.Text))
		case llm.ToolRole:
			text := msg.Text
			if msg.IsError {
				text = "error: " + text
			}
			p.Messages = append(p.Messages, sdk.ToolMessage(text, msg.ToolCallID))
		case llm.Assistant:
			a := sdk.ChatCompletionAssistantMessageParam{}
			if msg.Text != "" || len(msg.ToolCalls) == 0 {
				a.Content.OfString = param.NewOpt(msg.Text)
			}
			for _, tc := range msg.ToolCalls {
				a.ToolCalls = append(a.ToolCalls, sdk.ChatCompletionMessageToolCallUnionParam{OfFunction: &sdk.ChatCompletionMessageFunctionToolCallParam{
					ID: tc.ID, Function: sdk.ChatCompletionMessageFunctionToolCallFunctionParam{Name: tc.Name, Arguments: string(tc.Arguments)},
				}})
			}
			p.Messages = append(p.Messages, sdk.ChatCompletionMessageParamUnion{OfAssistant: &a})
		}
	}
	for _, t := range req.Tools {
		var schema shared.FunctionParameters
		if err := json.Unmarshal(t.Parameters, &schema); err != nil {
			return p, caxton.Errorf(caxton.Invalid, "tool_schema_invalid", "the schema of tool %s cannot be read", t.Name).WithCause(err)
		}
		p.Tools = append(p.Tools, sdk.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: t.Name, Description: param.NewOpt(t.Description), Parameters: schema,
		}))
	}
	if req.MaxTokens > 0 {
		if m.local {
			p.MaxTokens = param.NewOpt(int64(req.MaxTokens))
		} else {
			p.MaxCompletionTokens = param.NewOpt(int64(req.MaxTokens))
		}
	}
	for _, o := range []struct {
		from *float64
		to   *param.Opt[float64]
	}{{req.Temperature, &p.Temperature}, {req.TopP, &p.TopP}, {req.FrequencyPenalty, &p.FrequencyPenalty}, {req.PresencePenalty, &p.PresencePenalty}} {
		if o.from != nil {
			*o.to = param.NewOpt(*o.from)
		}
	}
	return p, nil
}

// fail gives an SDK error its kind.
func (m *Model) fail(ctx context.Context, err error) error {
	if api, ok := errors.AsType[*sdk.Error](err); ok {
		return llm.StatusError(m.cfg.Name, api.StatusCode, api.Message, err)
	}
	var ne net.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return caxton.Errorf(caxton.Canceled, "canceled", "the call of %s was cancelled", m.cfg.Name).WithCause(err)
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return caxton.Errorf(caxton.Timeout, "model_timeout", "%s did not answer in time", m.cfg.Name).
			WithHint("raise llm.timeout, or use a faster model").WithCause(err)
	case errors.As(err, &ne):
		return llm.UnreachableError(m.cfg.Name, err)
	}
	return llm.DecodeError(m.cfg.Name, err)
}
