package prompt

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/event"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/template"
	"github.com/caxton/caxton/internal/tool"
	"github.com/prometheus/client_golang/prometheus"
)

// Models gives each agent its model. *llm.Catalog provides it.
type Models interface {
	For(s caxton.LLMSettings) (llm.Model, error)
}

// Tools gives each agent its tools. *tool.Set provides it.
type Tools interface {
	For(def *caxton.Definition) *tool.Granted
}

// A toolbox is what one agent may use. *tool.Granted is one; a replay has its own.
type toolbox interface {
	Has(name string) bool
	Specs() []tool.Spec
	IdempotentCall(name string, args json.RawMessage) bool
	NeedsApproval(name string) bool
	Waits(name string) bool
	Call(ctx context.Context, name string, call tool.Call) (tool.Result, error)
	Reconciles(name string) bool
	Reconcile(ctx context.Context, name string, call tool.Call) (tool.Result, bool, error)
}

// A Log keeps what happens in a turn. *sqlite.DB and *memjournal.Journal provide it.
type Log interface {
	Append(ctx context.Context, records ...caxton.Record) error
	Open(ctx context.Context, tickets []caxton.Ticket, records ...caxton.Record) error
	Amend(ctx context.Context, kind caxton.TicketKind, id string, change func(caxton.Ticket) (caxton.Amendment, error)) (caxton.Ticket, *caxton.Delivery, error)
	Reserve(ctx context.Context, rs []caxton.Reservation, records ...caxton.Record) error
	Book(ctx context.Context, msg caxton.MessageID, id string, cost []caxton.Charge, records ...caxton.Record) error
	BudgetUses(ctx context.Context, prefix string) ([]caxton.BudgetUse, error)
	History(ctx context.Context, conv caxton.ConversationID, before caxton.MessageID, limit int) ([]caxton.Message, error)
	PutBlob(ctx context.Context, data []byte, mediaType string) (hash string, err error)
	Blob(ctx context.Context, hash string) (data []byte, mediaType string, err error)
}

// A Feed spreads the text of models while it is written. *event.Feed provides it.
type Feed interface {
	Active() bool
	Publish(conv caxton.ConversationID, events ...event.Event)
}

// Config tunes the handlers. Zero fields mean the defaults given here.
type Config struct {
	MaxSteps      int           // model calls in a turn, unless the agent says otherwise: 8
	ContextTokens int           // budget for history, unless the agent says otherwise: 4096
	ParallelCalls int           // tool calls that run side by side: 8
	ModelTimeout  time.Duration // of one model call, unless the agent says otherwise: 60 s
	MaxTokens     int           // of one answer, unless the agent says otherwise: the provider's
	Temperature   *float64      // unless the agent says otherwise: the provider's

	ApproveTools []string                // tools whose calls need approval for every agent
	Approval     caxton.ApprovalPolicy   // who approves, unless the agent says otherwise
	Budgets      caxton.Budgets          // of the server as a whole
	BudgetAnswer int                     // tokens of an answer when a budget counts them and nothing bounds it: 4096
	Prices       map[string]caxton.Price // by "provider/model" or model
	Feed         Feed                    // nil for nobody
	Memory       Memory                  // nil: no agent remembers

	// Module returns what replays turns of a version that is a module; nil: they are not replayed.
	Module func(ctx context.Context, v caxton.AgentVersion) (ModuleReplayer, error)

	Logger     *slog.Logger          // discards
	Registerer prometheus.Registerer // a registry of its own
	Now        func() time.Time      // time.Now
}

// Handlers makes handlers of config agents. It is safe for concurrent use.
type Handlers struct {
	models  Models
	tools   Tools
	log     Log
	cfg     Config
	metrics metrics
}

