package scenario

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/tool"
)

// A Kit is what stands between an agent and its tools and its model while one case is
// played: stubs and chaos, with the count of what they did. It is safe for concurrent use.
type Kit struct {
	stubs map[string][]*countedStub
	chaos Chaos
	lame  atomic.Int64 // calls of the model that failed by chaos
}

type countedStub struct {
	Stub
	used atomic.Int64
}

// Kit returns the kit of a case: its own stubs and chaos, those of the suite, and more chaos.
func (s *Suite) Kit(c *Case, more Chaos) *Kit {
	k := &Kit{stubs: map[string][]*countedStub{}}
	all := maps.Clone(s.Tools)
	if all == nil {
		all = map[string]Several[Stub]{}
	}
	maps.Copy(all, c.Tools)
	for name, several := range all {
		for _, stub := range several {
			k.stubs[name] = append(k.stubs[name], &countedStub{Stub: stub})
		}
	}
	for _, x := range []Chaos{more, c.Chaos, s.Chaos} { // the first that says something of a tool wins
		k.chaos.DropTool = append(k.chaos.DropTool, x.DropTool...)
		k.chaos.Delay = append(k.chaos.Delay, x.Delay...)
		k.chaos.Error = append(k.chaos.Error, x.Error...)
		k.chaos.ModelDelay = cmp.Or(k.chaos.ModelDelay, x.ModelDelay)
		k.chaos.ModelError = cmp.Or(k.chaos.ModelError, x.ModelError)
	}
	return k
}

