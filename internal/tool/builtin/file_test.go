package builtin_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
	"github.com/caxton/caxton/internal/tool/builtin"
	"github.com/caxton/caxton/internal/tool/tooltest"
)

// sandbox makes a directory with a sandbox and a secret beside it.
func sandbox(t *testing.T) (root string) {
	t.Helper()
	base := t.TempDir()
	root = filepath.Join(base, "box")
	for name, text := range map[string]string{
		"secret.txt":         "secret",
		"box/a.txt":          "hello",
		"box/data/b.csv":     "x,y\n1,2\n",
		"box/data/deep/c.md": "# deep",
		"box/latin.txt":      "J\xfcrgen",
		"box/bin.dat":        "a\x00b\x01",
		"box/empty.txt":      "",
		"box/umlauts.txt":    "äöü",
		"box/big.txt":        strings.Repeat("0123456789", 2000),
		"box/other/d.txt":    "other",
	} {
		path := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		"escape.txt":         "../secret.txt",
		"absolute.txt":       filepath.Join(base, "secret.txt"),
		"up":                 "..",
		"inside.txt":         "a.txt",
		"data/sideways.txt":  "../other/d.txt",
		"data/deep/loop.txt": "loop.txt",
	} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestFileRead(t *testing.T) {
	s := newSet(t, builtin.Config{File: builtin.FileConfig{Root: sandbox(t)}})
	tests := []struct {
		name  string
		args  args
		grant []string
		text  string
		body  string
		media string
	}{
		{"a file", args{"path": "a.txt"}, nil, "file a.txt, 5 bytes\n\nhello", "hello", "text/plain"},
		{"a path that is not clean", args{"path": "./data/../a.txt"}, nil, "file a.txt, 5 bytes\n\nhello", "hello", "text/plain"},
		{"a table", args{"path": "data/b.csv"}, nil, "file data/b.csv, 8 bytes\n\nx,y\n1,2\n", "x,y\n1,2\n", "text/csv"},
		{"Latin-1", args{"path": "latin.txt"}, nil, "file latin.txt, 6 bytes\n\nJürgen", "J\xfcrgen", "text/plain"},
		{"a part", args{"path": "a.txt", "offset": 1, "limit": 3}, nil, "file a.txt, 5 bytes, read 3 from offset 1\n\nell", "ell", "text/plain"},
		{"a part that cuts characters", args{"path": "umlauts.txt", "offset": 1, "limit": 4}, nil, "file umlauts.txt, 6 bytes, read 4 from offset 1\n\nö", "\xa4ö\xc3", "text/plain"},
		{"an empty file", args{"path": "empty.txt"}, nil, "file empty.txt, 0 bytes\n\n", "", "text/plain"},
		{"a link inside", args{"path": "inside.txt"}, nil, "file inside.txt, 5 bytes\n\nhello", "hello", "text/plain"},
		{"a directory", args{"path": "data"}, nil, "directory data, 3 entries\nb.csv (8 bytes)\ndeep/\nsideways.txt (neither a file nor a directory)", "", ""},
		{"below a granted directory", args{"path": "data/b.csv"}, []string{"other", "data"}, "file data/b.csv, 8 bytes\n\nx,y\n1,2\n", "x,y\n1,2\n", "text/csv"},
		{"the granted directory", args{"path": "data/deep"}, []string{"data/deep/"}, "directory data/deep, 2 entries\nc.md (6 bytes)\nloop.txt (neither a file nor a directory)", "", ""},
		{"a granted file", args{"path": "a.txt"}, []string{"a.txt"}, "file a.txt, 5 bytes\n\nhello", "hello", "text/plain"},
		{"all granted", args{"path": "a.txt"}, []string{"."}, "file a.txt, 5 bytes\n\nhello", "hello", "text/plain"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// The set gives people's calls the grant they ask for, as an agent's file would.
			res := must(t, s, "file_read", tt.args, tool.Call{ID: "c1", Grant: caxton.ToolGrant{Name: "file_read", AllowedPaths: tt.grant}})
			if res.Text != tt.text || string(res.Body) != tt.body || res.MediaType != tt.media {
				t.Errorf("file_read(%v) = %q, body %q, %s; want %q, %q, %s", tt.args, res.Text, res.Body, res.MediaType, tt.text, tt.body, tt.media)
			}
		})
	}
}

func TestFileReadLong(t *testing.T) {
	s := newSet(t, builtin.Config{File: builtin.FileConfig{Root: sandbox(t)}})
	res := must(t, s, "file_read", args{"path": "big.txt"}, tool.Call{ID: "c1"})
	if len(res.Body) != 20_000 || len(res.Text) > tool.MaxText || !strings.Contains(res.Text, `"from": "c1"`) {
		t.Errorf("body %d bytes, text %d bytes ending %q", len(res.Body), len(res.Text), res.Text[len(res.Text)-100:])
	}
	var got map[string]any
	if err := json.Unmarshal(res.Data, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"path": "big.txt", "size": 20000.0, "offset": 0.0, "read": 20000.0, "media_type": "text/plain"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Data (-want +got):\n%s", diff)
	}
}

