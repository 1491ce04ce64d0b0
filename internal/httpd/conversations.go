package httpd

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/transcript"
	"github.com/danielgtaylor/huma/v2"
)

// Conversations keeps the logs of conversations. *router.Router provides it.
type Conversations interface {
	Log(ctx context.Context, id caxton.ConversationID) ([]caxton.Record, error)
	Fork(ctx context.Context, from caxton.ConversationID, f caxton.Fork) (caxton.Conversation, error)
	Import(ctx context.Context, records []caxton.Record) error
	Archive(ctx context.Context, id caxton.ConversationID, by, reason string) error
	Search(ctx context.Context, q caxton.MatchQuery) ([]caxton.Match, string, error)
}

// Blobs keeps full tool results. *sqlite.DB and *memjournal.Journal provide it.
type Blobs interface {
	PutBlob(ctx context.Context, data []byte, mediaType string) (hash string, err error)
	Blob(ctx context.Context, hash string) (data []byte, mediaType string, err error)
}

// maxImport is the largest file of conversations that is taken at once.
const maxImport = 256 << 20

func (s *Server) conversationRoutes(a huma.API) {
	at := func(method, path, id, summary string) huma.Operation {
		return operation(method, path, id, "conversations", summary)
	}
	replay := at(http.MethodPost, "/conversations/{conversation}/replay", "replay-conversation", "Run a conversation again from its log and compare")
	replay.Description = "No model is called and no tool runs: they answer what the log says. The answer tells whether the same records come of it."
	replay.DefaultStatus = http.StatusOK
	route(s, a, replay, s.replayConversation)
	fork := at(http.MethodPost, "/conversations/{conversation}/fork", "fork-conversation", "Begin a new conversation as a copy of this one, up to a record")
	fork.DefaultStatus = http.StatusCreated
	route(s, a, fork, s.forkConversation)
	route(s, a, at(http.MethodGet, "/conversations/{conversation}/diff/{other}", "diff-conversations", "How two conversations differ in what was said and done"), s.diffConversations)
	route(s, a, at(http.MethodGet, "/conversations/{conversation}/trace", "trace-conversation", "What was said and done, by whom, and how long it took"), s.traceConversation)
	archive := at(http.MethodPost, "/conversations/{conversation}/archive", "archive-conversation", "Close a conversation")
	archive.DefaultStatus = http.StatusOK
	route(s, a, archive, s.archiveConversation)
	for _, p := range []string{"/conversations/{conversation}/export", "/conversations/export"} {
		id := "export-conversation"
		if p == "/conversations/export" {
			id = "export-conversations"
		}
		op := at(http.MethodGet, p, id, "Conversations as lines of JSON, in the format caxton.conversations")
		route(s, a, op, s.exportConversations)
		s.streams[op.Method+" "+op.Path] = func(*http.Request) bool { return true }
	}
	imp := at(http.MethodPost, "/conversations/import", "import-conversations", "Bring in conversations that were exported")
	imp.DefaultStatus, imp.MaxBodyBytes = http.StatusOK, maxImport
	route(s, a, imp, s.importConversations)
	route(s, a, operation(http.MethodGet, "/why/{message}", "why-message", "messages", "What stands behind an answer"), s.why)
}

func (s *Server) replayConversation(ctx context.Context, in *ConversationPath) (*output[api.Replay], error) {
	records, err := s.deps.Conversations.Log(ctx, caxton.ConversationID(in.Conversation))
	if err != nil {
		return nil, err
	}
	r, err := s.deps.Replay(ctx, records)
	if err != nil {
		return nil, err
	}
	out := api.Replay{
		ConversationID: in.Conversation, Equal: r.Equal(), Records: r.Records, Hash: r.Hash, ReplayHash: r.ReplayHash,
		Turns: []api.ReplayedTurn{}, Difference: differenceFrom(r.Difference),
	}
	for i := range r.Turns {
		v := &r.Turns[i]
		out.Turns = append(out.Turns, api.ReplayedTurn{
			MessageID: string(v.MessageID), Agent: cmp.Or(v.Agent, string(v.AgentID)), Version: v.Version, Equal: v.Equal(), Skipped: v.Skipped, Attempts: v.Attempts,
			Records: v.Records, Hash: v.Hash, ReplayHash: v.ReplayHash, Difference: differenceFrom(v.Difference),
		})
	}
	return &output[api.Replay]{out}, nil
}