// New returns Handlers. It starts nothing.
func New(models Models, tools Tools, log Log, cfg Config) *Handlers {
	cfg.MaxSteps = cmp.Or(cfg.MaxSteps, 8)
	cfg.ContextTokens = cmp.Or(cfg.ContextTokens, 4096)
	cfg.ParallelCalls = cmp.Or(cfg.ParallelCalls, 8)
	cfg.ModelTimeout = cmp.Or(cfg.ModelTimeout, time.Minute)
	cfg.BudgetAnswer = cmp.Or(cfg.BudgetAnswer, 4096)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Handlers{models: models, tools: tools, log: log, cfg: cfg, metrics: newMetrics(cfg.Registerer)}
}

// An Agent handles messages for one version of a config agent. It is safe for concurrent use.
type Agent struct {
	h         *Handlers
	version   caxton.AgentVersion
	def       caxton.Definition
	slug      string
	model     llm.Model
	tools     toolbox
	templates map[caxton.Performative]*template.Template
	fallback  *template.Template // for performatives without one of their own; nil: the text
}

// Handler returns the handler of a version. Errors: Invalid (a template), or why its model
// cannot be had.
func (h *Handlers) Handler(v caxton.AgentVersion) (*Agent, error) {
	model, err := h.models.For(v.Definition.LLM)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		h: h, version: v, def: v.Definition, slug: caxton.Slug(v.Definition.Name), model: model,
		tools: h.tools.For(&v.Definition), templates: map[caxton.Performative]*template.Template{},
	}
	t := v.Definition.Templates
	if a.fallback, err = parse(t.User); err != nil {
		return nil, err
	}
	for p, text := range map[caxton.Performative]string{
		caxton.Request: t.Request, caxton.Query: t.Query, caxton.QueryIf: t.Query, caxton.QueryRef: t.Query, caxton.Inform: t.Inform,
	} {
		parsed, err := parse(text)
		if err != nil {
			return nil, err
		}
		if parsed != nil {
			a.templates[p] = parsed
		}
	}
	return a, nil
}

func parse(text string) (*template.Template, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no template is no fault
	}
	t, err := template.Parse(text)
	if err != nil {
		return nil, caxton.Errorf(caxton.Invalid, "template_invalid", "the prompt template is not well formed").WithCause(err)
	}
	return t, nil
}

// Preview returns the request that a message with the text would make of the model.
func (h *Handlers) Preview(ctx context.Context, v caxton.AgentVersion, text string) (llm.Request, error) {
	a, err := h.Handler(v)
	if err != nil {
		return llm.Request{}, err
	}
	m := caxton.Message{
		ID: "preview", Performative: caxton.Request, Sender: "user", Receiver: a.slug,
		ReceiverID: v.AgentID, Content: caxton.TextContent(text), CreatedAt: h.cfg.Now(),
	}
	told, err := a.told(ctx, &m)
	if err != nil {
		return llm.Request{}, err
	}
	var known *caxton.MemoryRecalledBody
	if a.remembers() {
		if known, err = a.recall(ctx, &m, told); err != nil {
			return llm.Request{}, err
		}
	}
	return a.request(&m, told, known)
}

// request assembles the first request of a turn. told is what was said before, and known what the
// agent remembers of the matter, or nil.
func (a *Agent) request(m *caxton.Message, told []caxton.Message, known *caxton.MemoryRecalledBody) (llm.Request, error) {
	s := &a.def.LLM
	req := llm.Request{
		Model: s.Model, System: a.def.SystemPrompt, MaxTokens: cmp.Or(s.MaxTokens, a.h.cfg.MaxTokens),
		Temperature: cmp.Or(s.Temperature, a.h.cfg.Temperature), TopP: s.TopP,
		FrequencyPenalty: s.FrequencyPenalty, PresencePenalty: s.PresencePenalty, AgentName: a.def.Name,
	}
	if d := a.def.Documentation; d != "" && d != a.def.SystemPrompt {
		req.Documents = append(req.Documents, llm.Document{Title: a.def.Name, Text: d})
	}
	for _, spec := range a.tools.Specs() {
		req.Tools = append(req.Tools, llm.Tool{Name: spec.Name, Description: spec.Description, Parameters: spec.Parameters})
	}
	history := history(m, told)
	memories := memoryText(known)
	req.Documents = append(req.Documents, a.memoryDocument(m, memories)...)
	text, err := a.render(m, history, memories)
	if err != nil {
		return req, err
	}
	if g := guidance(m.Performative); g != "" {
		req.System = strings.TrimSpace(req.System + "\n\n" + g)
	}
	req.Messages = append(history, llm.Message{Role: llm.User, Text: text})
	return req, nil
}

