package agentdir

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agentfile"
)

// list returns the names of the files that may be agents, sorted.
func (d *Dir) list() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		kind := caxton.Unavailable
		if errors.Is(err, fs.ErrNotExist) {
			kind = caxton.NotFound
		}
		return nil, caxton.Errorf(kind, "agents_dir_unreadable", "the agents directory %s cannot be read", d.path).
			WithHint("create it, or name another with server.agents_dir").WithCause(err)
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && candidate(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil // ReadDir sorts
}

// candidate reports whether a file of this name may be an agent.
func candidate(name string) bool {
	if agentfile.Companion(name) || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasSuffix(name, "~") || strings.EqualFold(stemOf(name), "readme") {
		return false
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".md", ".markdown", ".toml", ".json", ".yaml", ".yml":
		return true
	}
	return false
}

func stemOf(name string) string { return strings.TrimSuffix(name, filepath.Ext(name)) }

// A sight is a file as it was last looked at.
type sight struct {
	read    bool // its text could be read
	hash    [sha256.Size]byte
	size    int64
	mod     time.Time
	settled bool // a later change would show in mod

	module     string // path of the module it names, or ""
	moduleSize int64
	moduleMod  time.Time
}

// granularity is how far apart two changes of a file may be and still leave it the same
// time of modification, on the coarsest file systems.
const granularity = 2 * time.Second

// A content is a file and what it asks for.
type content struct {
	sight
	agent bool // it may be an agent, and is not some text
	req   caxton.DeployRequest
}

// read reads a file. The sight is what could be seen of it, also with an error. NotFound
// means that there is no such file any more.
func (d *Dir) read(name string) (content, error) {
	path := filepath.Join(d.path, name)
	now := d.cfg.Now()
	// First the time, then the text: what changes in between shows at the next look.
	st, err := os.Stat(path) // follows links
	if err != nil {
		return content{}, errUnreadable(path, err)
	}
	c := content{sight: sight{size: st.Size(), mod: st.ModTime(), settled: now.Sub(st.ModTime()) > granularity}}
	if !st.Mode().IsRegular() {
		c.read = true
		return c, nil
	}
	if caxton.Size(st.Size()) > d.cfg.MaxSize {
		return c, d.errTooLarge(path)
	}
	f, err := os.Open(path) //nolint:gosec // a file of the operator's own directory
	if err != nil {
		return c, errUnreadable(path, err)
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(d.cfg.MaxSize)+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return c, errUnreadable(path, err)
	}
	if caxton.Size(len(text)) > d.cfg.MaxSize {
		return c, d.errTooLarge(path) // it grew meanwhile
	}
	c.read, c.hash, c.size = true, sha256.Sum256(text), int64(len(text))
	c.agent = isAgent(name, text)
	c.req = caxton.DeployRequest{Text: text, Source: path, Stem: stemOf(name), Author: "file"}
	if c.agent && bytes.Contains(text, []byte("module")) { // else it need not be parsed
		err = d.readModule(&c)
	}
	return c, err
}

// readModule reads the module that an agent file names. The hash is then that of the version
// that comes of both.
func (d *Dir) readModule(c *content) error {
	file := agentfile.ModuleFile(c.req.Source, c.req.Text, "")
	if file == "" {
		return nil
	}
	root, err := os.OpenRoot(d.path) // a link leads nowhere else
	if err != nil {
		return errUnreadable(d.path, err)
	}
	defer func() { _ = root.Close() }()
	path := filepath.Join(d.path, filepath.FromSlash(file))
	unreadable := func(err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return caxton.Errorf(caxton.Invalid, "module_file_not_found", "%s names the module %s, which is not there", c.req.Source, path).
				WithHint("put it there, or mend its name").WithCause(err)
		}
		return errUnreadable(path, err)
	}
	c.module = file
	f, err := root.Open(filepath.FromSlash(file))
	if err != nil {
		return unreadable(err)
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return unreadable(err)
	}
	c.moduleSize, c.moduleMod = st.Size(), st.ModTime()
	c.settled = c.settled && d.cfg.Now().Sub(st.ModTime()) > granularity
	if caxton.Size(st.Size()) > d.cfg.MaxModule {
		return caxton.Errorf(caxton.TooLarge, "module_too_large", "%s is larger than %s, the limit for modules", path, d.cfg.MaxModule).
			WithHint("build it without debug information, or raise wasm.max_module_size")
	}
	if c.req.Module, err = io.ReadAll(io.LimitReader(f, int64(d.cfg.MaxModule)+1)); err != nil {
		return unreadable(err)
	}
	sum := sha256.Sum256(c.req.Module)
	hash, err := hex.DecodeString(caxton.VersionHash(c.req.Text, hex.EncodeToString(sum[:])))
	copy(c.hash[:], hash)
	return err
}

// untouched reports whether the module of a file has the time and size that it had.
func (d *Dir) untouched(was *sight) bool {
	if was.module == "" {
		return true
	}
	st, err := os.Stat(filepath.Join(d.path, filepath.FromSlash(was.module)))
	return err == nil && was.moduleSize == st.Size() && was.moduleMod.Equal(st.ModTime())
}

// isAgent reports whether a file may be an agent: Markdown without front matter is a text.
// Front matter between +++ counts, so that its fault shows.
func isAgent(name string, text []byte) bool {
	if ext := strings.ToLower(filepath.Ext(name)); ext != ".md" && ext != ".markdown" {
		return true
	}
	text = bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\ufeff")), " \t\r\n")
	return bytes.HasPrefix(text, []byte("---")) || bytes.HasPrefix(text, []byte("+++"))
}

// changed reports whether a file differs from what was last seen of it.
func (d *Dir) changed(name string) bool {
	d.mu.Lock()
	was, ok := d.seen[name]
	d.mu.Unlock()
	if !ok {
		return true
	}
	st, err := os.Stat(filepath.Join(d.path, name))
	if err == nil && was.settled && was.size == st.Size() && was.mod.Equal(st.ModTime()) && d.untouched(&was) {
		return false
	}
	now, _ := d.read(name) // an error shows in the sight
	if now.read != was.read || now.hash != was.hash || now.size != was.size {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[name] = now.sight
	return false
}

func (d *Dir) errTooLarge(path string) error {
	return caxton.Errorf(caxton.TooLarge, "agent_file_too_large", "%s is larger than %s, the limit for agent files", path, d.cfg.MaxSize).
		WithHint("shorten its documentation")
}

func errUnreadable(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		if _, lerr := os.Lstat(path); errors.Is(lerr, fs.ErrNotExist) {
			return caxton.Errorf(caxton.NotFound, "agent_file_not_found", "there is no file %s", path).WithCause(err)
		}
		return caxton.Errorf(caxton.Unavailable, "agent_file_unreadable", "the link %s leads nowhere", path).WithHint("mend or remove the link").WithCause(err)
	}
	return caxton.Errorf(caxton.Unavailable, "agent_file_unreadable", "the file %s cannot be read", path).
		WithHint("check its owner and mode").WithCause(err)
}

func errNoAgent(path string) error {
	return caxton.Errorf(caxton.Invalid, "not_an_agent_file", "%s is not an agent file", path).
		WithHint("a Markdown agent begins with front matter between two lines of ---")
}

func errTaken(name, agent, other string) error {
	return caxton.Errorf(caxton.Conflict, "agent_name_taken", "Capability Conflict: %s declares %s, as %s already does", name, agent, other).
		WithHint("choose another name in one of the files, or remove one")
}