func differenceFrom(d *caxton.Difference) *api.Difference {
	if d == nil {
		return nil
	}
	return &api.Difference{Seq: d.Seq, Kind: string(d.Kind), Field: d.Field, Logged: d.Logged, Replay: d.Replay, Message: d.Message}
}

type forkInput struct {
	ConversationPath
	Body *api.Fork `required:"false"`
}

func (s *Server) forkConversation(ctx context.Context, in *forkInput) (*output[api.Forked], error) {
	var b api.Fork
	if in.Body != nil {
		b = *in.Body
	}
	if b.AgentVersion > 0 && b.Prompt != "" {
		return nil, caxton.Errorf(caxton.Invalid, "fork_version_twice", "the fork has an agent_version and a prompt").WithHint("give one of the two")
	}
	id := caxton.ConversationID(in.Conversation)
	f := caxton.Fork{At: b.At, Version: b.AgentVersion, By: b.By, Reason: b.Reason}
	if f.Version > 0 || b.Prompt != "" {
		records, err := s.deps.Conversations.Log(ctx, id)
		if err != nil {
			return nil, err
		}
		d, err := lastToAgent(records, b.At)
		if err != nil {
			return nil, err
		}
		if _, err := f.Copy(records, s.cfg.Now()); err != nil {
			return nil, err // before a draft is made that nobody would use
		}
		if b.Prompt != "" {
			f.Version, err = s.deps.Drafts.Draft(ctx, d.Message.ReceiverID, d.Version, b.Prompt, cmp.Or(b.By, "fork"))
		} else {
			_, err = s.deps.Registry.Version(ctx, d.Message.ReceiverID, f.Version)
		}
		if err != nil {
			return nil, err
		}
	}
	c, err := s.deps.Conversations.Fork(ctx, id, f)
	if err != nil {
		return nil, err
	}
	out := api.Forked{Conversation: conversationFrom(c), From: in.Conversation, At: b.At, AgentVersion: f.Version}
	first, err := s.deps.Router.Records(ctx, c.ID, 0, 1)
	if err != nil {
		return nil, err
	}
	var fb caxton.ForkedBody
	if len(first) == 1 && json.Unmarshal(first[0].Body, &fb) == nil {
		out.At = fb.Seq
	}
	return &output[api.Forked]{out}, nil
}

// lastToAgent returns the newest message to an agent up to a record.
func lastToAgent(records []caxton.Record, at int64) (caxton.Delivery, error) {
	if at <= 0 || at > int64(len(records)) {
		at = int64(len(records))
	}
	for i := at - 1; i >= 0; i-- {
		var b caxton.MessageBody
		if r := &records[i]; r.Kind == caxton.RecordMessage && r.AgentID != "" && json.Unmarshal(r.Body, &b) == nil {
			return b.Delivery(), nil
		}
	}
	return caxton.Delivery{}, caxton.Errorf(caxton.Invalid, "fork_agent", "no agent takes part up to record %d", at).WithHint("fork at a later record")
}

type compareInput struct {
	ConversationPath
	Other string `path:"other" minLength:"1" maxLength:"128" doc:"the other conversation"`
}

func (s *Server) diffConversations(ctx context.Context, in *compareInput) (*output[api.ConversationDiff], error) {
	a, err := s.deps.Conversations.Log(ctx, caxton.ConversationID(in.Conversation))
	if err != nil {
		return nil, err
	}
	b, err := s.deps.Conversations.Log(ctx, caxton.ConversationID(in.Other))
	if err != nil {
		return nil, err
	}
	c := transcript.Compare(a, b)
	out := api.ConversationDiff{A: string(c.A), B: string(c.B), AfterA: c.After, AfterB: c.AfterB, Differs: c.Differs, Lines: []api.DiffLine{}, Text: c.Text()}
	for _, l := range c.Lines {
		out.Lines = append(out.Lines, api.DiffLine{Op: string(l.Op), Text: l.Text})
	}
	return &output[api.ConversationDiff]{out}, nil
}

