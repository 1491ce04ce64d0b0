package node_test

import (
	"io"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/node"
)

// TestApprovalOfUnknownTool holds that a slip in the list of tools to approve keeps the server
// from starting: it would let calls pass that are to wait.
func TestApprovalOfUnknownTool(t *testing.T) {
	dir := t.TempDir()
	loaded, err := load(dir, "tools.approval.tools", "http_clinet")
	if err != nil {
		t.Fatal(err)
	}
	err = node.Run(t.Context(), loaded, node.Options{Version: "test", Dir: dir, Stderr: io.Discard})
	if caxton.KindOf(err) != caxton.Invalid || !strings.Contains(err.Error(), "http_clinet") {
		t.Errorf("Run = %v, want Invalid", err)
	}
}
