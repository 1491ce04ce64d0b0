package anthropic

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
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
			args := b.Input
			if len(args) == 0 {
				args = json.RawMessage("{}")
			}
			res.ToolCalls = append(res.ToolCalls, llm.ToolCall{ID: b.ID, Name: b.Name, Arguments: args})
		}
	}
	switch {
	case len(res.ToolCalls) > 0:
		res.Stop = llm.StopTools
	case msg.StopReason == sdk.StopReasonMaxTokens:
		res.Stop = llm.StopLength
	case msg.StopReason == sdk.StopReasonRefusal:
		res.Stop = llm.StopFilter
	}
	res.Usage = llm.Usage{InputTokens: int(msg.Usage.InputTokens), OutputTokens: int(msg.Usage.OutputTokens)}
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
			results = append(results, sdk.NewToolResultBlock(msg.ToolCallID, cmp.Or(msg.Text, "(empty)"), msg.IsError))
			continue
		}
		if msg.Role == llm.User && len(results) > 0 { // a word to the results
			results = append(results, sdk.NewTextBlock(msg.Text))
			continue
		}
		flush()
		if msg.Role == llm.User {
			p.Messages = append(p.Messages, sdk.NewUserMessage(sdk.NewTextBlock(msg.Text)))
			continue
		}
		var blocks []sdk.ContentBlockParamUnion
		if msg.Text != "" {
			blocks = append(blocks, sdk.NewTextBlock(msg.Text))
		}
		for _, tc := range msg.ToolCalls {
			var input any
			if json.Unmarshal(tc.Arguments, &input) != nil {
				input = map[string]any{}
			}
			if _, object := input.(map[string]any); !object {
				input = map[string]any{}
			}
			blocks = append(blocks, sdk.NewToolUseBlock(tc.ID, input, tc.Name))
		}
		if len(blocks) > 0 {
			p.Messages = append(p.Messages, sdk.NewAssistantMessage(blocks...))
		}
	}
	flush()
	for _, t := range req.Tools {
		var schema map[string]any
		if err := json.Unmarshal(t.Parameters, &schema); err != nil {
			return p, caxton.Errorf(caxton.Invalid, "tool_schema_invalid", "the schema of tool %s cannot be read", t.Name).WithCause(err)
		}
		in := sdk.ToolInputSchemaParam{Properties: schema["properties"], ExtraFields: map[string]any{}}
		for k, v := range schema {
			switch k {
			case "type", "properties":
			default:
				in.ExtraFields[k] = v
			}
		}
		p.Tools = append(p.Tools, sdk.ToolUnionParam{OfTool: &sdk.ToolParam{Name: t.Name, Description: sdk.String(t.Description), InputSchema: in}})
	}
	if req.Temperature != nil {
		p.Temperature = sdk.Float(min(1, *req.Temperature))
	}
	if req.TopP != nil {
		p.TopP = sdk.Float(*req.TopP)
	}
	return p, nil
}
