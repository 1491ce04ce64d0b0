package agentdir

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/fsnotify/fsnotify"
)

// A Deployer brings definitions into force. *deploy.Deployer provides it.
type Deployer interface {
	Deploy(ctx context.Context, req caxton.DeployRequest) (caxton.Deployment, error)
	Remove(ctx context.Context, id caxton.AgentID, force bool) error
}

// A Registry knows what is deployed. *registry.Registry provides it.
type Registry interface {
	Agents() []caxton.Agent
	Resolve(ref string) (caxton.Agent, error)
}

// Config tunes a Dir. Zero fields mean the defaults given here.
type Config struct {
	Debounce  time.Duration // rest after a change before a file is read: 200 ms
	Rescan    time.Duration // between scans of the whole directory, for file systems without events: 30 s
	MaxSize   caxton.Size   // of one file: 1 MiB
	NoWatch   bool          // scan once at start and when told to, but do not watch
	Logger    *slog.Logger  // discards
	Now       func() time.Time
	OnScanned func() // called after each scan; for tests and readiness; may be nil
}

// A Dir is an agents directory. It is safe for concurrent use.
type Dir struct {
	path     string
	deployer Deployer
	registry Registry
	cfg      Config
	scanned  chan struct{} // closed after the first scan
	once     sync.Once

	work sync.Mutex // one file is brought into force at a time

	mu     sync.Mutex // guards all below
	seen   map[string]file
	faults map[string]caxton.FileFault
	status map[string]caxton.ReloadStatus
	gone   map[caxton.AgentID]string // agents whose file is gone, waiting to be idle, and the file
}

// A file is a file as it was last brought into force.
type file struct {
	hash [sha256.Size]byte
	size int64
	mod  time.Time
}

// New returns a Dir for the directory at path, which need not exist yet. It starts nothing.
func New(path string, deployer Deployer, reg Registry, cfg Config) *Dir {
	cfg.Debounce = cmp.Or(cfg.Debounce, 200*time.Millisecond)
	cfg.Rescan = cmp.Or(cfg.Rescan, 30*time.Second)
	cfg.MaxSize = cmp.Or(cfg.MaxSize, caxton.MiB)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Dir{
		path: path, deployer: deployer, registry: reg, cfg: cfg, scanned: make(chan struct{}),
		seen: map[string]file{}, faults: map[string]caxton.FileFault{}, status: map[string]caxton.ReloadStatus{},
		gone: map[caxton.AgentID]string{},
	}
}

// Path returns the directory.
func (d *Dir) Path() string { return d.path }

// Scanned returns a channel that is closed after the first scan.
func (d *Dir) Scanned() <-chan struct{} { return d.scanned }

// Faults returns the files that cannot be loaded, sorted by path.
func (d *Dir) Faults() []caxton.FileFault {
	d.mu.Lock()
	defer d.mu.Unlock()
	fs := make([]caxton.FileFault, 0, len(d.faults))
	for _, f := range d.faults {
		fs = append(fs, f)
	}
	slices.SortFunc(fs, func(a, b caxton.FileFault) int { return cmp.Compare(a.Path, b.Path) })
	return fs
}

