package sqlite_test

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/sqlite"
)

func TestToolPins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caxton.db")
	db, stop := open(t, path, sqlite.Normal)
	at := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
	offer := caxton.ToolOffer{
		Tool: "read", Description: "Reads <all> & more.", Schema: json.RawMessage(`{"properties":{"a":{"pattern":"<b>"}},"type":"object"}`), ReadOnly: true,
	}
	pins := []caxton.ToolPin{
		{Name: "mcp__far__read", Server: "far", State: caxton.ToolQuarantined, Hash: offer.Hash(), Pinned: offer, Offered: offer, FirstSeen: at, LastSeen: at},
		{Name: "mcp__far__write", Server: "far", State: caxton.ToolDenied, Reason: "no", Hash: "x", FirstSeen: at, LastSeen: at, DecidedBy: "ada", DecidedAt: at},
	}
	if err := db.SaveToolPins(t.Context(), pins...); err != nil {
		t.Fatal(err)
	}
	pins[0].State, pins[0].DecidedBy, pins[0].DecidedAt, pins[0].LastSeen = caxton.ToolApproved, "ada", at.Add(time.Hour), at.Add(time.Minute)
	if err := db.SaveToolPins(t.Context(), pins[0]); err != nil {
		t.Fatal(err)
	}
	stop()
	db, _ = open(t, path, sqlite.Normal)
	got, err := db.ToolPins(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Changed() {
		t.Errorf("the hash of what was stored is %s, want %s", got[0].Offered.Hash(), got[0].Hash)
	}
	same := cmp.Comparer(func(a, b json.RawMessage) bool {
		var x, y any
		return len(a) == len(b) && len(a) == 0 || json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && cmp.Equal(x, y)
	})
	if got[1].Pinned.Schema != nil && string(got[1].Pinned.Schema) == "null" {
		got[1].Pinned.Schema, got[1].Offered.Schema = nil, nil // no schema prints as null
	}
	if diff := cmp.Diff(pins, got, same); diff != "" {
		t.Errorf("ToolPins differ:\n%s", diff)
	}
}
