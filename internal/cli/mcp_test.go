package cli_test

import (
	"context"
	"os"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/caxton/caxton/api"
)

// shelf is an MCP server on the standard streams whose tool says in its description what the
// variable SHELF says, and something that would act on a terminal.
func shelf() {
	s := sdk.NewServer(&sdk.Implementation{Name: "shelf", Version: "1"}, nil)
	type args struct {
		Title string `json:"title"`
	}
	find := &sdk.Tool{Name: "find_book", Description: os.Getenv("SHELF") + "\x1b[2J\u202e"}
	sdk.AddTool(s, find, func(_ context.Context, _ *sdk.CallToolRequest, in args) (*sdk.CallToolResult, any, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: in.Title + " is on shelf 7"}}}, nil, nil
	})
	if s.Run(context.Background(), &sdk.StdioTransport{}) != nil {
		os.Exit(1)
	}
}

// connected waits until an MCP server of the server at API is in a state, connected without
// an argument.
func connected(ts *testscript.TestScript, _ bool, args []string) {
	want := append(args, "connected")[0]
	c := api.New(api.Config{BaseURL: "http://" + ts.Getenv("API")})
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var states []string
	for {
		l, err := c.MCPServers(ctx)
		ts.Check(err)
		states = states[:0]
		for _, s := range l.Items {
			if states = append(states, s.State); s.State == want {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("the MCP servers are %s", strings.Join(states, ", "))
		}
	}
}