// ReloadStatus returns the result of the last reload of an agent or file, or NotFound.
func (d *Dir) ReloadStatus(ref string) (caxton.ReloadStatus, error) {
	stem := ref
	if a, err := d.registry.Resolve(ref); err == nil {
		stem = cmp.Or(a.Stem, ref)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if st, ok := d.status[strings.ToLower(stem)]; ok {
		return st, nil
	}
	return caxton.ReloadStatus{}, caxton.Errorf(caxton.NotFound, "reload_unknown", "%q was not loaded from a file since the server started", ref)
}

// Reload brings the file of an agent into force at once: ref is a file stem, or the name or
// slug of an agent that came from a file. It also loads a file never seen before. A file
// that did not change changes nothing.
func (d *Dir) Reload(ctx context.Context, ref string) (caxton.Deployment, error) {
	name, err := d.find(ref)
	if err != nil {
		return caxton.Deployment{}, err
	}
	return d.load(ctx, name)
}

// find returns the file name that ref stands for.
func (d *Dir) find(ref string) (string, error) {
	names, err := d.list()
	if err != nil {
		return "", err
	}
	match := func(stem string) string {
		for _, n := range names {
			if strings.EqualFold(stemOf(n), stem) || strings.EqualFold(n, stem) {
				return n
			}
		}
		return ""
	}
	if n := match(ref); n != "" {
		return n, nil
	}
	a, err := d.registry.Resolve(ref)
	if err != nil {
		if n := match(caxton.Slug(ref)); n != "" {
			return n, nil
		}
		if e, ok := errors.AsType[*caxton.Error](err); ok {
			return "", caxton.Errorf(caxton.NotFound, "agent_file_not_found", "there is neither an agent nor a file %.200q in %s", ref, d.path).WithHint("%s", e.Hint)
		}
		return "", err
	}
	if n := match(a.Stem); a.Stem != "" && n != "" {
		return n, nil
	}
	return "", caxton.Errorf(caxton.Conflict, "agent_without_file", "%s did not come from a file in %s", a.Slug, d.path).
		WithHint("deploy its definition instead: caxton agents deploy FILE")
}

// ReloadAll brings every file into force at once, and notices files that are gone. With
// validateFirst nothing changes unless every file is sound.
func (d *Dir) ReloadAll(ctx context.Context, validateFirst bool) ([]caxton.ReloadStatus, error) {
	names, err := d.list()
	if err != nil {
		return nil, err
	}
	if validateFirst {
		if err := d.validate(ctx, names); err != nil {
			return nil, err
		}
	}
	var all []caxton.ReloadStatus
	for _, n := range names {
		_, lerr := d.load(ctx, n)
		d.mu.Lock()
		st, ok := d.status[strings.ToLower(stemOf(n))]
		d.mu.Unlock()
		if ok {
			all = append(all, st)
		}
		if lerr != nil && ctx.Err() != nil {
			return all, lerr
		}
	}
	d.drop(ctx, names)
	return all, nil
}

func (d *Dir) validate(ctx context.Context, names []string) error {
	all := caxton.Errorf(caxton.Invalid, "agents_invalid", "not every file is sound; nothing was reloaded").WithHint("mend the files the issues name")
	for _, n := range names {
		req, err := d.read(n)
		if err == nil && req.Text != nil {
			req.ValidateOnly = true
			_, err = d.deployer.Deploy(ctx, req)
		}
		if e, ok := errors.AsType[*caxton.Error](err); ok {
			if len(e.Issues) == 0 {
				all.Issues = append(all.Issues, caxton.Issue{Path: filepath.Join(d.path, n), Message: e.Message, Hint: e.Hint})
			}
			all.Issues = append(all.Issues, e.Issues...)
		} else if err != nil {
			return err
		}
	}
	if len(all.Issues) > 0 {
		return all
	}
	return nil
}

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
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasSuffix(name, "~") || strings.EqualFold(stemOf(name), "readme") {
		return false
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".md", ".markdown", ".toml", ".json", ".yaml", ".yml":
		return true
	}
	return false
}

func stemOf(name string) string { return strings.TrimSuffix(name, filepath.Ext(name)) }

// read returns the request that brings a file into force; its Text is nil when the file is
// no agent after all.
func (d *Dir) read(name string) (caxton.DeployRequest, error) {
	path := filepath.Join(d.path, name)
	st, err := os.Stat(path) // follows links
	if err != nil {
		return caxton.DeployRequest{}, caxton.Errorf(caxton.NotFound, "agent_file_not_found", "the file %s cannot be read", path).WithCause(err)
	}
	if !st.Mode().IsRegular() {
		return caxton.DeployRequest{}, nil
	}
	if caxton.Size(st.Size()) > d.cfg.MaxSize {
		return caxton.DeployRequest{}, caxton.Errorf(caxton.TooLarge, "agent_file_too_large", "%s has %d bytes, %s is the limit", path, st.Size(), d.cfg.MaxSize)
	}
	text, err := os.ReadFile(path) //nolint:gosec // a file of the operator's own directory
	if err != nil {
		return caxton.DeployRequest{}, caxton.Errorf(caxton.Unavailable, "agent_file_unreadable", "the file %s cannot be read", path).
			WithHint("check its owner and mode").WithCause(err)
	}
	ext := strings.ToLower(filepath.Ext(name))
	if (ext == ".md" || ext == ".markdown") && !bytes.HasPrefix(bytes.TrimPrefix(text, []byte("\ufeff")), []byte("---")) {
		return caxton.DeployRequest{}, nil // a text, not an agent
	}
	return caxton.DeployRequest{Text: text, Source: path, Stem: stemOf(name), Author: "file"}, nil
}