func TestFileReadRefuses(t *testing.T) {
	root := sandbox(t)
	tests := []struct {
		name  string
		args  args
		grant []string
		kind  caxton.Kind
		code  string
	}{
		{"above", args{"path": "../secret.txt"}, nil, caxton.Forbidden, "path_refused"},
		{"above by a detour", args{"path": "data/../../secret.txt"}, nil, caxton.Forbidden, "path_refused"},
		{"absolute", args{"path": "/etc/passwd"}, nil, caxton.Forbidden, "path_refused"},
		{"a zero byte", args{"path": "a.txt\x00.png"}, nil, caxton.Forbidden, "path_refused"},
		{"a link that leads out", args{"path": "escape.txt"}, nil, caxton.Forbidden, "path_refused"},
		{"an absolute link", args{"path": "absolute.txt"}, nil, caxton.Forbidden, "path_refused"},
		{"a directory that leads out", args{"path": "up/secret.txt"}, nil, caxton.Forbidden, "path_refused"},
		{"listing what leads out", args{"path": "up"}, nil, caxton.Forbidden, "path_refused"},
		{"a link to itself", args{"path": "data/deep/loop.txt"}, nil, caxton.Forbidden, "path_refused"},
		{"not there", args{"path": "no.txt"}, nil, caxton.NotFound, "file_not_found"},
		{"below a file", args{"path": "a.txt/b"}, nil, caxton.NotFound, "file_not_found"},
		{"a pipe", args{"path": "pipe"}, nil, caxton.Invalid, "file_not_regular"},
		{"binary", args{"path": "bin.dat"}, nil, caxton.Invalid, "file_binary"},
		{"too large", args{"path": "big.txt"}, nil, caxton.TooLarge, "file_too_large"},
		{"a part too large", args{"path": "big.txt", "limit": 1001}, nil, caxton.TooLarge, "file_too_large"},
		{"behind the end", args{"path": "a.txt", "offset": 6}, nil, caxton.Invalid, "arguments_invalid"},
		{"before the beginning", args{"path": "a.txt", "offset": -1}, nil, caxton.Invalid, "arguments_invalid"},
		{"not granted", args{"path": "a.txt"}, []string{"data"}, caxton.Forbidden, "path_not_granted"},
		{"like the granted one", args{"path": "data2/b.csv"}, []string{"data"}, caxton.Forbidden, "path_not_granted"},
		{"above the granted one", args{"path": "."}, []string{"data"}, caxton.Forbidden, "path_not_granted"},
		{"a link out of the granted one", args{"path": "data/sideways.txt"}, []string{"data"}, caxton.Forbidden, "path_refused"},
		{"a link out of a granted link", args{"path": "escape.txt"}, []string{"escape.txt"}, caxton.Forbidden, "path_refused"},
		{"a grant that leads out", args{"path": "a.txt"}, []string{"../"}, caxton.Invalid, "tool_grant_invalid"},
		{"a grant of what leads out", args{"path": "up/secret.txt"}, []string{"up"}, caxton.Forbidden, "path_refused"},
	}
	s := newSet(t, builtin.Config{File: builtin.FileConfig{Root: root, MaxSize: 1000}})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, err := run(t.Context(), t, s, "file_read", tt.args, tool.Call{Grant: caxton.ToolGrant{Name: "file_read", AllowedPaths: tt.grant}})
			if err == nil {
				t.Fatalf("file_read(%v) = %q, want an error", tt.args, res.Text)
			}
			wantError(t, err, tt.kind, tt.code)
			if e := tooltest.ErrorOf(t, err); strings.Contains(e.Message+e.Hint, filepath.Dir(root)) {
				t.Errorf("the error tells where the sandbox is: %s %s", e.Message, e.Hint)
			}
		})
	}
	if res := must(t, s, "file_read", args{"path": "big.txt", "offset": 19_990, "limit": 1000}, tool.Call{}); string(res.Body) != "0123456789" {
		t.Errorf("the end of a large file = %q", res.Body)
	}
}

func TestFileReadWithoutSandbox(t *testing.T) {
	for name, root := range map[string]string{"not set": "", "not there": filepath.Join(t.TempDir(), "no")} {
		t.Run(name, func(t *testing.T) {
			s := newSet(t, builtin.Config{File: builtin.FileConfig{Root: root}})
			_, err := run(t.Context(), t, s, "file_read", args{"path": "a.txt"}, tool.Call{})
			wantError(t, err, caxton.Unavailable, "sandbox_missing", "tools.file_read.root")
		})
	}
}
