package httpd_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/httpd"
	"github.com/caxton/caxton/internal/memory"
)

// breaking is a memory whose exports fail after some bytes.
type breaking struct {
	httpd.Memory
	after int
	err   error
}

func (b breaking) Export(_ context.Context, w io.Writer, _ memory.ExportOptions) (memory.ExportCounts, error) {
	if b.after > 0 {
		if _, err := io.WriteString(w, strings.Repeat("x", b.after)); err != nil {
			return memory.ExportCounts{}, err
		}
	}
	return memory.ExportCounts{}, b.err
}

func TestExportThatFails(t *testing.T) {
	none := caxton.Errorf(caxton.Invalid, "no_embedding_model", "there are no embeddings")
	tests := []struct {
		name  string
		after int
		err   error
		code  string
	}{
		{"before its first byte", 0, none, "no_embedding_model"},
		{"after some bytes", 10, errors.New("the disk is gone"), ""},
		{"after many bytes", 1 << 20, errors.New("the disk is gone"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _, _ := newServerWith(t, httpd.Config{Addr: "127.0.0.1:0"}, func(d *httpd.Deps) { d.Memory = breaking{after: tt.after, err: tt.err} })
			running(t, s)
			client := api.New(api.Config{BaseURL: "http://" + s.Addr().String()})
			defer client.Close()
			n, err := client.ExportMemory(t.Context(), io.Discard, api.MemoryExport{})
			if err == nil {
				t.Fatalf("ExportMemory = %d bytes and no error, as if they were all", n)
			}
			if e, ok := errors.AsType[*caxton.Error](err); tt.code != "" && (!ok || e.Code != tt.code) {
				t.Errorf("ExportMemory: %v, want %s", err, tt.code)
			}
		})
	}
	s, _, _ := newServerWith(t, httpd.Config{}, func(d *httpd.Deps) { d.Memory = breaking{err: none} })
	if w := call(s, http.MethodGet, "/api/v1/memory/export", ""); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("%d %s, want 422", w.Code, w.Body)
	}
}
