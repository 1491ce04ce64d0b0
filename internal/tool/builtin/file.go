package builtin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
)

// FileConfig bounds file_read.
type FileConfig struct {
	Root    string      // the sandbox directory; "" switches the tool off: each call fails and says so
	MaxSize caxton.Size // of what one call reads; default 10 MiB
}

const maxEntries = 1000

type fileRead struct {
	spec tool.Spec
	cfg  FileConfig
}

type fileArgs struct {
	Path   string `json:"path" jsonschema:"Path of a file or a directory inside the sandbox, with slashes; . is the sandbox itself."`
	Offset int64  `json:"offset,omitempty" jsonschema:"Where to begin to read, in bytes."`
	Limit  int64  `json:"limit,omitempty" jsonschema:"How many bytes to read at most."`
}

// fileResult is the Data of file_read for a file.
type fileResult struct {
	Path      string `json:"path"`
	Size      int64  `json:"size"` // of the whole file
	Offset    int64  `json:"offset"`
	Read      int    `json:"read"`
	MediaType string `json:"media_type"`
}

// directoryResult is the Data of file_read for a directory.
type directoryResult struct {
	Path    string      `json:"path"`
	Entries []fileEntry `json:"entries"`
	More    int         `json:"more,omitempty"` // entries that are not listed
}

type fileEntry struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // file, directory or other
	Size int64  `json:"size"`
}

func newFile(cfg Config) (tool.Tool, error) {
	f := &fileRead{cfg: cfg.File}
	f.cfg.MaxSize = positive(f.cfg.MaxSize, 10*caxton.MiB)
	var err error
	f.spec, err = specOf[fileArgs]("file_read",
		"Read a text file or list a directory inside the sandbox. Returns the beginning of the file as text; "+
			"csv_parser and json_query read all of it when they are given the id of this call as \"from\".",
		func(p map[string]*jsonschema.Schema) {
			p["path"].MinLength, p["path"].MaxLength = new(1), new(4096)
			p["offset"].Minimum, p["limit"].Minimum = new(0.0), new(1.0)
		})
	f.spec.Idempotent = true
	return f, err
}

// Spec describes the tool.
func (f *fileRead) Spec() tool.Spec { return f.spec }

// Call reads a file or lists a directory.
func (f *fileRead) Call(_ context.Context, call tool.Call) (tool.Result, error) {
	var a fileArgs
	if err := decode(f.spec.Name, call.Args, &a); err != nil {
		return tool.Result{}, err
	}
	root, rel, err := f.open(a.Path, call.Grant.AllowedPaths)
	if err != nil {
		return tool.Result{}, err
	}
	defer root.Close() //nolint:errcheck // it was only read from
	info, err := root.Stat(rel)
	if err != nil {
		return tool.Result{}, fileFailure(a.Path, err)
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return tool.Result{}, notRegular(a.Path)
	}
	// What was a file a moment ago may be a pipe now: opening must not wait for a writer.
	file, err := root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return tool.Result{}, fileFailure(a.Path, err)
	}
	defer file.Close() //nolint:errcheck // it was only read from
	if info, err = file.Stat(); err != nil {
		return tool.Result{}, fileFailure(a.Path, err)
	}
	clean := path.Clean(a.Path)
	switch {
	case info.IsDir():
		return listDirectory(file, clean)
	case !info.Mode().IsRegular():
		return tool.Result{}, notRegular(a.Path)
	}
	return f.read(file, info.Size(), clean, a, call.ID)
}

// open returns a root that the path lies in, and the path below it: the sandbox, or where
// the agent's file narrows it, the directory that its file allows. Links cannot lead out of
// a root, so they lead neither out of the sandbox nor out of what the agent may read.
func (f *fileRead) open(name string, allowed []string) (*os.Root, string, error) {
	if f.cfg.Root == "" {
		return nil, "", caxton.Errorf(caxton.Unavailable, "sandbox_missing", "file_read is off: no sandbox directory is configured").
			WithHint("the operator sets tools.file_read.root in the server's configuration")
	}
	clean, ok := localPath(name)
	if !ok {
		return nil, "", caxton.Errorf(caxton.Forbidden, "path_refused", "%.200q is not a path inside the sandbox", name).
			WithHint("pass a path relative to the sandbox, without a slash at the front, such as reports/2025.csv")
	}
	sandbox, err := os.OpenRoot(f.cfg.Root)
	if err != nil {
		return nil, "", caxton.Errorf(caxton.Unavailable, "sandbox_missing", "the sandbox directory of file_read cannot be opened").
			WithHint("the operator makes the directory that tools.file_read.root names").WithCause(err)
	}
	if len(allowed) == 0 {
		return sandbox, clean, nil
	}
	defer sandbox.Close() //nolint:errcheck // it was only read from
	for _, a := range allowed {
		dir, ok := localPath(a)
		if !ok {
			return nil, "", caxton.Errorf(caxton.Invalid, "tool_grant_invalid", "allowed_paths of the agent: %.200q is not a path inside the sandbox", a).
				WithHint("write it relative to the sandbox, such as reports")
		}
		root, rel, err := narrow(sandbox, dir, clean)
		if err != nil {
			return nil, "", fileFailure(name, err)
		}
		if root != nil {
			return root, rel, nil
		}
	}
	return nil, "", caxton.Errorf(caxton.Forbidden, "path_not_granted", "this agent may not read %.200q", name).
		WithHint("it may read below: %s", strings.Join(allowed, ", "))
}

