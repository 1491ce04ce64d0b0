package httpd

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/rogpeppe/go-internal/diff"
)

func (s *Server) listVersions(ctx context.Context, in *AgentPath) (*output[api.AgentVersions], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	vs, err := s.deps.Registry.Versions(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	out := api.AgentVersions{Items: []api.AgentVersion{}}
	for _, v := range vs {
		out.Items = append(out.Items, versionFrom(v, &a))
	}
	out.Versions = out.Items
	return &output[api.AgentVersions]{out}, nil
}

func versionFrom(v caxton.AgentVersion, a *caxton.Agent) api.AgentVersion {
	return api.AgentVersion{
		Number: v.Number, Active: v.Number == a.Version, Role: roleOf(a, v.Number), Hash: v.Hash, Author: v.Author, Source: v.Source, Format: v.Format, CreatedAt: v.CreatedAt,
		Type: string(v.Definition.AgentType()), Module: moduleOf(&v.Definition),
	}
}

type versionInput struct {
	AgentPath
	Number int `path:"number" minimum:"1" maximum:"1000000000"`
}

func (s *Server) getVersion(ctx context.Context, in *versionInput) (*output[api.AgentVersion], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	v, err := s.deps.Registry.Version(ctx, a.ID, in.Number)
	if err != nil {
		return nil, err
	}
	out := versionFrom(v, &a)
	out.Text = string(v.Text)
	return &output[api.AgentVersion]{out}, nil
}

type rollbackInput struct {
	AgentPath
	Body *rollbackBody `required:"false"`
}

type rollbackBody struct {
	To int `json:"to,omitempty" minimum:"0" maximum:"1000000000" doc:"version; the one before the active one when absent"`
}

func (s *Server) rollback(ctx context.Context, in *rollbackInput) (*output[api.Deployment], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	to := 0
	if in.Body != nil {
		to = in.Body.To
	}
	d, err := s.deps.Deployer.Rollback(ctx, a.ID, to)
	if err != nil {
		return nil, err
	}
	out := s.deployment(d)
	out.Status = "rolled_back"
	return &output[api.Deployment]{out}, nil
}

type diffInput struct {
	AgentPath
	From int `query:"from" minimum:"0" maximum:"1000000000" doc:"the version before to when absent"`
	To   int `query:"to" minimum:"0" maximum:"1000000000" doc:"the active version when absent"`
}

func (s *Server) diff(ctx context.Context, in *diffInput) (*output[api.Diff], error) {
	a, err := s.deps.Registry.Resolve(in.Agent)
	if err != nil {
		return nil, err
	}
	to := cmp.Or(in.To, a.Version)
	from := cmp.Or(in.From, max(1, to-1))
	older, err := s.deps.Registry.Version(ctx, a.ID, from)
	if err != nil {
		return nil, err
	}
	newer, err := s.deps.Registry.Version(ctx, a.ID, to)
	if err != nil {
		return nil, err
	}
	name := func(n int) string { return a.Slug + "@" + strconv.Itoa(n) }
	text := ""
	if !bytes.Equal(older.Text, newer.Text) {
		text = string(diff.Diff(name(from), older.Text, name(to), newer.Text))
	}
	if x, y := &older.Definition.Module, &newer.Definition.Module; x.SHA256 != y.SHA256 {
		module := func(m *caxton.Module) []byte {
			if m.SHA256 == "" {
				return nil
			}
			return fmt.Appendf(nil, "module %s %v %s\n", m.SHA256, m.Size, m.Contract)
		}
		text += string(diff.Diff(name(from)+".wasm", module(x), name(to)+".wasm", module(y)))
	}
	return &output[api.Diff]{api.Diff{From: from, To: to, Diff: text}}, nil
}
