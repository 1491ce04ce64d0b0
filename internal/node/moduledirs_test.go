package node_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
)

// TestModuleDirectories holds that a module which an agent file gives a directory reads and
// writes there, as programs do, and reaches nothing else: a Go program tries.
func TestModuleDirectories(t *testing.T) {
	module := buildModule(t, ".", "./testdata/files")
	root := t.TempDir()
	open, shown, outside := filepath.Join(root, "open"), filepath.Join(root, "shown"), filepath.Join(root, "outside")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(open, "deep"), 0o750), os.Mkdir(shown, 0o750), os.Mkdir(outside, 0o750),
		os.WriteFile(filepath.Join(open, "own"), []byte("mine"), 0o600),
		os.WriteFile(filepath.Join(shown, "page"), []byte("text"), 0o600),
		os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600),
		os.Symlink("own", filepath.Join(open, "inner")),
		os.Symlink("../outside/secret", filepath.Join(open, "relative")),
		os.Symlink(filepath.Join(outside, "secret"), filepath.Join(open, "absolute")),
		os.Symlink(outside, filepath.Join(open, "dir")),
		os.Symlink(outside, filepath.Join(root, "detour")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c, _, _ := run(t, t.TempDir(), "wasm.allowed_directories", open+","+shown)
	text := fmt.Appendf(nil, "---\nname: Clerk\ntype: wasm\nmodule:\n  directories:\n    - {guest: /data, host: %s, write: true}\n    - {guest: /shown, host: %s}\n---\n", open, shown)
	d, err := c.Deploy(t.Context(), api.Deploy{Text: text, Module: module})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Module.Directories) != 2 {
		t.Errorf("the deployment tells of the directories %v", d.Module.Directories)
	}
	for _, tt := range []struct{ steps, want string }{
		{"read /data/own", "mine"},
		{"write /data/new hello\nread /data/new\nread /data/deep/../new", "written hello hello"},
		{"mkdir /data/a/b\nwrite /data/a/b/c x\nlist /data/a/b\nrename /data/a/b/c /data/moved\nread /data/moved\nlist /data/a/b", "made written c renamed x "},
		{"remove /data/moved\nread /data/moved", "removed no"},
		{"read /data/inner", "mine"},
		{"read /shown/page\nlist /shown\nread shown/page", "text page no"},
		{"write /shown/page x\nwrite /shown/new x\nremove /shown/page\nmkdir /shown/a\nrename /shown/page /shown/b\nrename /shown/page /data/page", "no no no no no no"},
		{"read /data/relative\nread /data/absolute\nread /data/dir/secret\nlist /data/dir", "no no no no"},
		{"write /data/relative x\nwrite /data/absolute x\nwrite /data/dir/new x\nmkdir /data/dir/new\nremove /data/dir/secret", "no no no no no"},
		{"rename /data/dir/secret /data/taken\nrename /data/own /data/dir/own\nread /data/taken", "no no no"},
		{"read /data/../outside/secret\nread /data/../../etc/passwd\nread ../outside/secret\nread /data/deep/../../outside/secret", "no no no no"},
		{"read /etc/passwd\nlist /\nread " + outside + "/secret\nlist " + outside, "no no no no"},
		{"symlink ../outside /data/made\nread /data/made/secret\nsymlink " + outside + " /data/made\nread /data/made/secret\nlink /data/absolute /data/hard\nread /data/hard", "no no no no no no"},
	} {
		if got, want := said(t, c, "clerk", tt.steps), fmt.Sprintf("inform %q", tt.want); got != want {
			t.Errorf("%s\n= %s\nwant %s", tt.steps, got, want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(open, "new")); err != nil || string(b) != "hello" {
		t.Errorf("the file that the module wrote is %q, %v", b, err)
	}
	if b, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(b) != "secret" {
		t.Errorf("the file outside is %q, %v", b, err)
	}
	if files, err := os.ReadDir(outside); err != nil || len(files) != 1 {
		t.Errorf("outside there is %v, %v", files, err)
	}

	for _, host := range []string{outside, root, filepath.Join(open, "dir"), filepath.Join(open, "..", "outside"), filepath.Join(root, "detour"), filepath.Join(root, "none"), open + "side", "open"} {
		text := fmt.Appendf(nil, "---\nname: Other\ntype: wasm\nmodule:\n  directories:\n    - {guest: /data, host: %s}\n---\n", host)
		_, err := c.Deploy(t.Context(), api.Deploy{Text: text, Module: module})
		if caxton.KindOf(err) != caxton.Invalid || !strings.Contains(err.Error(), "may not see the directory") && !strings.Contains(err.Error(), "not a whole path") {
			t.Errorf("with the directory %s: %v, want Invalid", host, err)
		}
	}
}
