package anthropic

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
)

// Config says which server and which model. Zero fields mean the defaults given here.
type Config struct {
	Name       string // the provider's name in answers and metrics: anthropic
	APIKey     string
	BaseURL    string        // https://api.anthropic.com
	Model      string        // claude-sonnet-4-5
	Timeout    time.Duration // of one attempt, the whole of a stream included: 60 s
	MaxRetries int           // 2; negative for none
	HTTPClient *http.Client  // llm.SameHost
}

// defaultMaxTokens is sent when the request has no limit: the interface wants one.
const defaultMaxTokens = 1024

// A Model is one model behind the interface. It is safe for concurrent use.
type Model struct {
	client sdk.Client
	cfg    Config
}

// New returns a Model. It calls nobody.
func New(cfg Config) *Model {
	cfg.Name = cmp.Or(cfg.Name, "anthropic")
	cfg.BaseURL = cmp.Or(cfg.BaseURL, "https://api.anthropic.com")
	cfg.Model = cmp.Or(cfg.Model, "claude-sonnet-4-5")
	cfg.Timeout = cmp.Or(cfg.Timeout, time.Minute)
	cfg.MaxRetries = max(0, cmp.Or(cfg.MaxRetries, 2))
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = llm.SameHost()
	}
	return &Model{cfg: cfg, client: sdk.NewClient(
		option.WithoutEnvironmentDefaults(), option.WithBaseURL(cfg.BaseURL), option.WithAPIKey(cmp.Or(cfg.APIKey, "none")),
		option.WithHTTPClient(cfg.HTTPClient), option.WithMaxRetries(cfg.MaxRetries), option.WithRequestTimeout(cfg.Timeout))}
}

// Info names the provider and the model.
func (m *Model) Info() llm.Info { return llm.Info{Provider: m.cfg.Name, Model: m.cfg.Model} }

// Generate answers req. An answer with neither content nor a reason to stop is Malformed.
func (m *Model) Generate(ctx context.Context, req llm.Request) (llm.Response, error) {
	p, err := m.params(req)
	if err != nil {
		return llm.Response{}, err
	}
	x := llm.NewExchange(m.cfg.Name, m.cfg.APIKey, m.cfg.BaseURL, false)
	msg, err := m.client.Messages.New(ctx, p, option.WithMiddleware(x.Do))
	if err != nil {
		return llm.Response{}, x.Error(ctx, err)
	}
	return m.response(req, msg)
}

func (m *Model) response(req llm.Request, msg *sdk.Message) (llm.Response, error) {
	if msg.StopReason == "" && len(msg.Content) == 0 {
		return llm.Response{}, caxton.Errorf(caxton.Malformed, "model_answer_malformed", "%s answered without content", m.cfg.Name).
			WithHint("check that llm.base_url points to a messages server")
	}
	res := llm.Response{Stop: llm.StopEnd, Provider: m.cfg.Name, Model: cmp.Or(msg.Model, req.Model, m.cfg.Model)}
	for _, b := range msg.Content {
		switch b.Type {
		case "text":
			res.Text += b.Text
		case "tool_use":
			if b.Name == "" {
				continue // nobody could run it
			}
			args := b.Input
			if len(args) == 0 || string(args) == "null" {
				args = json.RawMessage("{}")
			}
			res.ToolCalls = append(res.ToolCalls, llm.ToolCall{ID: b.ID, Name: b.Name, Arguments: args})
		}
	}
	switch {
	case len(res.ToolCalls) > 0:
		res.Stop = llm.StopTools
	case msg.StopReason == sdk.StopReasonMaxTokens, msg.StopReason == sdk.StopReasonModelContextWindowExceeded:
		res.Stop = llm.StopLength
	case msg.StopReason == sdk.StopReasonRefusal:
		res.Stop = llm.StopFilter
	}
	u := msg.Usage
	res.Usage = llm.Usage{InputTokens: int(u.InputTokens + u.CacheReadInputTokens + u.CacheCreationInputTokens), OutputTokens: int(u.OutputTokens)}
	if res.Usage == (llm.Usage{}) {
		res.Usage = llm.EstimateUsage(req, res)
	}
	return res, nil
}

