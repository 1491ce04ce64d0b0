package openai

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
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
	Timeout    time.Duration // of one attempt, the whole of a stream included: 60 s
	MaxRetries int           // 2; negative for none
	HTTPClient *http.Client  // llm.SameHost
}

const publicHost = "api.openai.com"

// A Model is one model behind the interface. It is safe for concurrent use.
type Model struct {
	chat  sdk.ChatCompletionService
	cfg   Config
	local bool // not OpenAI's own server: it may know only the older max_tokens
}

// New returns a Model. It calls nobody.
func New(cfg Config) *Model {
	cfg.Name = cmp.Or(cfg.Name, "openai")
	cfg.BaseURL = cmp.Or(cfg.BaseURL, "https://"+publicHost+"/v1")
	cfg.Model = cmp.Or(cfg.Model, "gpt-4o-mini")
	cfg.Timeout = cmp.Or(cfg.Timeout, time.Minute)
	cfg.MaxRetries = max(0, cmp.Or(cfg.MaxRetries, 2))
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = llm.SameHost()
	}
	u, err := url.Parse(cfg.BaseURL)
	return &Model{
		// sdk.NewClient would read the environment, which is meant for OpenAI's own server.
		chat: sdk.NewChatCompletionService(
			option.WithBaseURL(cfg.BaseURL), option.WithAPIKey(cmp.Or(cfg.APIKey, "none")), option.WithHTTPClient(cfg.HTTPClient),
			option.WithMaxRetries(cfg.MaxRetries), option.WithRequestTimeout(cfg.Timeout)),
		cfg: cfg, local: err != nil || u.Hostname() != publicHost,
	}
}

// Info names the provider and the model.
func (m *Model) Info() llm.Info { return llm.Info{Provider: m.cfg.Name, Model: m.cfg.Model} }

// Generate answers req. Arguments of tool calls are passed on as the model wrote them, empty
// ones as {}. An answer without a choice is Malformed.
func (m *Model) Generate(ctx context.Context, req llm.Request) (llm.Response, error) {
	p, err := m.params(req)
	if err != nil {
		return llm.Response{}, err
	}
	x := llm.NewExchange(m.cfg.Name, m.cfg.APIKey, m.cfg.BaseURL, false)
	c, err := m.chat.New(ctx, p, option.WithMiddleware(x.Do))
	if err != nil {
		return llm.Response{}, x.Error(ctx, err)
	}
	return m.whole(req, c)
}

// whole returns the answer in a completion that came at once.
func (m *Model) whole(req llm.Request, c *sdk.ChatCompletion) (llm.Response, error) {
	if len(c.Choices) == 0 {
		return llm.Response{}, caxton.Errorf(caxton.Malformed, "model_answer_malformed", "%s answered without a choice", m.cfg.Name).
			WithHint("check that llm.base_url points to a chat completions server")
	}
	choice := c.Choices[0]
	a := answer{content: choice.Message.Content, refusal: choice.Message.Refusal, finish: choice.FinishReason, model: c.Model, usage: c.Usage}
	for _, tc := range choice.Message.ToolCalls {
		if tc.Type != "custom" {
			a.calls = append(a.calls, call{id: tc.ID, name: tc.Function.Name, arguments: tc.Function.Arguments})
		}
	}
	return m.response(req, &a), nil
}

// An answer is what a provider said, at once or chunk by chunk.
type answer struct {
	content, refusal string
	calls            []call
	finish, model    string
	usage            sdk.CompletionUsage
}

type call struct{ id, name, arguments string }

func (m *Model) response(req llm.Request, a *answer) llm.Response {
	res := llm.Response{Text: cmp.Or(a.content, a.refusal), Stop: llm.StopEnd, Provider: m.cfg.Name, Model: cmp.Or(a.model, req.Model, m.cfg.Model)}
	for _, c := range a.calls {
		if c.name == "" {
			continue // nobody could run it
		}
		args := c.arguments
		if strings.TrimSpace(args) == "" {
			args = "{}"
		}
		res.ToolCalls = append(res.ToolCalls, llm.ToolCall{ID: c.id, Name: c.name, Arguments: json.RawMessage(args)})
	}
	switch {
	case len(res.ToolCalls) > 0:
		res.Stop = llm.StopTools
	case a.finish == "length":
		res.Stop = llm.StopLength
	case a.finish == "content_filter", a.content == "" && a.refusal != "":
		res.Stop = llm.StopFilter
	}
	res.Usage = llm.Usage{InputTokens: int(a.usage.PromptTokens), OutputTokens: int(a.usage.CompletionTokens)}
	if res.Usage == (llm.Usage{}) {
		res.Usage = llm.EstimateUsage(req, res)
	}
	return res
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
					ID: tc.ID, Function: sdk.ChatCompletionMessageFunctionToolCallFunctionParam{Name: tc.Name, Arguments: m.arguments(tc)},
				}})
			}
			p.Messages = append(p.Messages, sdk.ChatCompletionMessageParamUnion{OfAssistant: &a})
		}
	}
	for _, t := range req.Tools {
		schema := shared.FunctionParameters{"type": "object", "properties": map[string]any{}}
		if len(t.Parameters) > 0 {
			schema = nil
			if err := json.Unmarshal(t.Parameters, &schema); err != nil {
				return p, caxton.Errorf(caxton.Invalid, "tool_schema_invalid", "the schema of tool %s cannot be read", t.Name).
					WithHint("a schema is a JSON object").WithCause(err)
			}
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

// arguments returns the arguments of an earlier call. Servers other than OpenAI's read them
// again to fill in their templates, and fail the whole request when they are no object.
func (m *Model) arguments(tc llm.ToolCall) string {
	var object map[string]json.RawMessage
	if m.local && (json.Unmarshal(tc.Arguments, &object) != nil || object == nil) {
		return "{}"
	}
	return string(tc.Arguments)
}
