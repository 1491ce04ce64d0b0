package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/telemetry"
	"github.com/prometheus/client_golang/prometheus"
)

func TestLogLine(t *testing.T) {
	var b bytes.Buffer
	l, warn := telemetry.NewLog(telemetry.LogConfig{Format: "json", Stderr: &b})
	if warn != nil {
		t.Fatal(warn)
	}
	l.DebugContext(t.Context(), "not shown")
	l.ErrorContext(t.Context(), "it broke", "agent", "greeter")
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatalf("%v in %q", err, b.String())
	}
	if line["level"] != "ERROR" || line["msg"] != "it broke" || !strings.HasSuffix(line["time"].(string), "Z") {
		t.Errorf("line = %v", line)
	}
}

func TestLogTeesAgents(t *testing.T) {
	l, _ := telemetry.NewLog(telemetry.LogConfig{})
	l.InfoContext(t.Context(), "about nobody")
	l.With("agent_id", "a1").InfoContext(t.Context(), "deployed", "agent", "greeter", "took", time.Second, "error", errors.New("no"))
	l.WithGroup("g").InfoContext(t.Context(), "in a group", "agent", "greeter")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var got []caxton.LogLine
	if err := l.Run(ctx, func(ls []caxton.LogLine) bool { got = append(got, ls...); return true }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].AgentID != "a1" || got[0].Agent != "greeter" || got[0].Attrs["took"] != "1s" || got[0].Attrs["error"] != "no" {
		t.Errorf("lines = %+v, want the one about greeter", got)
	}
}

func TestLogFileRotatesDaily(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.log")
	now := time.Now()
	old := path + "." + now.AddDate(0, 0, -40).UTC().Format(time.DateOnly)
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, warn := telemetry.NewLog(telemetry.LogConfig{File: path, Rotation: "daily", Now: func() time.Time { return now }})
	if warn != nil {
		t.Fatal(warn)
	}
	l.InfoContext(t.Context(), "first")
	first := now.UTC().Format(time.DateOnly)
	now = now.AddDate(0, 0, 1)
	l.InfoContext(t.Context(), "second")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{path: "second", path + "." + first: "first"} {
		b, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(b), want) || strings.Count(string(b), "\n") != 1 {
			t.Errorf("%s = %q, %v, want the line %q alone", filepath.Base(name), b, err, want)
		}
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of 40 days ago is still there: %v", err)
	}
}

func TestLogGoesOnWithoutItsFile(t *testing.T) {
	var b bytes.Buffer
	l, warn := telemetry.NewLog(telemetry.LogConfig{File: filepath.Join(t.TempDir(), "no", "x.log"), Stderr: &b, Level: "loud"})
	if warn == nil || !strings.Contains(warn.Error(), "x.log") || !strings.Contains(warn.Error(), "loud") {
		t.Errorf("warn = %v, want both faults", warn)
	}
	l.InfoContext(t.Context(), "still here")
	if !strings.Contains(b.String(), "still here") {
		t.Errorf("log = %q", b.String())
	}
}

func TestRegisterProcess(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	telemetry.RegisterProcess(reg, time.Now().Add(-time.Minute), 3, "1.2.3")
	fs, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range fs {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	if got["caxton_server_uptime_seconds"] < 60 || got["caxton_server_restarts_total"] != 3 || got["caxton_server_memory_usage_bytes"] < 1<<20 {
		t.Errorf("metrics = %v", got)
	}
}