// load brings one file into force and notes how that went.
func (d *Dir) load(ctx context.Context, name string) (caxton.Deployment, error) {
	d.work.Lock()
	defer d.work.Unlock()
	path := filepath.Join(d.path, name)
	start := d.cfg.Now()
	req, err := d.read(name)
	if err == nil && req.Text == nil {
		d.forget(name)
		return caxton.Deployment{}, caxton.Errorf(caxton.Invalid, "not_an_agent_file", "%s is not an agent file", path).
			WithHint("a Markdown agent begins with front matter between two lines of ---")
	}
	var dep caxton.Deployment
	if err == nil {
		err = d.twice(ctx, req, name)
	}
	if err == nil {
		dep, err = d.deployer.Deploy(ctx, req)
	}
	st := caxton.ReloadStatus{Stem: stemOf(name), At: start, Duration: d.cfg.Now().Sub(start), State: "unchanged"}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[name] = file{hash: sha256.Sum256(req.Text), size: int64(len(req.Text)), mod: modTime(path)}
	if err != nil {
		d.fail(path, &st, err)
		return dep, err
	}
	delete(d.faults, path)
	delete(d.gone, dep.Agent.ID)
	st.AgentID, st.FromVersion, st.ToVersion = dep.Agent.ID, dep.FromVersion, dep.Agent.Version
	if dep.Changed || dep.Created {
		st.State = "reloaded"
	}
	d.status[strings.ToLower(st.Stem)] = st
	return dep, nil
}

// fail notes a file that cannot be loaded. d.mu is held.
func (d *Dir) fail(path string, st *caxton.ReloadStatus, err error) {
	var e *caxton.Error
	if !errors.As(err, &e) {
		e = caxton.Errorf(caxton.Internal, "deploy_failed", "the file could not be deployed; the server's log says why").WithCause(err)
	}
	f := caxton.FileFault{Path: path, Stem: st.Stem, Err: e, At: st.At}
	for _, a := range d.registry.Agents() {
		if a.Source == path {
			f.AgentID = a.ID
			st.AgentID, st.FromVersion, st.ToVersion = a.ID, a.Version, a.Version
		}
	}
	d.faults[path] = f
	st.State, st.Error, st.Issues = "failed", e.Message, e.Issues
	d.status[strings.ToLower(st.Stem)] = *st
	d.cfg.Logger.Warn("agent file not loaded", "agent", st.Stem, "path", path, "error", e)
}

