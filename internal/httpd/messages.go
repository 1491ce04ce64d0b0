package httpd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/telemetry"
	"github.com/danielgtaylor/huma/v2"
)

func (s *Server) messageRoutes(a huma.API) {
	send := operation(http.MethodPost, "/messages", "send-message", "messages", "Send a message; wait for the reply when asked to")
	send.Description = "Answers 202 at once, or waits with ?wait=30s or Prefer: wait=30 (RFC 7240) and answers 200 with the reply, or 202 when none came in time. " +
		"A message that waits for a person to decide is waited for like any other: GET /messages/{id} tells what for. " +
		"The path /api/messages waits by default. With an Idempotency-Key the same message is sent once."
	send.DefaultStatus, send.MaxBodyBytes = http.StatusAccepted, s.cfg.MaxMessage
	also[api.Receipt](a, &send, "200", "the reply")
	also[api.Receipt](a, &send, "202", "accepted; ask for the message later")
	s.streaming200(a, &send)
	route(s, a, send, s.sendMessage)
	for _, p := range []string{"message", "messages"} {
		id := "message-agent"
		if p == "messages" {
			id = "message-agent-plural"
		}
		to := operation(http.MethodPost, "/agents/{agent}/"+p, id, "messages", "Send a message to an agent and wait for the reply")
		to.DefaultStatus, to.MaxBodyBytes = http.StatusOK, s.cfg.MaxMessage
		also[api.Receipt](a, &to, "200", "the reply")
		also[api.Receipt](a, &to, "202", "no reply in time; ask for the message later")
		s.streaming200(a, &to)
		route(s, a, to, s.messageAgent)
	}
	route(s, a, operation(http.MethodGet, "/messages/{message}", "get-message", "messages", "What became of a message"), s.getMessage)
	route(s, a, operation(http.MethodGet, "/conversations", "list-conversations", "conversations", "List conversations, newest activity first"), s.listConversations)
	route(s, a, operation(http.MethodGet, "/conversations/{conversation}", "get-conversation", "conversations", "One conversation"), s.getConversation)
	route(s, a, operation(http.MethodGet, "/conversations/{conversation}/records", "list-records", "conversations", "The log of a conversation"), s.listRecords)
	route(s, a, operation(http.MethodGet, "/conversations/{conversation}/messages", "list-messages", "conversations", "The messages of a conversation"), s.listMessages)
}

// Waiting says whether and how long the caller waits for the reply.
type Waiting struct {
	Wait   string `query:"wait" maxLength:"20" doc:"how long to wait for the reply, such as 30s; 0 not at all" example:"30s"`
	Prefer string `header:"Prefer" maxLength:"200" doc:"wait=30 or respond-async (RFC 7240)"`
	Accept string `header:"Accept" hidden:"true"`
}

// maxWait is the longest wait: less than what proxies usually allow would cut it off.
const maxWait = 50 * time.Second

// duration returns how long to wait, def when the caller does not say. The query decides;
// "default" there means the standard time, unless the header Prefer has another wish.
func (w *Waiting) duration(def, standard time.Duration) (time.Duration, error) {
	switch w.Wait {
	case "":
	case "default":
		def = standard
	default:
		if d, ok := plainSeconds(w.Wait); ok { // as Prefer has it
			return d, nil
		}
		d, err := caxton.ParseDuration(w.Wait)
		return min(d, maxWait), err
	}
	for p := range strings.SplitSeq(w.Prefer, ",") {
		p, _, _ = strings.Cut(p, ";") // parameters say nothing here
		name, value, _ := strings.Cut(p, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "respond-async":
			def = 0 // unless a wait stands beside it: then only what takes longer is answered later
		case "wait":
			if d, ok := plainSeconds(strings.Trim(strings.TrimSpace(value), `"`)); ok {
				return d, nil
			} // RFC 7240: a preference that cannot be read is passed over
		}
	}
	return def, nil
}

// plainSeconds reads a number of seconds, bounded by maxWait.
func plainSeconds(s string) (time.Duration, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return min(time.Duration(n)*time.Second, maxWait), err == nil
}

type sendInput struct {
	Waiting
	Body api.Message
}

func (s *Server) sendMessage(ctx context.Context, in *sendInput) (*huma.StreamResponse, error) {
	return s.sendOrStream(ctx, in.Body, &in.Waiting, 0)
}

type messageAgentInput struct {
	AgentPath
	Waiting
	Body api.Message
}