func (m *Model) params(req llm.Request) (sdk.MessageNewParams, error) {
	p := sdk.MessageNewParams{Model: sdk.Model(cmp.Or(req.Model, m.cfg.Model)), MaxTokens: int64(cmp.Or(req.MaxTokens, defaultMaxTokens))}
	if len(req.Messages) == 0 {
		return p, caxton.Errorf(caxton.Invalid, "request_empty", "the request has no message")
	}
	if system := llm.Instructions(req); system != "" {
		p.System = []sdk.TextBlockParam{{Text: system}}
	}
	var results []sdk.ContentBlockParamUnion // of one step: they go back together
	flush := func() {
		if len(results) > 0 {
			p.Messages = append(p.Messages, sdk.NewUserMessage(results...))
			results = nil
		}
	}
	for _, msg := range req.Messages {
		if msg.Role == llm.ToolRole {
			results = append(results, sdk.NewToolResultBlock(callID(msg.ToolCallID), orEmpty(msg.Text), msg.IsError))
			continue
		}
		if msg.Role == llm.User && len(results) > 0 { // a word to the results
			results = append(results, sdk.NewTextBlock(orEmpty(msg.Text)))
			continue
		}
		flush()
		if msg.Role == llm.User {
			p.Messages = append(p.Messages, sdk.NewUserMessage(sdk.NewTextBlock(orEmpty(msg.Text))))
			continue
		}
		var blocks []sdk.ContentBlockParamUnion
		if strings.TrimSpace(msg.Text) != "" {
			blocks = append(blocks, sdk.NewTextBlock(msg.Text))
		}
		for _, tc := range msg.ToolCalls {
			input := map[string]any{}
			if json.Unmarshal(tc.Arguments, &input) != nil || input == nil {
				input = map[string]any{} // the interface takes objects only
			}
			blocks = append(blocks, sdk.NewToolUseBlock(callID(tc.ID), input, tc.Name))
		}
		if len(blocks) > 0 {
			p.Messages = append(p.Messages, sdk.NewAssistantMessage(blocks...))
		}
	}
	flush()
	for _, t := range req.Tools {
		in, err := inputSchema(t)
		if err != nil {
			return p, err
		}
		p.Tools = append(p.Tools, sdk.ToolUnionParam{OfTool: &sdk.ToolParam{Name: t.Name, Description: sdk.String(t.Description), InputSchema: in}})
	}
	if len(p.Tools) == 0 {
		forgo(&p, req.Messages)
	}
	if req.Temperature != nil {
		p.Temperature = sdk.Float(min(1, *req.Temperature))
	}
	if req.TopP != nil {
		p.TopP = sdk.Float(*req.TopP)
	}
	return p, nil
}

// orEmpty returns text, or a word for none: the interface refuses blank blocks.
func orEmpty(text string) string {
	if strings.TrimSpace(text) == "" {
		return "(empty)"
	}
	return text
}

// callID returns an ID in the characters that the interface allows: calls may come from
// another provider, before a fallback.
func callID(id string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '_'
	}, id)
}

func inputSchema(t llm.Tool) (sdk.ToolInputSchemaParam, error) {
	in := sdk.ToolInputSchemaParam{Properties: map[string]any{}, ExtraFields: map[string]any{}}
	if len(t.Parameters) == 0 {
		return in, nil
	}
	var schema map[string]any
	if err := json.Unmarshal(t.Parameters, &schema); err != nil {
		return in, caxton.Errorf(caxton.Invalid, "tool_schema_invalid", "the schema of tool %s cannot be read", t.Name).
			WithHint("a schema is a JSON object").WithCause(err)
	}
	for k, v := range schema {
		switch k {
		case "type":
		case "properties":
			in.Properties = v
		default:
			in.ExtraFields[k] = v
		}
	}
	return in, nil
}

// forgo declares the tools that were called earlier, and forbids to call them: the interface
// refuses an exchange with calls of tools that the request does not have.
func forgo(p *sdk.MessageNewParams, messages []llm.Message) {
	seen := map[string]bool{}
	for _, msg := range messages {
		for _, tc := range msg.ToolCalls {
			if !seen[tc.Name] {
				seen[tc.Name] = true
				p.Tools = append(p.Tools, sdk.ToolUnionParam{OfTool: &sdk.ToolParam{
					Name: tc.Name, InputSchema: sdk.ToolInputSchemaParam{Properties: map[string]any{}},
				}})
			}
		}
	}
	if len(p.Tools) > 0 {
		p.ToolChoice = sdk.ToolChoiceUnionParam{OfNone: &sdk.ToolChoiceNoneParam{}}
	}
}
