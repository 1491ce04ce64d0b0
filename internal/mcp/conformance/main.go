// Command conformance is a client for the conformance suite of MCP: it connects to the server
// whose URL is its last argument the way Caxton does, lists the tools and calls each of them.
// The suite judges what it saw on the wire; scripts/test-mcp.sh runs it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/mcp"
	"github.com/caxton/caxton/internal/tool"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "error:", err)
		stop()
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

// forgetful is a store that keeps nothing: each run is the first.
type forgetful struct{}

func (forgetful) ToolPins(context.Context) ([]caxton.ToolPin, error)    { return nil, nil }
func (forgetful) SaveToolPins(context.Context, ...caxton.ToolPin) error { return nil }

// run connects, calls every tool and disconnects.
func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	if len(args) == 0 {
		return fmt.Errorf("the URL of a server is missing")
	}
	ctx, cancel := context.WithTimeout(ctx, 25*time.Second)
	defer cancel()
	servers := mcp.New(forgetful{}, mcp.Config{
		Servers: map[string]mcp.Server{"suite": {URL: args[len(args)-1], Trust: true, Timeout: 20 * time.Second}},
		Version: "1.0.0", RestartInitial: time.Hour, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	set, err := tool.NewSetWith(servers, nil)
	if err != nil {
		return err
	}
	life, end := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- servers.Run(life) }() // waited for below
	defer func() {
		end()
		if rerr := <-done; err == nil {
			err = rerr
		}
	}()
	if err := connected(ctx, servers); err != nil {
		return err
	}
	for i, spec := range set.All() {
		res, err := set.Run(ctx, spec.Name, tool.Call{ID: fmt.Sprint(i), Args: arguments(spec), Key: fmt.Sprintf("conformance-%d", i)})
		if err != nil {
			return fmt.Errorf("calling %s: %w", spec.Name, err)
		}
		_, _ = fmt.Fprintf(out, "%s: %s\n", spec.Name, res.Text)
	}
	return nil
}

// connected waits until the server is connected, or has failed.
func connected(ctx context.Context, servers *mcp.Servers) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		switch st := servers.Servers()[0]; st.State {
		case "connected":
			return nil
		case "failed":
			return fmt.Errorf("connecting: %s", st.Error)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// arguments makes arguments that fit: a value of the right type for each required property.
func arguments(spec tool.Spec) json.RawMessage {
	var schema struct {
		Properties map[string]struct{ Type string }
		Required   []string
	}
	_ = json.Unmarshal(spec.Parameters, &schema) // it was checked when it was listed
	values := map[string]any{}
	for i, name := range schema.Required {
		switch schema.Properties[name].Type {
		case "number", "integer":
			values[name] = i + 1
		case "boolean":
			values[name] = true
		case "object":
			values[name] = map[string]any{}
		case "array":
			values[name] = []any{}
		default:
			values[name] = "text"
		}
	}
	b, err := json.Marshal(values)
	if err != nil {
		return json.RawMessage("{}")
	}
	return b
}
