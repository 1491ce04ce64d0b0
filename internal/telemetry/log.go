package telemetry

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caxton/caxton"
	"go.opentelemetry.io/otel/trace"
)

// LogConfig says what is logged and where. Zero fields mean the defaults given here.
type LogConfig struct {
	Level    string    // debug, info, warn or error: info
	Format   string    // text or json: text
	Stderr   io.Writer // where lines go: nowhere
	File     string    // also to this file: none
	Rotation string    // daily or none: none
	Keep     int       // days rotated files are kept: 30
	Now      func() time.Time
}

// A Log is the server's logger with its file and the tee for agents' lines.
type Log struct {
	*slog.Logger
	Level   *slog.LevelVar // may be set while the server runs
	file    *rotatingFile
	agents  chan caxton.LogLine
	dropped atomic.Int64
}

// agentBuffer is how many agents' lines wait for their sink; when full, lines are dropped
// and counted: the log must not slow the server down.
const agentBuffer = 4096

// NewLog returns a Log. A file that cannot be opened is no reason not to start: the Log
// goes on without it, and warn says why, nil when all is well.
func NewLog(cfg LogConfig) (l *Log, warn error) {
	cfg.Format = cmp.Or(cfg.Format, "text")
	cfg.Keep = cmp.Or(cfg.Keep, 30)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Stderr == nil {
		cfg.Stderr = io.Discard
	}
	l = &Log{Level: &slog.LevelVar{}, agents: make(chan caxton.LogLine, agentBuffer)}
	if err := l.Level.UnmarshalText([]byte(cmp.Or(cfg.Level, "info"))); err != nil {
		warn = caxton.Errorf(caxton.Invalid, "log_level_invalid", "%q is not a log level", cfg.Level).WithHint("use debug, info, warn or error")
	}
	out := cfg.Stderr
	if cfg.File != "" {
		f, err := openRotating(cfg.File, cfg.Rotation == "daily", cfg.Keep, cfg.Now)
		if err != nil {
			warn = errors.Join(warn, caxton.Errorf(caxton.Unavailable, "log_file_unwritable", "the log file %s cannot be written", cfg.File).
				WithHint("create its directory and give it to the server's user").WithCause(err))
		} else {
			l.file = f
			out = io.MultiWriter(cfg.Stderr, f)
		}
	}
	o := &slog.HandlerOptions{Level: l.Level, ReplaceAttr: utcTime}
	var h slog.Handler = slog.NewTextHandler(out, o)
	if strings.EqualFold(cfg.Format, "json") {
		h = slog.NewJSONHandler(out, o)
	}
	l.Logger = slog.New(&tee{Handler: h, log: l})
	return l, warn
}

func utcTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		a.Value = slog.TimeValue(a.Value.Time().UTC())
	}
	return a
}

// Close closes the log file.
func (l *Log) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// Run hands agents' lines to sink in batches until ctx ends, then the rest of them. sink
// reports false when it dropped the batch.
func (l *Log) Run(ctx context.Context, sink func([]caxton.LogLine) bool) error {
	var batch []caxton.LogLine
	put := func() {
		if len(batch) > 0 && !sink(slices.Clone(batch)) {
			l.dropped.Add(int64(len(batch)))
		}
		batch = batch[:0]
	}
	for {
		select {
		case line := <-l.agents:
			batch = append(batch, line)
			for len(batch) < 256 && len(l.agents) > 0 {
				batch = append(batch, <-l.agents)
			}
			put()
		case <-ctx.Done():
			for len(l.agents) > 0 {
				batch = append(batch, <-l.agents)
			}
			put()
			return nil
		}
	}
}

// Dropped returns how many agents' lines were lost because nobody could write them.
func (l *Log) Dropped() int64 { return l.dropped.Load() }

// A tee passes records on, and copies those that carry the attribute agent or agent_id
// into the agents' lines.
type tee struct {
	slog.Handler
	log   *Log
	attrs []slog.Attr // given by With, outside of groups
	group bool        // inside a group: attributes are no longer ours
}

func (t *tee) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() { // so that lines and spans find each other
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	line := caxton.LogLine{At: r.Time, Level: r.Level.String(), Message: r.Message, Attrs: map[string]any{}}
	take := func(a slog.Attr) bool {
		switch a.Key {
		case "agent":
			line.Agent = a.Value.String()
		case "agent_id":
			line.AgentID = caxton.AgentID(a.Value.String())
		default:
			line.Attrs[a.Key] = plain(a.Value)
		}
		return true
	}
	for _, a := range t.attrs {
		take(a)
	}
	if !t.group {
		r.Attrs(take)
	}
	if line.Agent != "" || line.AgentID != "" {
		select {
		case t.log.agents <- line:
		default:
			t.log.dropped.Add(1)
		}
	}
	return t.Handler.Handle(ctx, r)
}

// plain returns a value that JSON prints as a reader expects.
func plain(v slog.Value) any {
	switch v = v.Resolve(); v.Kind() {
	case slog.KindDuration:
		return v.Duration().String()
	case slog.KindAny:
		if err, ok := v.Any().(error); ok {
			return err.Error()
		}
		return v.String()
	case slog.KindGroup:
		return v.String()
	case slog.KindBool, slog.KindFloat64, slog.KindInt64, slog.KindString, slog.KindTime, slog.KindUint64, slog.KindLogValuer:
	}
	return v.Any()
}

func (t *tee) WithAttrs(as []slog.Attr) slog.Handler {
	c := *t
	c.Handler = t.Handler.WithAttrs(as)
	if !t.group {
		c.attrs = append(slices.Clip(t.attrs), as...)
	}
	return &c
}

func (t *tee) WithGroup(name string) slog.Handler {
	c := *t
	c.Handler = t.Handler.WithGroup(name)
	c.group = true
	return &c
}
