package cli

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

func newTrace(env *Env) *cobra.Command {
	var agent, id, traceID string
	var spans, list bool
	c := &cobra.Command{
		Use: "trace", Short: "Show what was said and done in a conversation, by whom, and how long it took", Args: exactly(),
		Long: "Without --spans it is told from the conversation's log. With --spans the spans of its traces are shown as a tree, as far as\n" +
			"they were recorded (observability.tracing_enabled) and are kept by this server, which keeps the latest since its start.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case list:
				return listTraces(cmd, env)
			case traceID != "":
				return printSpans(cmd, env, []string{traceID})
			case agent == "" && id == "":
				return errUsage("--conversation-id is missing").WithHint("or give --agent: then its newest conversation is shown; or --trace-id, or --list")
			}
			if id == "" {
				l, err := env.Client().Conversations(cmd.Context(), agent, "", 1, "")
				if err != nil {
					return err
				}
				if len(l.Items) == 0 {
					return caxton.Errorf(caxton.NotFound, "conversation_not_found", "%s takes part in no conversation", agent)
				}
				id = l.Items[0].ID
			}
			t, err := env.Client().Trace(cmd.Context(), id, agent)
			if err != nil {
				return err
			}
			if spans {
				if len(t.TraceIDs) == 0 {
					return caxton.Errorf(caxton.NotFound, "trace_not_found", "the conversation %s is part of no trace", id).
						WithHint("set observability.tracing_enabled = true; what was said before has none")
				}
				return printSpans(cmd, env, t.TraceIDs)
			}
			return env.Print(t, func(p *printer) {
				for _, e := range t.Items {
					took := ""
					if e.TookMS > 0 {
						took = (time.Duration(e.TookMS) * time.Millisecond).String()
					}
					since := time.Duration(e.SinceMS) * time.Millisecond
					p.row(strconv.FormatInt(e.Seq, 10), e.At.Local().Format("15:04:05.000"), "+"+since.String(), took, e.Who, short(e.What))
				}
			})
		},
	}
	c.Flags().StringVar(&agent, "agent", "", "only what this `agent` does, and what is said to it and by it")
	c.Flags().StringVar(&id, "conversation-id", "", "the `conversation`")
	c.Flags().BoolVar(&spans, "spans", false, "the spans of its traces, as a tree")
	c.Flags().StringVar(&traceID, "trace-id", "", "the spans of this `trace`, as in the header X-Trace-Id or a log line")
	c.Flags().BoolVar(&list, "list", false, "the latest traces")
	return c
}

func listTraces(cmd *cobra.Command, env *Env) error {
	l, err := env.Client().Traces(cmd.Context(), 50)
	if err != nil {
		return err
	}
	return env.Print(l, func(p *printer) {
		p.row("TRACE", "STARTED", "TOOK", "SPANS", "ERRORS", "NAME")
		for _, t := range l.Items {
			p.row(t.TraceID, t.Start.Local().Format(time.DateTime), spanTime(t.DurationMS), strconv.Itoa(t.Spans), strconv.Itoa(t.Errors), t.Name)
		}
	})
}

// printSpans prints the spans of traces as trees. Traces that are not kept any more are left
// out, unless there are no others.
func printSpans(cmd *cobra.Command, env *Env, ids []string) error {
	var trees []api.SpanTree
	var missing error
	for _, id := range ids {
		t, err := env.Client().Spans(cmd.Context(), id)
		if caxton.KindOf(err) == caxton.NotFound {
			missing = err
			continue
		}
		if err != nil {
			return err
		}
		trees = append(trees, t)
	}
	if len(trees) == 0 {
		return missing
	}
	return env.Print(map[string][]api.SpanTree{"items": trees}, func(p *printer) {
		for _, t := range trees {
			p.line("trace %s", t.TraceID)
			if len(t.Items) == 0 {
				continue
			}
			start := t.Items[0].Start
			for _, s := range t.Items {
				failed := ""
				if s.Error != "" {
					failed = "failed: " + s.Error
				}
				p.row(strings.Repeat("  ", s.Depth)+s.Name, "+"+spanTime(float64(s.Start.Sub(start).Microseconds())/1000), spanTime(s.DurationMS), failed, facts(s.Attributes))
			}
		}
	})
}

// spanTime prints milliseconds.
func spanTime(ms float64) string {
	return time.Duration(ms * float64(time.Millisecond)).Round(time.Microsecond).String()
}

// facts prints those attributes of a span that a reader of a tree wants: what it took, and how
// it ended.
func facts(attrs map[string]any) string {
	var out []string
	for k, v := range attrs {
		switch k {
		case "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "http.response.status_code", "caxton.turn.attempt", "caxton.turn.outcome",
			"caxton.wasm.fuel", "caxton.wasm.memory_bytes", "caxton.wasm.cold", "caxton.memory.hits", "gen_ai.provider.name":
			text := fmt.Sprint(v)
			if n, ok := v.(float64); ok { // every number of JSON is one
				text = strconv.FormatFloat(n, 'f', -1, 64)
			}
			out = append(out, k[strings.LastIndexByte(k, '.')+1:]+"="+text)
		}
	}
	sort.Strings(out)
	return strings.Join(out, " ")
}
