package httpd

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/danielgtaylor/huma/v2"
)

type logsInput struct {
	AgentPath
	Tail   int    `query:"tail" minimum:"1" maximum:"10000" default:"100"`
	Level  string `query:"level" enum:"debug,info,warn,error" doc:"at least this level"`
	Follow bool   `query:"follow" doc:"go on with new lines until the caller leaves"`
}

func (s *Server) logs(ctx context.Context, in *logsInput) (*huma.StreamResponse, error) {
	a, f, err := s.find(in.Agent)
	if err != nil {
		return nil, err
	}
	q := caxton.LogQuery{AgentID: a.ID, Agent: cmp.Or(a.Stem, a.Slug), Level: strings.ToUpper(in.Level), Tail: in.Tail}
	if f != nil {
		q.Agent = f.Stem
	}
	lines, err := s.deps.Logs.AgentLogs(ctx, q)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) { //nolint:contextcheck // huma hands the request's context over
		if !in.Follow {
			out := make([]api.LogLine, 0, len(lines))
			for _, l := range lines {
				out = append(out, lineFrom(l))
			}
			hc.SetHeader("Content-Type", "application/json")
			_ = json.NewEncoder(hc.BodyWriter()).Encode(api.LogLines{Items: out, Lines: out})
			return
		}
		s.follow(hc, q, lines)
	}}, nil
}

// follow writes lines and then new ones as they come, until the caller leaves or the server
// stops. A blank line now and then keeps the connection alive.
func (s *Server) follow(hc huma.Context, q caxton.LogQuery, lines []caxton.LogLine) {
	ctx := hc.Context()
	hc.SetHeader("Content-Type", "application/x-ndjson")
	w := hc.BodyWriter()
	flush := func() {}
	if rw, ok := w.(http.ResponseWriter); ok {
		rc := http.NewResponseController(rw)
		flush = func() {
			_ = rc.Flush()
			_ = rc.SetWriteDeadline(time.Now().Add(s.cfg.RequestTimeout)) // for the next lines: a caller who reads nothing is left
		}
	}
	enc := json.NewEncoder(w)
	quiet := s.cfg.Now()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, l := range lines {
			if enc.Encode(lineFrom(l)) != nil {
				return
			}
			q.After = l.ID
			quiet = s.cfg.Now()
		}
		if s.cfg.Now().Sub(quiet) > 15*time.Second {
			if _, err := w.Write([]byte("\n")); err != nil {
				return
			}
			quiet = s.cfg.Now()
		}
		flush()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.draining.Load() {
			return
		}
		var err error
		if lines, err = s.deps.Logs.AgentLogs(ctx, q); err != nil {
			return
		}
	}
}

func lineFrom(l caxton.LogLine) api.LogLine {
	return api.LogLine{ID: l.ID, At: l.At, Level: l.Level, Agent: l.Agent, Message: l.Message, Attrs: l.Attrs}
}

func (s *Server) auditTools(ctx context.Context, _ *empty) (*output[api.ToolUses], error) {
	uses, err := s.deps.Logs.ToolUses(ctx)
	if err != nil {
		return nil, err
	}
	out := api.ToolUses{Items: []api.ToolUse{}}
	for _, a := range s.deps.Registry.Agents() {
		u := api.ToolUse{Agent: a.Slug, Declared: []string{}, Uses: map[string]int64{}, Unused: []string{}}
		for _, au := range uses {
			if au.AgentID == a.ID {
				u.Uses = au.Uses
			}
		}
		for _, t := range a.Definition.Tools {
			u.Declared = append(u.Declared, t.Name)
			if !slices.ContainsFunc(slices.Collect(maps.Keys(u.Uses)), t.Allows) {
				u.Unused = append(u.Unused, t.Name)
			}
		}
		u.Declared, u.Unused = sorted(u.Declared), sorted(u.Unused)
		out.Items = append(out.Items, u)
	}
	return &output[api.ToolUses]{out}, nil
}

func (s *Server) performance(context.Context, *empty) (*output[api.Performances], error) {
	out := api.Performances{Items: []api.Performance{}}
	for _, a := range s.deps.Registry.Agents() {
		st, ok := s.deps.Supervisor.Status(a.ID)
		if !ok {
			continue
		}
		p := api.Performance{
			Agent: a.Slug, State: string(st.State), Handled: st.Handled, Failed: st.Failed, Queued: st.Queued, InFlight: st.InFlight,
			Restarts: st.Restarts, LatencyP50: millis(st.LatencyP50), LatencyP99: millis(st.LatencyP99),
		}
		if n := st.Handled + st.Failed; n > 0 {
			p.ErrorRate = float64(st.Failed) / float64(n)
			if m := s.cfg.Now().Sub(st.Since).Minutes(); m > 0 {
				p.PerMinute = float64(n) / m
			}
		}
		out.Items = append(out.Items, p)
	}
	return &output[api.Performances]{out}, nil
}

type analyzeInput struct {
	Pattern string `query:"pattern" required:"true" minLength:"1" maxLength:"1000" doc:"regular expression (RE2), in any case" example:"error|timeout"`
	Last    string `query:"last" maxLength:"40" default:"1h" doc:"how far to look back"`
}

func (s *Server) analyze(ctx context.Context, in *analyzeInput) (*output[api.Analysis], error) {
	re, err := regexp.Compile("(?i)" + in.Pattern)
	if err != nil {
		return nil, caxton.Errorf(caxton.Invalid, "pattern_invalid", "the pattern cannot be read: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: ")).
			WithHint("the syntax is RE2's")
	}
	last, err := caxton.ParseDuration(in.Last)
	if err != nil {
		return nil, err
	}
	since := s.cfg.Now().Add(-last).UTC()
	lines, err := s.deps.Logs.AgentLogs(ctx, caxton.LogQuery{Since: since, Tail: 10_000})
	if err != nil {
		return nil, err
	}
	out := api.Analysis{Pattern: in.Pattern, Since: since, ByAgent: map[string]int{}, ByLevel: map[string]int{}, Items: []api.LogLine{}}
	for _, l := range lines {
		attrs, err := json.Marshal(l.Attrs)
		if err != nil || !re.MatchString(l.Level+" "+l.Message+" "+string(attrs)) {
			continue
		}
		out.Matches++
		out.ByAgent[l.Agent]++
		out.ByLevel[l.Level]++
		out.Items = append(out.Items, lineFrom(l))
	}
	out.Items = out.Items[max(0, len(out.Items)-100):]
	return &output[api.Analysis]{out}, nil
}
