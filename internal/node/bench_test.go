package node_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/node"
	"github.com/caxton/caxton/internal/telemetry"
)

// BenchmarkColdStart measures the start of a server on an empty data directory, until it
// takes requests, and reports the resident memory of the process then.
func BenchmarkColdStart(b *testing.B) {
	for range b.N {
		dir := b.TempDir()
		loaded, err := load(dir)
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		ready, done := make(chan node.Info, 1), make(chan error, 1)
		b.StartTimer()
		go func() {
			done <- node.Run(ctx, loaded, node.Options{Dir: dir, Stderr: io.Discard, Ready: func(i node.Info) { ready <- i }})
		}()
		<-ready
		b.StopTimer()
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(telemetry.ResidentMemory())/(1<<20), "resident-MiB")
}

// BenchmarkAgentStart measures a config agent from the request that deploys it, over HTTP, to
// its first answer, and over HTTP again.
func BenchmarkAgentStart(b *testing.B) {
	dir := b.TempDir()
	loaded, err := load(dir, "agents.max_agents", "0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ready, done := make(chan node.Info, 1), make(chan error, 1)
	go func() {
		done <- node.Run(ctx, loaded, node.Options{Dir: dir, Stderr: io.Discard, Ready: func(i node.Info) { ready <- i }})
	}()
	info := <-ready
	c := api.New(api.Config{BaseURL: "http://" + info.APIAddr})
	defer func() { c.Close(); cancel(); <-done }()
	b.ResetTimer()
	for i := range b.N {
		text := fmt.Appendf(nil, "---\nname: Agent%d\ncapabilities: [c%d]\nsystem_prompt: Greet.\n---\n\nHello.\n", i, i)
		if _, err := c.Deploy(ctx, api.Deploy{Text: text, Format: "markdown"}); err != nil {
			b.Fatal(err)
		}
		r, err := c.Send(ctx, api.Message{Receiver: fmt.Sprintf("agent%d", i), Text: "Hi"}, 10*time.Second)
		if err != nil || r.Reply == nil {
			b.Fatalf("%+v, %v", r, err)
		}
	}
}

// BenchmarkBinarySize reports the size of bin/caxton, when it was built.
func BenchmarkBinarySize(b *testing.B) {
	st, err := os.Stat(filepath.Join("..", "..", "bin", "caxton"))
	if err != nil {
		b.Skip("bin/caxton is not built: make build")
	}
	b.ReportMetric(float64(st.Size())/(1<<20), "MiB")
}
