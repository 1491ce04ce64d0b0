//go:build unix

package httpd_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caxton/caxton/internal/httpd"
)

// resident returns the resident memory of this process in bytes, 0 where it cannot be told.
func resident(b *testing.B) int64 {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(os.Getpid()), "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}

// readersKey is the variable of the environment by which TestIdleReaders is told to be the
// readers of a benchmark: the socket, the path and how many.
const readersKey = "CAXTON_TEST_READERS"

// TestIdleReaders is not a test: it is the process of the readers of BenchmarkIdleStreams. It
// says when all are connected and stays until its input ends.
func TestIdleReaders(t *testing.T) {
	args := strings.Fields(os.Getenv(readersKey))
	if len(args) != 3 {
		t.Skip("only for BenchmarkIdleStreams")
	}
	n, err := strconv.Atoi(args[2])
	if err != nil {
		t.Fatal(err)
	}
	var d net.Dialer
	conns := make([]net.Conn, n)
	buf := make([]byte, 4096)
	for i := range conns {
		for conns[i], err = d.DialContext(t.Context(), "unix", args[0]); errors.Is(err, syscall.EAGAIN); conns[i], err = d.DialContext(t.Context(), "unix", args[0]) {
			runtime.Gosched() // more than the listener's queue takes
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conns[i].Write([]byte("GET " + args[1] + " HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range conns {
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = os.Stdout.WriteString("connected\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, c := range conns {
		_ = c.Close()
	}
}

// BenchmarkIdleStreams measures the memory of a reader who waits for events that do not come.
// The 10,000 readers are bare connections of another process, over a unix socket.
func BenchmarkIdleStreams(b *testing.B) {
	readers := 10_000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < 10_100 {
		readers = int(limit.Cur) - 100
	}
	for _, path := range []string{"/api/v1/events", "/api/v1/conversations/c1/events"} {
		b.Run(strings.Trim(strings.ReplaceAll(strings.TrimPrefix(path, "/api/v1"), "/", "_"), "_"), func(b *testing.B) {
			for range b.N {
				idle(b, path, readers)
			}
		})
	}
}

func idle(b *testing.B, path string, readers int) {
	b.Helper()
	socket := filepath.Join(b.TempDir(), "s")
	s, h, _ := newServer(b, httpd.Config{Addr: "127.0.0.1:0", Socket: socket, MaxConnections: -1, DrainTimeout: time.Minute})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Listening()
	if w := call(s, "POST", "/api/v1/messages", `{"receiver":"greeter","message":"hi","conversation_id":"c1"}`); w.Code != 202 {
		b.Fatal(w.Body)
	}
	measure := func() (heap, stack, rss int64) {
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc), int64(m.StackInuse), resident(b)
	}
	heap0, stack0, rss0 := measure()
	other := exec.CommandContext(b.Context(), os.Args[0], "-test.run", "^TestIdleReaders$")
	other.Env = append(os.Environ(), readersKey+"="+socket+" "+path+" "+strconv.Itoa(readers))
	leave, err := other.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	said, err := other.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := other.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewReader(said)
	if line, err := lines.ReadString('\n'); line != "connected\n" {
		rest, _ := io.ReadAll(lines)
		b.Fatalf("the readers say %q, %v: %s", line, err, rest)
	}
	for h.feed.Listeners() < readers {
		runtime.Gosched()
	}
	heap1, stack1, rss1 := measure()
	n := float64(readers)
	b.ReportMetric(n, "readers")
	b.ReportMetric(float64(heap1-heap0)/n, "heap-B/reader")
	b.ReportMetric(float64(stack1-stack0)/n, "stack-B/reader")
	b.ReportMetric(float64(rss1-rss0)/n, "rss-B/reader")
	b.ReportMetric(0, "ns/op")
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
	_ = leave.Close()
	if err := other.Wait(); err != nil {
		b.Error(err)
	}
}
