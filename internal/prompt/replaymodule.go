package prompt

import (
	"context"

	"github.com/caxton/caxton"
)

// A ModuleReplayer runs turns of one version of a module agent again, and changes nothing.
// node makes it of *wasm.Agent.
type ModuleReplayer interface {
	// Replay returns what the module says this time, and what it saw besides its message and
	// its calls.
	Replay(ctx context.Context, turn caxton.Turn, calls *Calls) ([]caxton.Message, caxton.ModuleTurn, error)
	Close(ctx context.Context) error
}

// unreplayable returns why turns of a module cannot be replayed, or "".
func (h *Handlers) unreplayable(v *caxton.AgentVersion) string {
	switch {
	case h.cfg.Module == nil:
		return "the agent is a module"
	case len(v.Definition.Module.Dirs) > 0:
		return "the agent is a module that sees directories, and what was in them is not in the log"
	}
	return ""
}

func (r *replayer) closeModule(ctx context.Context) {
	if err := r.module.Close(context.WithoutCancel(ctx)); err != nil {
		r.h.cfg.Logger.WarnContext(ctx, "module of a replay not closed well", "error", err)
	}
}

// forget takes back what the replay made.
func (r *replayer) forget() {
	for i := range r.turn {
		r.turn[i].made, r.turn[i].missing = nil, false
	}
}

// module runs the turn of a module. A module has no variables of an earlier turn in a replay:
// what it says must follow from its message, its calls, the time, and its state.
func (s *stretch) module(ctx context.Context, turn caxton.Turn) ([]caxton.Message, error) {
	h, def := s.handlers(), s.r.version.Definition
	calls, err := h.calls(ctx, turn, def, recordedTools{h.tools.For(&def), s})
	if calls != nil {
		for i := range s.expected {
			if err := calls.time(&s.expected[i].rec); err != nil {
				return nil, err
			}
		}
	}
	if err != nil {
		if content, ok := refusalOf(err); ok {
			return []caxton.Message{turn.Message.Reply(caxton.Refuse, content)}, nil
		}
		return nil, err
	}
	out, seen, err := s.r.module.Replay(ctx, turn, calls)
	s.state = seen.State
	return out, err
}

// judge says why a difference means nothing: the module read other values of its state than
// the turn in the log did, or nobody knows what that one read.
func (s *stretch) judge() {
	if s.state == "" || s.diff == nil {
		return
	}
	var logged caxton.ModuleTurn
	if s.last.Module != nil {
		logged = *s.last.Module
	}
	switch {
	case s.end != caxton.RecordSettled:
		s.unlike = "the module read its state in an attempt that was not the last, and what it read then is not in the log"
	case logged.State == "":
		s.unlike = "the log does not tell what the module read of its state"
	case logged.State != s.state:
		s.unlike = "the state that the module read has changed since"
	}
}