func (s *Server) messageAgent(ctx context.Context, in *messageAgentInput) (*huma.StreamResponse, error) {
	b := in.Body
	if b.Receiver != "" || b.Capability != "" {
		return nil, caxton.Errorf(caxton.Invalid, "address_twice", "the path names the agent already").WithHint("leave receiver and capability out")
	}
	b.Receiver = in.Agent
	return s.sendOrStream(ctx, b, &in.Waiting, s.cfg.WaitTimeout)
}

// send sends a message and waits as the caller wishes.
func (s *Server) send(ctx context.Context, b api.Message, w *Waiting, def time.Duration) (*answer[api.Receipt], error) {
	wait, err := w.duration(def, s.cfg.WaitTimeout)
	if err != nil {
		return nil, err
	}
	out, err := s.accept(ctx, b, "")
	if err != nil || wait <= 0 {
		return out, err
	}
	waitCtx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	reply, err := s.deps.Router.Await(waitCtx, caxton.MessageID(out.Body.MessageID))
	if caxton.KindOf(err) == caxton.Canceled {
		return nil, err
	}
	s.answered(ctx, out, &reply, err)
	return out, nil
}

// answered puts the reply into an answer, or why there is none.
func (s *Server) answered(ctx context.Context, out *answer[api.Receipt], reply *caxton.Message, err error) {
	switch {
	case err == nil:
		r := replyFrom(reply)
		out.Status, out.Body.Status, out.Body.Reply = http.StatusOK, "answered", &r
	case caxton.KindOf(err) == caxton.NotFound: // handled without a reply
		out.Status, out.Body.Status = http.StatusOK, "handled"
	case caxton.KindOf(err) == caxton.Timeout: // 202: it goes on
	default: // 202 too: it was accepted, and an error would have proxies and clients send it again
		s.cfg.Logger.WarnContext(ctx, "wait for a reply failed", "request_id", requestID(ctx), "message_id", out.Body.MessageID, "error", err)
	}
}

// accept sends a message. One that names no conversation begins the one given, if any.
func (s *Server) accept(ctx context.Context, b api.Message, begin caxton.ConversationID) (*answer[api.Receipt], error) {
	m, err := messageFrom(b)
	if err != nil {
		return nil, err
	}
	m.TraceParent = telemetry.TraceParent(ctx)
	if key := keyOf(ctx); key != "" && m.ID == "" {
		m.ID = caxton.KeyedMessageID(key)
	} else if key != "" {
		if err := s.tie(ctx, key, m.ID); err != nil {
			return nil, err
		}
	}
	placed := m
	placed.ConversationID = cmp.Or(m.ConversationID, begin)
	rc, err := s.deps.Router.Send(ctx, placed)
	if err != nil {
		return nil, err
	}
	if rc.Duplicate {
		if err := s.same(ctx, rc, m); err != nil {
			return nil, err
		}
	}
	out := &answer[api.Receipt]{Status: http.StatusAccepted, Body: api.Receipt{
		MessageID: string(rc.MessageID), ConversationID: string(rc.ConversationID), RoutedTo: rc.Agent, AgentID: string(rc.AgentID),
		Strategy: string(rc.Routing.Strategy), Status: "accepted", Duplicate: rc.Duplicate, Timestamp: rc.AcceptedAt.UTC(),
	}}
	for i := range rc.Others {
		o := &rc.Others[i]
		out.Body.Others = append(out.Body.Others, api.OtherReceipt{
			MessageID: string(o.MessageID), ConversationID: string(o.ConversationID), RoutedTo: o.Agent, AgentID: string(o.AgentID),
		})
	}
	return out, nil
}

// same refuses an ID that was used for another message: every field the caller gave must be
// what was accepted then. What he left out was filled in, and is not compared.
func (s *Server) same(ctx context.Context, rc caxton.Receipt, m caxton.Message) error {
	st, err := s.deps.Router.Status(ctx, rc.MessageID)
	if err != nil {
		return err
	}
	old := &st.Message
	equal := compact(old.Content) == compact(m.Content) && old.Capability == m.Capability && s.sameReceiver(old, m.Receiver) &&
		old.Performative == cmp.Or(m.Performative, caxton.Request) && old.Priority == cmp.Or(m.Priority, caxton.DefaultPriority) &&
		(m.ReplyBy.IsZero() || old.ReplyBy.Equal(m.ReplyBy))
	for _, f := range []struct{ had, given string }{
		{string(old.ConversationID), string(m.ConversationID)},
		{old.Sender, m.Sender},
		{string(old.Strategy), string(m.Strategy)},
		{old.Language, m.Language},
		{old.Ontology, m.Ontology},
		{old.Protocol, m.Protocol},
		{old.ReplyWith, m.ReplyWith},
		{old.InReplyTo, m.InReplyTo},
	} {
		equal = equal && (f.given == "" || f.given == f.had)
	}
	if equal {
		return nil
	}
	return caxton.Errorf(caxton.Invalid, "idempotency_key_reused", "this key or message ID was used for another message").
		WithHint("use a new one for a new message")
}

