package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
)

// keyMeta is where a server finds the idempotency key of a call.
const keyMeta = "caxton/idempotency-key"

// maxFault is how much of a server's own words an error carries.
const maxFault = 4 << 10

// A remote is one tool of a server, as it was approved. It does not change.
type remote struct {
	servers *Servers
	server  *server
	name    string
	hash    string
	said    caxton.ToolOffer
	spec    tool.Spec
}

// Spec describes the tool as it was approved.
func (t *remote) Spec() tool.Spec { return t.spec }

// Call runs the tool on its server.
func (t *remote) Call(ctx context.Context, call tool.Call) (tool.Result, error) {
	start := time.Now()
	res, err := t.call(ctx, call)
	outcome := "ok"
	if err != nil {
		outcome = "error"
	}
	m := &t.servers.metrics
	m.calls.WithLabelValues(t.server.name, outcome).Inc()
	m.duration.WithLabelValues(t.server.name).Observe(time.Since(start).Seconds())
	return res, err
}

func (t *remote) call(ctx context.Context, call tool.Call) (tool.Result, error) {
	limit := t.server.cfg.Timeout
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	sess, err := t.server.ready(within)
	if err != nil {
		return tool.Result{}, err
	}
	// While the call waited the server may have come back as another one.
	k := t.servers.lookup(t.name)
	if k == nil || k.pin.Hash != t.hash {
		return tool.Result{}, caxton.Errorf(caxton.Conflict, "tool_changed", "the tool %s changed a moment ago", t.name).WithHint("look at the tools again")
	}
	if why := refusal(k); why != nil {
		return tool.Result{}, why
	}
	params := &sdk.CallToolParams{Name: t.said.Tool, Arguments: call.Args}
	if call.Key != "" {
		params.Meta = sdk.Meta{keyMeta: call.Key}
	}
	bound, done := sess.bind(within)
	defer done()
	res, err := sess.CallTool(bound, params)
	if err != nil {
		if _, answered := errors.AsType[*jsonrpc.Error](err); !answered {
			nudge(t.server.probe) // is it still there?
		}
		return tool.Result{}, t.failure(ctx, within, err, limit)
	}
	return t.result(res)
}

// failure says what went wrong with a call that has no result.
func (t *remote) failure(ctx, within context.Context, err error, limit time.Duration) error {
	switch wire, answered := errors.AsType[*jsonrpc.Error](err); {
	case ctx.Err() != nil:
		return ctx.Err()
	case within.Err() != nil:
		return caxton.Errorf(caxton.Timeout, "tool_timeout", "the MCP server %s did not answer the call of %s within %v; nobody knows whether it took effect", t.server.name, t.said.Tool, limit).
			WithHint("raise tools.mcp_servers.%s.timeout if it needs longer", t.server.name)
	case answered && wire.Code == jsonrpc.CodeInvalidParams:
		return caxton.Errorf(caxton.Invalid, "arguments_invalid", "the MCP server %s refuses the arguments of %s: %s", t.server.name, t.said.Tool, cut(wire.Message, maxFault)).WithCause(err)
	case answered:
		return caxton.Errorf(caxton.Unavailable, "mcp_call_failed", "the MCP server %s answers the call of %s with an error: %s", t.server.name, t.said.Tool, cut(wire.Message, maxFault)).WithCause(err)
	}
	return tool.Uncertain(caxton.Errorf(caxton.Unavailable, "mcp_connection_lost", "the connection to the MCP server %s was lost while %s ran; nobody knows whether it took effect", t.server.name, t.said.Tool).
		WithHint("it is started again by itself; caxton tools servers shows how it is").WithCause(err))
}

// result turns what a server returned into a result of bounded size.
func (t *remote) result(res *sdk.CallToolResult) (tool.Result, error) {
	var out tool.Result
	var text strings.Builder
	limit := int(t.server.cfg.MaxResult)
	say := func(format string, args ...any) {
		if text.Len() > 0 {
			text.WriteString("\n")
		}
		fmt.Fprintf(&text, format, args...)
	}
	attach := func(what, mediaType string, data []byte) {
		if out.Body == nil && len(data) <= limit {
			out.Body, out.MediaType = data, mediaType
			say("[%s of type %s, %d bytes]", what, mediaType, len(data))
			return
		}
		say("[%s of type %s, %d bytes, left out]", what, mediaType, len(data))
	}
	for _, c := range res.Content {
		switch c := c.(type) {
		case *sdk.TextContent:
			say("%s", c.Text)
		case *sdk.ImageContent:
			attach("image", mediaType(c.MIMEType), c.Data)
		case *sdk.AudioContent:
			attach("sound", mediaType(c.MIMEType), c.Data)
		case *sdk.ResourceLink:
			say("[resource %s: %s]", cut(c.Name, 200), cut(c.URI, 2000))
		case *sdk.EmbeddedResource:
			switch r := c.Resource; {
			case r == nil:
			case len(r.Blob) > 0:
				attach("resource "+cut(r.URI, 2000), mediaType(r.MIMEType), r.Blob)
			default:
				say("%s", r.Text)
			}
		default:
			say("[content of a kind that is not known here]")
		}
		if text.Len() > limit {
			break
		}
	}
	if res.StructuredContent != nil {
		data, err := json.Marshal(res.StructuredContent)
		if err == nil && len(data) <= limit {
			out.Data = data
			if len(res.Content) == 0 {
				text.Write(data)
			}
		}
	}
	out.Text = text.String()
	if len(out.Text) > limit {
		out.Text = cut(out.Text, limit) + fmt.Sprintf("\n[cut: the MCP server sent more than %d bytes]", limit)
	}
	if res.IsError {
		return tool.Result{}, caxton.Errorf(caxton.Invalid, "tool_reported_error", "the tool %s reports an error: %s", t.name, cut(strings.TrimSpace(out.Text), maxFault))
	}
	if len(res.InputRequests) > 0 {
		return tool.Result{}, caxton.Errorf(caxton.Unavailable, "mcp_input_required", "the tool %s asks for input, which nobody gives here", t.name)
	}
	return out, nil
}

// mediaType returns what a server calls the type of something, as one short word.
func mediaType(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, cut(s, 100))
	if s == "" {
		return "application/octet-stream"
	}
	return s
}