// narrow returns the root that an allowed path makes for name, or nil when name is not
// below it. A file that is allowed by its own name is reached from its directory.
func narrow(sandbox *os.Root, allowed, name string) (*os.Root, string, error) {
	below, err := filepath.Rel(allowed, name)
	if err != nil || !filepath.IsLocal(below) {
		return nil, "", nil //nolint:nilerr // paths that have no relation are not below each other
	}
	if below == "." {
		info, err := sandbox.Lstat(allowed)
		if err != nil {
			return nil, "", err //nolint:wrapcheck // fileFailure classifies it
		}
		if !info.IsDir() {
			allowed, below = filepath.Dir(allowed), filepath.Base(allowed)
		}
	}
	root, err := sandbox.OpenRoot(allowed)
	return root, below, err //nolint:wrapcheck // fileFailure classifies it
}

// localPath cleans a path with slashes that leads nowhere outside.
func localPath(name string) (string, bool) {
	local, err := filepath.Localize(path.Clean(name))
	return local, err == nil && !strings.ContainsRune(name, 0)
}

// read returns the asked part of a file.
func (f *fileRead) read(file *os.File, size int64, name string, a fileArgs, callID string) (tool.Result, error) {
	limit := int64(f.cfg.MaxSize)
	if a.Limit == 0 && size-a.Offset > limit || a.Limit > limit {
		return tool.Result{}, caxton.Errorf(caxton.TooLarge, "file_too_large", "%s has %d bytes, the limit for one call is %s", name, size, f.cfg.MaxSize).
			WithHint("read a part of it with offset and limit, or raise tools.file_read.max_size in the server's configuration")
	}
	if a.Limit > 0 {
		limit = a.Limit
	}
	if a.Offset > size {
		return tool.Result{}, caxton.Errorf(caxton.Invalid, "arguments_invalid", "the offset %d is behind the end of %s, which has %d bytes", a.Offset, name, size)
	}
	body, err := io.ReadAll(io.NewSectionReader(file, a.Offset, limit))
	if err != nil {
		return tool.Result{}, fileFailure(name, err)
	}
	if !looksLikeText(body) {
		return tool.Result{}, caxton.Errorf(caxton.Invalid, "file_binary", "%s is a binary file of %d bytes; only text can be read", name, size)
	}
	media, charset := mediaType(mime.TypeByExtension(path.Ext(name)), name, body)
	if !textual(media) { // the name lies: the content was found to be text
		media = "text/plain"
	}
	header := "text/plain"
	if charset != "" && !strings.EqualFold(charset, "utf-8") {
		header += "; charset=" + charset
	}
	data, err := encode(fileResult{Path: name, Size: size, Offset: a.Offset, Read: len(body), MediaType: media})
	if err != nil {
		return tool.Result{}, err
	}
	text := fmt.Sprintf("file %s, %d bytes", name, size)
	if a.Offset > 0 || int64(len(body)) < size {
		text += fmt.Sprintf(", read %d from offset %d", len(body), a.Offset)
	}
	text += "\n\n" + extract(decodeText(body[:min(len(body), 4*preview)], header), len(body), callID)
	return tool.Result{Text: text, Data: data, Body: body, MediaType: media}, nil
}

// listDirectory lists what is in a directory, sorted by name.
func listDirectory(dir *os.File, name string) (tool.Result, error) {
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return tool.Result{}, fileFailure(name, err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	result := directoryResult{Path: name, Entries: []fileEntry{}, More: max(len(entries)-maxEntries, 0)}
	var b strings.Builder
	fmt.Fprintf(&b, "directory %s, %d entries\n", name, len(entries))
	for _, e := range entries[:min(len(entries), maxEntries)] {
		entry := fileEntry{Name: e.Name(), Kind: "other"}
		switch {
		case e.IsDir():
			entry.Kind = "directory"
			fmt.Fprintf(&b, "%s/\n", e.Name())
		case e.Type().IsRegular():
			entry.Kind = "file"
			if info, err := e.Info(); err == nil {
				entry.Size = info.Size()
			}
			fmt.Fprintf(&b, "%s (%d bytes)\n", e.Name(), entry.Size)
		default:
			fmt.Fprintf(&b, "%s (neither a file nor a directory)\n", e.Name())
		}
		result.Entries = append(result.Entries, entry)
	}
	if result.More > 0 {
		fmt.Fprintf(&b, "and %d more\n", result.More)
	}
	data, err := encode(result)
	return tool.Result{Text: strings.TrimRight(b.String(), "\n"), Data: data}, err
}

func notRegular(name string) error {
	return caxton.Errorf(caxton.Invalid, "file_not_regular", "%.200q is neither a file nor a directory", name)
}

// fileFailure says why a path cannot be read, without telling where the sandbox is.
func fileFailure(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return caxton.Errorf(caxton.NotFound, "file_not_found", "there is no %.200q in the sandbox", name).
			WithHint("list a directory by reading it; . is the sandbox itself").WithCause(err)
	case errors.Is(err, fs.ErrPermission):
		return caxton.Errorf(caxton.Forbidden, "path_refused", "%.200q may not be read by the server", name).WithCause(err)
	}
	return caxton.Errorf(caxton.Forbidden, "path_refused", "%.200q cannot be read: it leads out of the sandbox, or is broken", name).WithCause(err)
}