// sameReceiver reports whether ref, the receiver a caller gave, is where old went: the same
// word, or another name of the same agent.
func (s *Server) sameReceiver(old *caxton.Message, ref string) bool {
	if ref == "" || ref == old.Receiver {
		return true // without a receiver the capability tells
	}
	a, err := s.deps.Registry.Resolve(ref)
	return err == nil && a.ID == old.ReceiverID
}

// compact returns JSON without the space that means nothing.
func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

// messageFrom reads a message as it was sent.
func messageFrom(b api.Message) (caxton.Message, error) {
	m := caxton.Message{
		ID: caxton.MessageID(b.MessageID), ConversationID: caxton.ConversationID(b.ConversationID),
		Sender: b.Sender, Receiver: b.Receiver, Content: b.Content, Language: b.Language, Ontology: b.Ontology, Protocol: b.Protocol,
		ReplyWith: b.ReplyWith, InReplyTo: b.InReplyTo, Priority: b.Priority,
	}
	var err error
	if m.Performative, err = caxton.ParsePerformative(b.Performative); err != nil {
		return m, err
	}
	if m.Strategy, err = caxton.ParseStrategy(b.Strategy); err != nil {
		return m, err
	}
	if b.Capability != "" {
		if m.Capability, err = caxton.ParseCapability(b.Capability); err != nil {
			return m, err
		}
	}
	if b.ReplyBy != nil {
		m.ReplyBy = *b.ReplyBy
	}
	if b.Text != "" {
		if len(m.Content) > 0 {
			return m, caxton.Errorf(caxton.Invalid, "content_twice", "the message has a content and a message").WithHint("give one of the two")
		}
		m.Content = caxton.TextContent(b.Text)
	}
	if string(m.Content) == "null" {
		m.Content = nil
	}
	return m, nil
}

func replyFrom(m *caxton.Message) api.Reply {
	return api.Reply{
		MessageID: string(m.ID), Performative: string(m.Performative), Sender: m.Sender, Content: m.Content, Text: m.Text(),
		InReplyTo: m.InReplyTo, Timestamp: m.CreatedAt.UTC(),
	}
}

// MessagePath names a message in a path.
type MessagePath struct {
	Message string `path:"message" minLength:"1" maxLength:"128"`
}

func (s *Server) getMessage(ctx context.Context, in *MessagePath) (*output[api.MessageStatus], error) {
	m, _, err := s.messageStatus(ctx, caxton.MessageID(in.Message))
	return &output[api.MessageStatus]{m}, err
}