// maxHistory is how many messages of a conversation are looked at, at most.
const maxHistory = 200

// history returns messages as the model is given them before m: what the agent said as the
// assistant's, all else as the user's.
func history(m *caxton.Message, told []caxton.Message) []llm.Message {
	var ms []llm.Message
	for i := range told {
		p := &told[i]
		role := llm.User
		if p.SenderID == m.ReceiverID {
			role = llm.Assistant
		}
		if role == llm.Assistant && len(ms) == 0 {
			continue // an answer whose question did not fit
		}
		if n := len(ms); n > 0 && ms[n-1].Role == role {
			ms[n-1].Text += "\n\n" + p.Text() // providers want the roles to take turns
			continue
		}
		ms = append(ms, llm.Message{Role: role, Text: p.Text()})
	}
	if n := len(ms); n > 0 && ms[n-1].Role == llm.User {
		ms = append(ms, llm.Message{Role: llm.Assistant, Text: "(no answer)"})
	}
	return ms
}

// told returns the newest messages of the conversation that fit the budget, oldest first.
func (a *Agent) told(ctx context.Context, m *caxton.Message) ([]caxton.Message, error) {
	if m.ConversationID == "" {
		return nil, nil
	}
	limit := cmp.Or(a.def.Conversation.ContextTurns, maxHistory)
	past, err := a.h.log.History(ctx, m.ConversationID, m.ID, min(limit, maxHistory))
	if err != nil {
		return nil, err
	}
	budget := cmp.Or(a.def.Conversation.ContextTokens, a.h.cfg.ContextTokens)
	first := len(past)
	for first > 0 {
		cost := tokens(past[first-1].Text())
		if cost > budget {
			break
		}
		budget -= cost
		first--
	}
	return past[first:], nil
}

// tokens estimates how many tokens a text has: a quarter of its characters, and a little
// for the frame around it.
func tokens(s string) int { return len([]rune(s))/4 + 4 }

// templateFor returns the template for messages of a performative, or nil.
func (a *Agent) templateFor(p caxton.Performative) *template.Template {
	if t := a.templates[p]; t != nil {
		return t
	}
	return a.fallback
}

// render returns the text that carries a message to the model: the agent's template for
// its performative filled in, or the message's own text.
func (a *Agent) render(m *caxton.Message, history []llm.Message, memories string) (string, error) {
	t := a.templateFor(m.Performative)
	if t == nil {
		return m.Text(), nil
	}
	values := map[string]any{}
	var object map[string]any
	if json.Unmarshal(m.Content, &object) == nil {
		maps.Copy(values, object)
	}
	var content any
	if json.Unmarshal(m.Content, &content) != nil {
		content = m.Text()
	}
	past := make([]any, 0, len(history))
	for _, h := range history {
		past = append(past, string(h.Role)+": "+h.Text)
	}
	for k, v := range map[string]any{ // the content may say these otherwise
		"request": m.Text(), "message": m.Text(), "parameters": a.def.Parameters,
		"date": m.CreatedAt.UTC().Format(time.DateOnly), "context": memories,
	} {
		if _, own := values[k]; !own {
			values[k] = v
		}
	}
	maps.Copy(values, map[string]any{ // these are facts: the content cannot pretend to be another sender's
		"message_content": m.Text(), "content": content, "performative": string(m.Performative),
		"sender": m.Sender, "sender_agent": m.Sender, "capability": m.Capability.String(), "agent": a.def.Name,
		"conversation_id": string(m.ConversationID), "conversation_history": past, "memory_context": memories,
	})
	text, err := t.Execute(values)
	if err != nil {
		return "", err
	}
	return text, nil
}