// Stubs returns the names of the tools that have stubs, sorted.
func (s *Suite) Stubs() []string {
	names := map[string]bool{}
	for n := range s.Tools {
		names[n] = true
	}
	for i := range s.Cases {
		for n := range s.Cases[i].Tools {
			names[n] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Tools returns the tools that the agent meets: the real ones, with stubs and chaos before
// them, and the stubs of tools that are not there. A tool among offline that has no stub
// refuses its calls.
func (k *Kit) Tools(here []tool.Tool, offline ...string) []tool.Tool {
	var tools []tool.Tool
	there := map[string]bool{}
	for _, t := range here {
		name := t.Spec().Name
		there[name] = true
		tools = append(tools, k.wrap(t, t.Spec(), slices.Contains(offline, name)))
	}
	for _, name := range slices.Sorted(maps.Keys(k.stubs)) {
		if !there[name] {
			tools = append(tools, k.wrap(nil, tool.Spec{
				Name: name, Description: "A stub of the test.", Parameters: json.RawMessage(`{"type":"object"}`), Source: "test",
			}, false))
		}
	}
	return tools
}

// Permitted returns the names of those tools that chaos does not take away, never nil.
func (k *Kit) Permitted(tools []tool.Tool) []string {
	names := []string{}
	for _, t := range tools {
		name := t.Spec().Name
		if !slices.ContainsFunc(k.chaos.DropTool, func(d Placed[string]) bool { return d.Value == name }) {
			names = append(names, name)
		}
	}
	return names
}

func (k *Kit) wrap(t tool.Tool, spec tool.Spec, offline bool) tool.Tool {
	w := &wrapped{real: t, spec: spec, stubs: k.stubs[spec.Name], offline: offline}
	for _, d := range k.chaos.Delay {
		if d.Tool.Value == spec.Name {
			w.delay = d.By.Std()
			break
		}
	}
	for _, f := range k.chaos.Error {
		if f.Tool.Value == spec.Name {
			w.faults = append(w.faults, f)
		}
	}
	return w
}

// wrapped is a tool behind its stubs and its chaos.
type wrapped struct {
	real    tool.Tool // nil when there are only stubs
	spec    tool.Spec
	stubs   []*countedStub
	offline bool
	delay   time.Duration
	faults  []Fault
	calls   atomic.Int64
}

// Spec is the real tool's.
func (w *wrapped) Spec() tool.Spec { return w.spec }

// IdempotentCall is the real tool's.
func (w *wrapped) IdempotentCall(args json.RawMessage) bool {
	if w.real == nil {
		return w.spec.Idempotent
	}
	return tool.IdempotentCall(w.real, args)
}

// Call waits, fails, answers by a stub, or runs the real tool.
func (w *wrapped) Call(ctx context.Context, call tool.Call) (tool.Result, error) {
	n := w.calls.Add(1)
	if err := wait(ctx, w.delay); err != nil {
		return tool.Result{}, err
	}
	for _, f := range w.faults {
		if f.Times == 0 || n <= int64(f.Times) {
			return tool.Result{}, caxton.Errorf(kindOf(f.Kind), "test_chaos", "%s", cmp.Or(f.Message, "the tool is out of order"))
		}
		n -= int64(f.Times)
	}
	if len(w.stubs) > 0 {
		return w.stub(call.Args)
	}
	if w.offline || w.real == nil {
		return tool.Result{}, caxton.Errorf(caxton.Forbidden, "test_offline", "this test has no network, and %s has no stub", w.spec.Name).
			WithHint("write tools: {%s: {returns: …}}, or network: true", w.spec.Name)
	}
	return w.real.Call(ctx, call)
}

// stub answers by the first stub that fits and is not used up.
func (w *wrapped) stub(args json.RawMessage) (tool.Result, error) {
	given := decode(args)
	for _, s := range w.stubs {
		if s.When != nil && !within(plain(s.When), given) {
			continue
		}
		if used := s.used.Add(1); s.Times > 0 && used > int64(s.Times) {
			continue
		}
		if s.Error != "" {
			return tool.Result{}, caxton.Errorf(kindOf(s.Kind), "test_stub", "%s", s.Error)
		}
		res := tool.Result{Body: []byte(s.Body), MediaType: s.MediaType}
		if s.Body == "" {
			res.Body = nil
		}
		switch v := s.Returns.(type) {
		case nil:
			res.Text = s.Body
		case string:
			res.Text = v
		default:
			b, err := json.Marshal(v)
			if err != nil {
				return tool.Result{}, caxton.Errorf(caxton.Internal, "stub_unprintable", "the stub of %s cannot be written as JSON", w.spec.Name).WithCause(err)
			}
			res.Text, res.Data = string(b), b
		}
		return res, nil
	}
	return tool.Result{}, caxton.Errorf(caxton.Invalid, "test_stub_missing", "no stub of %s fits these arguments: %s", w.spec.Name, clip(string(args))).
		WithHint("add a stub without when, or one with these arguments")
}

func kindOf(kind string) caxton.Kind { return caxton.Kind(cmp.Or(kind, string(caxton.Unavailable))) }

func wait(ctx context.Context, d time.Duration) error {
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// Model returns m behind the chaos of the case.
func (k *Kit) Model(m llm.Model) llm.Model {
	if k.chaos.ModelDelay == 0 && !k.chaos.ModelError.given {
		return m
	}
	return &chaoticModel{Model: m, kit: k}
}

// chaoticModel is a model that comes late or fails.
type chaoticModel struct {
	llm.Model

	kit *Kit
}

// Generate waits, fails, or asks the model.
func (m *chaoticModel) Generate(ctx context.Context, req llm.Request) (llm.Response, error) {
	c := &m.kit.chaos
	if err := wait(ctx, c.ModelDelay.Std()); err != nil {
		return llm.Response{}, caxton.Errorf(caxton.Timeout, "model_timeout", "the caller's time ran out").WithCause(err)
	}
	if f := &c.ModelError; f.given && (f.Times == 0 || m.kit.lame.Add(1) <= int64(f.Times)) {
		return llm.Response{}, caxton.Errorf(kindOf(f.Kind), "test_chaos", "%s", f.Message)
	}
	return m.Model.Generate(ctx, req)
}