type conversationsInput struct {
	Agent  string `query:"agent" maxLength:"200" doc:"only those this agent takes part in"`
	Status string `query:"status" enum:"active,idle,archived"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Cursor string `query:"cursor" maxLength:"400" doc:"next of the page before"`

	Query       string `query:"q" maxLength:"1000" doc:"words that a message contains, all of them; one that ends with * stands for all that begin so"`
	Participant string `query:"participant" maxLength:"200" doc:"only those in which somebody of this name takes part"`
	Since       string `query:"since" maxLength:"40" doc:"only those active since then: a time (RFC 3339), or how long ago, such as 24h"`
	Until       string `query:"until" maxLength:"40" doc:"only those not active after that"`
}

func (s *Server) listConversations(ctx context.Context, in *conversationsInput) (*output[api.ConversationList], error) {
	q := caxton.ConversationQuery{State: caxton.ConversationState(in.Status), Limit: in.Limit, Before: in.Cursor}
	if in.Agent != "" {
		a, err := s.deps.Registry.Resolve(in.Agent)
		if err != nil {
			return nil, err
		}
		q.Agent = a.ID
	}
	q.Participant = in.Participant
	var err error
	if q.Since, err = s.time(in.Since); err != nil {
		return nil, err
	}
	if q.Until, err = s.time(in.Until); err != nil {
		return nil, err
	}
	if in.Query != "" {
		return s.search(ctx, in, q)
	}
	cs, next, err := s.deps.Router.Conversations(ctx, q)
	if err != nil {
		return nil, err
	}
	l := api.ConversationList{Items: []api.Conversation{}, Next: next}
	for _, c := range cs {
		l.Items = append(l.Items, conversationFrom(c))
	}
	l.Conversations = l.Items
	return &output[api.ConversationList]{l}, nil
}

func conversationFrom(c caxton.Conversation) api.Conversation {
	out := api.Conversation{
		ID: string(c.ID), Parent: string(c.Parent), Status: string(c.State), Participants: c.Participants,
		MessageCount: c.Messages, CreatedAt: c.CreatedAt.UTC(), LastActivity: c.LastActivity.UTC(),
	}
	if out.Participants == nil {
		out.Participants = []string{}
	}
	return out
}

// ConversationPath names a conversation in a path.
type ConversationPath struct {
	Conversation string `path:"conversation" minLength:"1" maxLength:"128"`
}

func (s *Server) getConversation(ctx context.Context, in *ConversationPath) (*output[api.Conversation], error) {
	c, err := s.deps.Router.Conversation(ctx, caxton.ConversationID(in.Conversation))
	if err != nil {
		return nil, err
	}
	out := conversationFrom(c)
	for _, kind := range []caxton.TicketKind{caxton.Approval, caxton.Effect, caxton.DeadLetter} {
		ts, _, err := s.deps.Router.Tickets(ctx, caxton.TicketQuery{Kind: kind, Open: true, ConversationID: c.ID, Limit: 200})
		if err != nil {
			return nil, err
		}
		for i := range ts {
			out.Tickets = append(out.Tickets, ticketFrom(&ts[i]))
		}
	}
	return &output[api.Conversation]{out}, nil
}

type recordsInput struct {
	ConversationPath
	After int64 `query:"after" minimum:"0" doc:"only records after this position"`
	Limit int   `query:"limit" minimum:"1" maximum:"1000" default:"200"`
}

func (s *Server) listRecords(ctx context.Context, in *recordsInput) (*output[api.Records], error) {
	rs, err := s.deps.Router.Records(ctx, caxton.ConversationID(in.Conversation), in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	out := api.Records{Items: recordsFrom(rs)}
	out.Records = out.Items
	if len(rs) == in.Limit {
		out.Next = rs[len(rs)-1].Seq
	}
	return &output[api.Records]{out}, nil
}

func recordsFrom(rs []caxton.Record) []api.Record {
	out := make([]api.Record, 0, len(rs))
	for _, r := range rs {
		out = append(out, api.Record{Seq: r.Seq, At: r.At.UTC(), Kind: string(r.Kind), MessageID: string(r.MessageID), AgentID: string(r.AgentID), Body: r.Body})
	}
	return out
}

type messagesInput struct {
	ConversationPath
	After int64 `query:"after" minimum:"0" doc:"only messages after this position in the log"`
	Limit int   `query:"limit" minimum:"1" maximum:"1000" default:"1000"`
}

func (s *Server) listMessages(ctx context.Context, in *messagesInput) (*output[api.ConversationMessages], error) {
	const page = 1000 // records read at once
	out := api.ConversationMessages{Items: []api.Reply{}}
	for after, more := in.After, true; more; {
		rs, err := s.deps.Router.Records(ctx, caxton.ConversationID(in.Conversation), after, page)
		if err != nil {
			return nil, err
		}
		more = len(rs) == page
		for _, r := range rs {
			if r.Kind != caxton.RecordMessage {
				after = r.Seq
				continue
			}
			if len(out.Items) == in.Limit {
				out.Next, more = after, false
				break
			}
			after = r.Seq
			var b caxton.MessageBody
			if err := json.Unmarshal(r.Body, &b); err != nil {
				return nil, caxton.Errorf(caxton.Internal, "journal_unreadable", "record %d of %s cannot be read", r.Seq, in.Conversation).WithCause(err)
			}
			m := caxton.Message(b.Message)
			out.Items = append(out.Items, replyFrom(&m))
		}
	}
	out.Messages = out.Items
	return &output[api.ConversationMessages]{out}, nil
}

// VersionInfo returns what a program of this version says of itself.
func VersionInfo(version string) api.VersionInfo {
	return api.VersionInfo{Version: version, Go: runtime.Version(), API: api.Version, OS: runtime.GOOS + "/" + runtime.GOARCH}
}