type traceInput struct {
	ConversationPath
	Agent string `query:"agent" maxLength:"200" doc:"only what this agent does, and what is said to it and by it"`
}

func (s *Server) traceConversation(ctx context.Context, in *traceInput) (*output[api.Trace], error) {
	records, err := s.deps.Conversations.Log(ctx, caxton.ConversationID(in.Conversation))
	if err != nil {
		return nil, err
	}
	out := api.Trace{ConversationID: in.Conversation, TraceIDs: traceIDs(records), Items: []api.TraceEvent{}}
	var agent caxton.AgentID
	if in.Agent != "" {
		a, err := s.deps.Registry.Resolve(in.Agent)
		if err != nil {
			return nil, err
		}
		agent, out.Agent = a.ID, a.Slug
	}
	for _, e := range transcript.Timeline(records, agent) {
		out.Items = append(out.Items, api.TraceEvent{
			Seq: e.Seq, At: e.At.UTC(), SinceMS: e.Since.Milliseconds(), TookMS: e.Took.Milliseconds(), Who: e.Who, Kind: string(e.Kind), What: e.What,
			MessageID: string(e.MessageID),
		})
	}
	return &output[api.Trace]{out}, nil
}

type archiveInput struct {
	ConversationPath
	Body *api.Archive `required:"false"`
}

func (s *Server) archiveConversation(ctx context.Context, in *archiveInput) (*output[api.Conversation], error) {
	var b api.Archive
	if in.Body != nil {
		b = *in.Body
	}
	if err := s.deps.Conversations.Archive(ctx, caxton.ConversationID(in.Conversation), b.By, b.Reason); err != nil {
		return nil, err
	}
	return s.getConversation(ctx, &in.ConversationPath)
}

type exportInput struct {
	Conversation string `path:"conversation" required:"false" maxLength:"128"`
	Since        string `query:"since" maxLength:"40" doc:"only those active since then: a time (RFC 3339), or how long ago, such as 24h"`
	Blobs        bool   `query:"blobs" doc:"with the full tool results that records refer to"`
}

// exportConversations streams a file. One that is cut short lacks its last line, too, by which a reader knows.
func (s *Server) exportConversations(ctx context.Context, in *exportInput) (*huma.StreamResponse, error) {
	q := caxton.ConversationQuery{Limit: 200}
	var err error
	if q.Since, err = s.time(in.Since); err != nil {
		return nil, err
	}
	var first []caxton.Record
	if in.Conversation != "" {
		if first, err = s.deps.Conversations.Log(ctx, caxton.ConversationID(in.Conversation)); err != nil {
			return nil, err
		}
	}
	return s.file("application/x-ndjson", func(ctx context.Context, w io.Writer) error { //nolint:contextcheck // huma hands the request's context over
		return s.export(ctx, w, q, first, in.Blobs)
	}), nil
}

func (s *Server) export(ctx context.Context, to io.Writer, q caxton.ConversationQuery, one []caxton.Record, blobs bool) error {
	w, err := transcript.NewWriter(to, s.cfg.Now())
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	write := func(records []caxton.Record) error {
		if err := w.Conversation(records); err != nil || !blobs {
			return err
		}
		return s.exportBlobs(ctx, w, records, seen)
	}
	if one != nil {
		if err := write(one); err != nil {
			return err
		}
		return w.Close()
	}
	for {
		cs, next, err := s.deps.Router.Conversations(ctx, q)
		if err != nil {
			return err
		}
		for i := range cs {
			records, err := s.deps.Conversations.Log(ctx, cs[i].ID)
			if caxton.KindOf(err) == caxton.NotFound {
				continue // forgotten meanwhile
			}
			if err != nil {
				return err
			}
			if err := write(records); err != nil {
				return err
			}
		}
		if q.Before = next; next == "" {
			return w.Close()
		}
	}
}

