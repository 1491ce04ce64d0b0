//go:build unix

package datadir_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/datadir"
)

// nobody is a user that owns nothing here.
const nobody = 65534

// TestOpenUnwritable opens a directory as a user that may not write it.
func TestOpenUnwritable(t *testing.T) {
	base, err := os.MkdirTemp("", "caxton-") //nolint:usetesting // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	uid := os.Getuid()
	var adapt func(*exec.Cmd)
	mode := os.FileMode(0o555)
	if uid == 0 { // nothing keeps root out, so somebody else has to try
		uid, mode = nobody, 0o755
		exe, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			t.Skip("this program cannot be copied")
		}
		copied := filepath.Join(base, "test")
		if err := os.WriteFile(copied, exe, 0o755); err != nil {
			t.Fatal(err)
		}
		adapt = func(cmd *exec.Cmd) {
			cmd.Path, cmd.Dir = copied, "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
	}
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	existing := filepath.Join(base, "there", "data")
	for _, dir := range []string{existing, filepath.Join(base, "locked", "data")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, sub := range []string{"modules", "cache"} {
			if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	}
	closed := filepath.Join(base, "closed")
	if err := os.Mkdir(closed, mode); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, dir, hint string }{
		{"that is there", existing, fmt.Sprintf("chown -R %d %s", uid, existing)},
		{"that is not", filepath.Join(closed, "data"), fmt.Sprintf("install -d -o %d %s", uid, filepath.Join(closed, "data"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, tt.dir, adapt)
			p.end(t)
			if p.Kind != caxton.Unavailable || p.Code != "data_dir_unwritable" || !strings.Contains(p.Hint, tt.hint) ||
				!strings.Contains(p.Message, tt.dir) || !strings.Contains(p.Message, fmt.Sprintf("runs as user %d", uid)) {
				t.Errorf("Open as user %d: %+v, want data_dir_unwritable and the hint %q", uid, p.verdict, tt.hint)
			}
		})
	}
	t.Run("probe", func(t *testing.T) {
		if os.Getuid() == 0 {
			t.Skip("root may write everywhere")
		}
		if got := datadir.Probe(existing); got != datadir.Readable {
			t.Errorf("Probe = %d, want Readable", got)
		}
		if got := datadir.Probe(filepath.Join(closed, "data")); got != datadir.None {
			t.Errorf("Probe = %d, want None", got)
		}
	})
}
