//go:build unix

package httpd_test

import (
	"context"
	"net"
	"os"
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

// BenchmarkIdleStreams measures the memory of a reader who waits for events that do not come.
// The readers are bare connections of this process, over a unix socket; what they take
// themselves is counted too, so the figures are an upper bound.
func BenchmarkIdleStreams(b *testing.B) {
	readers := 10_000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < 21_000 {
		readers = int(limit.Cur/2) - 100 // both ends of every connection are ours
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
	b.Logf("%d readers", readers)
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
	conns := make([]net.Conn, readers)
	heap0, stack0, rss0 := measure()
	var d net.Dialer
	for i := range conns {
		c, err := d.DialContext(ctx, "unix", socket)
		if err != nil {
			b.Fatal(err)
		}
		conns[i] = c
	}
	buf := make([]byte, 4096)
	for _, c := range conns {
		if _, err := c.Write([]byte("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
	for h.feed.Listeners() < readers {
		runtime.Gosched()
	}
	heap1, stack1, rss1 := measure()
	n := float64(readers)
	b.ReportMetric(float64(heap1-heap0)/n, "heap-B/reader")
	b.ReportMetric(float64(stack1-stack0)/n, "stack-B/reader")
	b.ReportMetric(float64(rss1-rss0)/n, "rss-B/reader")
	b.ReportMetric(0, "ns/op")
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
	for _, c := range conns {
		_ = c.Close()
	}
}