func (s *Server) exportBlobs(ctx context.Context, w *transcript.Writer, records []caxton.Record, seen map[string]bool) error {
	for _, hash := range transcript.Blobs(records) {
		if seen[hash] {
			continue
		}
		seen[hash] = true
		data, mediaType, err := s.deps.Blobs.Blob(ctx, hash)
		if caxton.KindOf(err) == caxton.NotFound {
			continue
		}
		if err != nil {
			return err
		}
		if err := w.Blob(hash, mediaType, data); err != nil {
			return err
		}
	}
	return nil
}

// time reads a time, or how long ago it was; "" is the zero time.
func (s *Server) time(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	d, err := caxton.ParseDuration(text)
	if err != nil {
		return time.Time{}, caxton.Errorf(caxton.Invalid, "time_invalid", "%q is neither a time nor how long ago", text).
			WithHint("write it like 2026-05-01T12:00:00Z, 2026-05-01 or 24h")
	}
	return s.cfg.Now().Add(-d), nil
}

type importInput struct {
	RawBody []byte `contentType:"application/x-ndjson"`
}

// importConversations brings in the conversations of a file, each in one step. Those that are
// there already stay as they are.
func (s *Server) importConversations(ctx context.Context, in *importInput) (*output[api.Imported], error) {
	r, err := transcript.NewReader(bytes.NewReader(in.RawBody))
	if err != nil {
		return nil, err
	}
	var parts []transcript.Part
	for { // all of it is read before anything is stored
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	out := api.Imported{Conversations: []string{}, Known: []string{}}
	for i := range parts {
		if err := s.importPart(ctx, &parts[i], &out); err != nil {
			return nil, parts[i].Fault(err)
		}
	}
	return &output[api.Imported]{out}, nil
}

func (s *Server) importPart(ctx context.Context, p *transcript.Part, out *api.Imported) error {
	if p.Blob != "" {
		sum := sha256.Sum256(p.Data)
		if hex.EncodeToString(sum[:]) != p.Blob {
			return caxton.Errorf(caxton.Malformed, "blob_damaged", "the data of the result %s is not what its name says", p.Blob)
		}
		out.Blobs++
		_, err := s.deps.Blobs.PutBlob(ctx, p.Data, p.MediaType)
		return err
	}
	id := string(p.Records[0].ConversationID)
	err := s.deps.Conversations.Import(ctx, p.Records)
	if e, ok := errors.AsType[*caxton.Error](err); ok && e.Code == "conversation_known" {
		out.Known = append(out.Known, id)
		return nil
	}
	if err != nil {
		return err
	}
	out.Conversations = append(out.Conversations, id)
	out.Records += len(p.Records)
	return nil
}

func (s *Server) why(ctx context.Context, in *MessagePath) (*output[api.Why], error) {
	st, err := s.deps.Router.Status(ctx, caxton.MessageID(in.Message))
	if err != nil {
		return nil, err
	}
	records, err := s.deps.Conversations.Log(ctx, st.Message.ConversationID)
	if err != nil {
		return nil, err
	}
	w, err := transcript.Explain(records, st.Message.ID)
	if err != nil {
		return nil, err
	}
	out := whyFrom(&w)
	if v, err := s.deps.Registry.Version(ctx, w.Message.ReceiverID, w.Version); err == nil {
		sum := sha256.Sum256([]byte(v.Definition.SystemPrompt))
		out.Prompt.Hash, out.Prompt.Author, out.Prompt.Text = v.Hash, v.Author, hex.EncodeToString(sum[:])
	}
	return &output[api.Why]{out}, nil
}

func whyFrom(w *transcript.Why) api.Why {
	out := api.Why{
		MessageID: string(w.Message.ID), ConversationID: string(w.Message.ConversationID), Question: replyFrom(&w.Message), Answers: []api.Reply{},
		Outcome: string(w.Outcome), Error: w.Error, Agent: w.Message.Receiver, Attempts: w.Attempts, Routing: routingFrom(w.Routing),
		Prompt: api.WhyPrompt{Version: w.Version}, History: []api.Reply{}, Memories: []api.WhyMemory{}, Models: []api.WhyModel{}, Tools: []api.WhyTool{},
		Decisions: []api.WhyDecision{}, Budget: []api.WhyBudget{},
	}
	for i := range w.Answers {
		out.Answers = append(out.Answers, replyFrom(&w.Answers[i]))
	}
	for i := range w.History {
		out.History = append(out.History, replyFrom(&w.History[i]))
	}
	for _, m := range w.Memories {
		out.Memories = append(out.Memories, api.WhyMemory{
			ID: m.ID, EntityID: m.EntityID.String(), Scope: m.Scope.String(), Name: m.Name, Type: m.Type, Text: m.Text, Score: m.Score, At: m.At,
		})
	}
	for _, m := range w.Models {
		out.Models = append(out.Models, api.WhyModel{
			Step: m.Step, Provider: m.Provider, Model: m.Model, RequestHash: m.RequestHash, Text: m.Text, ToolCalls: m.ToolCalls,
			InputTokens: m.InputTokens, OutputTokens: m.OutputTokens, Millis: m.Millis,
		})
	}
	for _, t := range w.Tools {
		u := api.WhyTool{CallID: t.Call.CallID, Tool: t.Call.Tool, Arguments: t.Call.Arguments, Known: t.Returned != nil}
		if r := t.Returned; r != nil {
			u.Result, u.IsError, u.Blob, u.Millis = r.Text, r.IsError, r.BlobHash, r.Millis
		}
		out.Tools = append(out.Tools, u)
	}
	for _, d := range w.Approvals {
		x := api.WhyDecision{Kind: string(d.Kind), State: string(d.State), By: d.Decision.By, Reason: d.Decision.Reason, At: d.Decision.At.UTC()}
		if d.Call != nil {
			x.Tool = d.Call.Tool
		}
		out.Decisions = append(out.Decisions, x)
	}
	for _, c := range w.Spent {
		out.Budget = append(out.Budget, api.WhyBudget{Account: c.Name, Unit: string(c.Unit), Cap: c.Cap, Spent: c.Amount})
	}
	return out
}

func routingFrom(r caxton.Routing) api.Routing {
	out := api.Routing{Strategy: string(r.Strategy), Candidates: []api.Candidate{}}
	for _, c := range r.Candidates {
		out.Candidates = append(out.Candidates, api.Candidate{
			Agent: c.Slug, Score: c.Score, Match: c.Match, Health: c.Health, Load: c.Load, Continuity: c.Continuity,
		})
	}
	return out
}

// search lists the conversations in which messages match, best match first.
func (s *Server) search(ctx context.Context, in *conversationsInput, q caxton.ConversationQuery) (*output[api.ConversationList], error) {
	ms, next, err := s.deps.Conversations.Search(ctx, caxton.MatchQuery{
		Text: in.Query, Agent: q.Agent, Participant: q.Participant, State: q.State, Since: q.Since, Until: q.Until, Before: in.Cursor, Limit: in.Limit,
	})
	if err != nil {
		return nil, err
	}
	l := api.ConversationList{Items: []api.Conversation{}, Next: next}
	place := map[caxton.ConversationID]int{}
	for _, m := range ms {
		i, known := place[m.ConversationID]
		if !known {
			c, err := s.deps.Router.Conversation(ctx, m.ConversationID)
			if err != nil {
				return nil, err
			}
			i = len(l.Items)
			place[m.ConversationID] = i
			l.Items = append(l.Items, conversationFrom(c))
		}
		l.Items[i].Matches = append(l.Items[i].Matches, api.Match{
			MessageID: string(m.MessageID), Seq: m.Seq, At: m.At.UTC(), Performative: string(m.Performative), Sender: m.Sender, Receiver: m.Receiver, Snippet: m.Snippet,
		})
	}
	l.Conversations = l.Items
	return &output[api.ConversationList]{l}, nil
}
