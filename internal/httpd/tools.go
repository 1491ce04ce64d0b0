package httpd

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/tool"
)

func toolFrom(spec tool.Spec) api.Tool {
	return api.Tool{
		Name: spec.Name, Description: spec.Description, Parameters: spec.Parameters, Idempotent: spec.Idempotent, Source: spec.Source,
		State: cmp.Or(string(spec.State), string(caxton.ToolApproved)), Reason: spec.Reason,
	}
}

func (s *Server) toolsOf(a caxton.Agent) []api.Tool {
	ts := []api.Tool{}
	for _, spec := range s.deps.Tools.All() {
		if a.Definition.HasTool(spec.Name) {
			ts = append(ts, toolFrom(spec))
		}
	}
	return ts
}

func (s *Server) agentTools(_ context.Context, in *AgentPath) (*output[api.ToolList], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	ts := s.toolsOf(a)
	return &output[api.ToolList]{api.ToolList{Items: ts, Tools: ts}}, nil
}

type runInput struct {
	ToolPath
	Body struct {
		Arguments json.RawMessage `json:"arguments,omitempty" doc:"object that fits the tool's schema"`
	}
}

func (s *Server) runTool(ctx context.Context, in *runInput) (*output[api.ToolRun], error) {
	found, err := s.getTool(ctx, &in.ToolPath)
	if err != nil {
		return nil, err
	}
	args := in.Body.Arguments
	if len(args) == 0 {
		args = json.RawMessage("{}")
	}
	start := time.Now()
	res, err := s.deps.Tools.Run(ctx, found.Body.Name, tool.Call{ID: "manual", Args: args, Key: cmp.Or(keyOf(ctx), requestID(ctx))})
	if err != nil {
		return nil, err
	}
	return &output[api.ToolRun]{api.ToolRun{Text: res.Text, Data: res.Data, MediaType: res.MediaType, Millis: millis(time.Since(start))}}, nil
}