// twice refuses a file that declares an agent that another file here declares.
func (d *Dir) twice(ctx context.Context, req caxton.DeployRequest, name string) error {
	check := req
	check.ValidateOnly = true
	dep, err := d.deployer.Deploy(ctx, check)
	if err != nil {
		return err
	}
	for _, a := range d.registry.Agents() {
		if a.Slug != dep.Agent.Slug || a.Source == req.Source || filepath.Dir(a.Source) != d.path {
			continue
		}
		if other := filepath.Base(a.Source); other != name && exists(a.Source) {
			return caxton.Errorf(caxton.Conflict, "agent_name_taken", "Capability Conflict: %s declares %s, as %s already does", name, dep.Agent.Name, other).
				WithHint("choose another name in one of the files, or remove one")
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func modTime(path string) time.Time {
	st, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

// forget drops what is known of a file that is no agent.
func (d *Dir) forget(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.seen, name)
	delete(d.faults, filepath.Join(d.path, name))
}

// changed reports whether a file differs from what was last brought into force.
func (d *Dir) changed(name string) bool {
	path := filepath.Join(d.path, name)
	st, err := os.Stat(path)
	if err != nil {
		return true
	}
	d.mu.Lock()
	f, ok := d.seen[name]
	d.mu.Unlock()
	if ok && f.size == st.Size() && f.mod.Equal(st.ModTime()) && d.cfg.Now().Sub(f.mod) > 2*time.Second {
		return false
	}
	text, err := os.ReadFile(path) //nolint:gosec // a file of the operator's own directory
	return err != nil || !ok || f.hash != sha256.Sum256(text)
}

// Scan brings every changed file into force and drops agents whose file is gone.
func (d *Dir) scan(ctx context.Context) {
	names, err := d.list()
	if err != nil {
		d.cfg.Logger.WarnContext(ctx, "agents directory not read", "path", d.path, "error", err)
	}
	for _, n := range names {
		if ctx.Err() != nil {
			return
		}
		if d.changed(n) {
			_, _ = d.load(ctx, n) // a failure is noted as a fault of the file
		}
	}
	if err == nil {
		d.drop(ctx, names)
	}
	d.once.Do(func() { close(d.scanned) })
	if d.cfg.OnScanned != nil {
		d.cfg.OnScanned()
	}
}

// drop removes the agents whose file is gone, as soon as they have nothing left to do.
func (d *Dir) drop(ctx context.Context, names []string) {
	d.work.Lock()
	defer d.work.Unlock()
	d.mu.Lock()
	for path := range d.faults {
		if !slices.Contains(names, filepath.Base(path)) {
			delete(d.faults, path)
		}
	}
	for n := range d.seen {
		if !slices.Contains(names, n) {
			delete(d.seen, n)
		}
	}
	d.mu.Unlock()
	for _, a := range d.registry.Agents() {
		if filepath.Dir(a.Source) != d.path || a.Stem == "" || slices.Contains(names, filepath.Base(a.Source)) {
			continue
		}
		err := d.deployer.Remove(ctx, a.ID, false)
		d.mu.Lock()
		if caxton.KindOf(err) == caxton.Conflict {
			d.gone[a.ID] = a.Source
		} else {
			delete(d.gone, a.ID)
			st := caxton.ReloadStatus{Stem: a.Stem, AgentID: a.ID, State: "removed", At: d.cfg.Now(), FromVersion: a.Version}
			if err != nil {
				st.State, st.Error = "failed", "the agent could not be removed"
			}
			d.status[strings.ToLower(a.Stem)] = st
		}
		d.mu.Unlock()
		if err != nil && caxton.KindOf(err) != caxton.Conflict {
			d.cfg.Logger.WarnContext(ctx, "agent of a removed file not removed", "agent", a.Slug, "agent_id", a.ID, "error", err)
		}
	}
}

// waiting reports whether an agent waits to be idle before it is removed.
func (d *Dir) waiting() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.gone) > 0
}

// Run scans the directory and then follows its changes until ctx ends.
func (d *Dir) Run(ctx context.Context) error {
	var events chan fsnotify.Event
	var faults chan error
	var w *fsnotify.Watcher
	if !d.cfg.NoWatch {
		var err error
		if w, err = fsnotify.NewWatcher(); err != nil {
			d.cfg.Logger.WarnContext(ctx, "agents directory not watched, only scanned", "path", d.path, "error", err)
		} else {
			defer func() { _ = w.Close() }()
			events, faults = w.Events, w.Errors
		}
	}
	watched := d.watch(w, false)
	d.scan(ctx)
	if d.cfg.NoWatch {
		<-ctx.Done()
		return nil
	}
	rescan := time.NewTicker(d.cfg.Rescan)
	defer rescan.Stop()
	rest := time.NewTimer(time.Hour)
	rest.Stop()
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			if filepath.Clean(e.Name) == d.path && e.Has(fsnotify.Remove|fsnotify.Rename) {
				watched = false
			}
			rest.Reset(d.cfg.Debounce)
		case err := <-faults:
			d.cfg.Logger.WarnContext(ctx, "watching the agents directory failed", "path", d.path, "error", err)
			rest.Reset(d.cfg.Debounce)
		case <-rest.C:
			d.scan(ctx)
			if d.waiting() {
				rest.Reset(time.Second)
			}
		case <-rescan.C:
			watched = d.watch(w, watched)
			d.scan(ctx)
		}
	}
}

// watch begins to watch the directory unless it is watched already; it may not exist yet.
func (d *Dir) watch(w *fsnotify.Watcher, watched bool) bool {
	if w == nil || watched {
		return watched
	}
	return w.Add(d.path) == nil
}
