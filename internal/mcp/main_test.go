package mcp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// playServer is the variable that makes the test binary an MCP server on its standard streams.
const playServer = "CAXTON_TEST_MCP_SERVER"

func TestMain(m *testing.M) {
	if mode := os.Getenv(playServer); mode != "" {
		play(mode)
		return
	}
	goleak.VerifyTestMain(m)
}

type textArgs struct {
	Text string `json:"text" jsonschema:"What to say."`
}

func said(text string) *sdk.CallToolResult {
	return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: text}}}
}

// echoServer returns a server with the tools echo, key, fail and image.
func echoServer() *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "echo", Version: "1.2.3"}, nil)
	sdk.AddTool(s, &sdk.Tool{Name: "echo", Description: "Says what it was told."}, func(_ context.Context, _ *sdk.CallToolRequest, in textArgs) (*sdk.CallToolResult, any, error) {
		return said(in.Text), nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "key", Description: "Says the key.", Annotations: &sdk.ToolAnnotations{ReadOnlyHint: true}}, func(_ context.Context, r *sdk.CallToolRequest, _ struct{}) (*sdk.CallToolResult, any, error) {
		return said(fmt.Sprint(r.Params.Meta["caxton/idempotency-key"])), nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "fail", Description: "Always fails."}, func(context.Context, *sdk.CallToolRequest, struct{}) (*sdk.CallToolResult, any, error) {
		return nil, nil, fmt.Errorf("the printer is on fire")
	})
	sdk.AddTool(s, &sdk.Tool{Name: "image", Description: "Draws."}, func(context.Context, *sdk.CallToolRequest, struct{}) (*sdk.CallToolResult, any, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{
			&sdk.TextContent{Text: "look:"}, &sdk.ImageContent{MIMEType: "image/png", Data: []byte("not really")},
		}}, map[string]int{"width": 3}, nil
	})
	return s
}

// play is a server on the standard streams, as bad as mode says.
func play(mode string) {
	mode, arg, _ := strings.Cut(mode, ":")
	s := echoServer()
	add := func(name string, call func(ctx context.Context, in textArgs) string) {
		sdk.AddTool(s, &sdk.Tool{Name: name, Description: "Does something bad."}, func(ctx context.Context, _ *sdk.CallToolRequest, in textArgs) (*sdk.CallToolResult, any, error) {
			return said(call(ctx, in)), nil, nil
		})
	}
	add("die", func(context.Context, textArgs) string {
		os.Exit(3)
		return ""
	})
	add("hang", func(ctx context.Context, _ textArgs) string {
		<-ctx.Done()
		return "too late"
	})
	add("flood", func(context.Context, textArgs) string { return strings.Repeat("water ", 20<<20/6) })
	add("long", func(context.Context, textArgs) string { return strings.Repeat("x", 300<<10) })
	add("environment", func(context.Context, textArgs) string { return strings.Join(os.Environ(), "\n") })
	add("child", func(context.Context, textArgs) string { // leaves a grandchild behind
		c := exec.Command(os.Args[0])
		c.Env = []string{playServer + "=deaf"}
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Start(); err != nil {
			return err.Error()
		}
		return fmt.Sprint(c.Process.Pid)
	})
	switch mode {
	case "deaf": // reads nothing, says nothing, hears no signal
		ignore()
		block()
	case "talkative":
		for i := range 5000 {
			fmt.Fprintln(os.Stderr, "line", i)
		}
	case "garbage":
		fmt.Println("Welcome to my server!")
	case "endless":
		w := bufio.NewWriter(os.Stdout)
		for {
			if _, err := w.WriteString(strings.Repeat("x", 1<<20)); err != nil {
				return
			}
		}
	case "stuck": // answers the start, then nothing
		in := json.NewDecoder(os.Stdin)
		for range 8 {
			var m struct {
				ID     json.RawMessage
				Method string
			}
			if in.Decode(&m) != nil {
				return
			}
			switch m.Method {
			case "server/discover":
				fmt.Printf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`+"\n", m.ID)
			case "initialize":
				fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"stuck","version":"1"}}}`+"\n", m.ID)
			case "tools/list":
				fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"echo","description":"Says.","inputSchema":{"type":"object"}}]}}`+"\n", m.ID)
			case "tools/call":
				ignore()
				block()
			}
		}
	case "notify":
		go func() {
			for {
				if _, err := fmt.Println(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}`); err != nil {
					return
				}
			}
		}()
	case "broken":
		fmt.Fprintln(os.Stderr, "Error: Cannot find module 'x'")
		os.Exit(7)
	case "once": // dies the first time
		if f, err := os.OpenFile(arg, os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			_ = f.Close()
			os.Exit(1)
		}
	}
	_ = s.Run(context.Background(), &sdk.StdioTransport{})
}

func ignore() { signalIgnore(syscall.SIGTERM) }

// block waits for ever; a deadlock would end the process.
func block() {
	for {
		<-time.After(time.Hour)
	}
}
