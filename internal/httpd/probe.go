package httpd

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
)

type testInput struct {
	AgentPath
	Body struct {
		Input string `json:"input" minLength:"1" maxLength:"1000000" doc:"what to say to the agent"`
	}
}

func (s *Server) test(ctx context.Context, in *testInput) (*output[api.TestRun], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	if st, ok := s.deps.Supervisor.Status(a.ID); ok && st.State != caxton.AgentRunning && st.State != caxton.AgentLoaded {
		return nil, caxton.Errorf(caxton.Conflict, "agent_not_running", "agent %s is %s", a.Slug, st.State).WithHint("resume or restart it first")
	}
	start := time.Now()
	m := caxton.Message{Receiver: string(a.ID), Sender: "test", Content: caxton.TextContent(in.Body.Input)}
	if key := keyOf(ctx); key != "" { // a second try after a wait in vain waits for the same message
		m.ID = caxton.KeyedMessageID(strings.Join([]string{"test", key, string(a.ID), in.Body.Input}, "\x00"))
	}
	rc, err := s.deps.Router.Send(ctx, m)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, 2*s.cfg.WaitTimeout)
	defer cancel()
	reply, err := s.deps.Router.Await(wait, rc.MessageID)
	if err != nil {
		return nil, err
	}
	out := api.TestRun{Reply: replyFrom(&reply), Millis: millis(time.Since(start))}
	rs, err := s.deps.Router.Records(ctx, rc.ConversationID, 0, 1000)
	out.Records = recordsFrom(rs)
	return &output[api.TestRun]{out}, err
}

type debugInput struct {
	AgentPath
	Input string `query:"input" maxLength:"10000" doc:"the message whose prompt is shown"`
}

func (s *Server) debug(ctx context.Context, in *debugInput) (*output[api.Debug], error) {
	found, err := s.getAgent(ctx, &in.AgentPath)
	if err != nil {
		return nil, err
	}
	d := api.Debug{Agent: found.Body, Tools: []api.Tool{}, Conversations: []api.Conversation{}}
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil { // a file that never loaded
		return &output[api.Debug]{d}, nil //nolint:nilerr // what is known of it was found above
	}
	d.Tools = s.toolsOf(a)
	if a.Type == caxton.WASMAgent {
		d.Prompt = api.PromptPreview{Documents: []string{}, Messages: []string{}, Tools: []string{}, Error: "the agent is a module: it asks no model"}
	} else {
		d.Prompt = s.preview(ctx, a, cmp.Or(in.Input, "Hello"))
	}
	cs, _, err := s.deps.Router.Conversations(ctx, caxton.ConversationQuery{Agent: a.ID, Limit: 10})
	for _, c := range cs {
		d.Conversations = append(d.Conversations, conversationFrom(c))
	}
	return &output[api.Debug]{d}, err
}

func (s *Server) preview(ctx context.Context, a caxton.Agent, text string) api.PromptPreview {
	p := api.PromptPreview{Documents: []string{}, Messages: []string{}, Tools: []string{}}
	v, err := s.deps.Registry.Version(ctx, a.ID, a.Version)
	if err == nil {
		req, perr := s.deps.Previewer.Preview(ctx, v, text)
		err = perr
		p.Model, p.System = req.Model, req.System
		for _, d := range req.Documents {
			p.Documents = append(p.Documents, d.Text)
		}
		for _, m := range req.Messages {
			p.Messages = append(p.Messages, string(m.Role)+": "+m.Text)
		}
		for _, t := range req.Tools {
			p.Tools = append(p.Tools, t.Name)
		}
	}
	if err != nil {
		p.Error = api.ErrorFrom(err, "").Error.Message
	}
	return p
}
