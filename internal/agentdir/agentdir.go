package agentdir

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caxton/caxton"
)

// A Deployer brings definitions into force. *deploy.Deployer provides it.
type Deployer interface {
	Deploy(ctx context.Context, req caxton.DeployRequest) (caxton.Deployment, error)
	Remove(ctx context.Context, id caxton.AgentID, force bool) error
}

// A Registry knows what is deployed. *registry.Registry provides it.
type Registry interface {
	Agents() []caxton.Agent
	From(source string) (caxton.Agent, bool)
	Named(slug string) (caxton.Agent, bool)
	Resolve(ref string) (caxton.Agent, error)
	Version(ctx context.Context, id caxton.AgentID, number int) (caxton.AgentVersion, error)
	Versions(ctx context.Context, id caxton.AgentID) ([]caxton.AgentVersion, error)
}

// Config tunes a Dir. Zero fields mean the defaults given here.
type Config struct {
	Debounce  time.Duration // rest after a change before a file is read: 200 ms
	Rescan    time.Duration // between scans of the whole directory, for file systems without events: 30 s
	MaxSize   caxton.Size   // of one file: 1 MiB
	MaxModule caxton.Size   // of the module that a file names: 32 MiB
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

	work chan struct{} // capacity 1: one file is brought into force at a time

	mu     sync.Mutex // guards all below; its maps but gone go by file name
	seen   map[string]sight
	faults map[string]fault
	status map[string]caxton.ReloadStatus
	gone   map[caxton.AgentID]time.Time // agents whose file is gone, and since when
	silent bool                         // that the directory cannot be read was logged
}

// A fault is why a file is not in force.
type fault struct {
	caxton.FileFault
	among string // what was deployed then: see among
}

// A reason says why a file is loaded.
type reason int

const (
	noticed reason = iota // a scan found it new or changed
	retried               // it failed, and may do better now
	told                  // somebody asked for it
)

// The results of a reload.
const (
	stateReloaded  = "reloaded"
	stateUnchanged = "unchanged"
	stateFailed    = "failed"
	stateRemoved   = "removed"
	statePending   = "pending"
)

// New returns a Dir for the directory at path, which need not exist yet. It starts nothing.
func New(path string, deployer Deployer, reg Registry, cfg Config) *Dir {
	cfg.Debounce = cmp.Or(cfg.Debounce, 200*time.Millisecond)
	cfg.Rescan = cmp.Or(cfg.Rescan, 30*time.Second)
	cfg.MaxSize = cmp.Or(cfg.MaxSize, caxton.MiB)
	cfg.MaxModule = cmp.Or(cfg.MaxModule, 32*caxton.MiB)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Dir{
		path: filepath.Clean(path), deployer: deployer, registry: reg, cfg: cfg, scanned: make(chan struct{}), work: make(chan struct{}, 1),
		seen: map[string]sight{}, faults: map[string]fault{}, status: map[string]caxton.ReloadStatus{},
		gone: map[caxton.AgentID]time.Time{},
	}
}

// lock waits until no other file is brought into force, at most as long as ctx. Call the
// function it returns when done.
func (d *Dir) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case d.work <- struct{}{}:
		return func() { <-d.work }, nil
	case <-ctx.Done():
		return nil, caxton.Errorf(caxton.Timeout, "reload_timeout", "other agent files took too long").WithHint("try again").WithCause(ctx.Err())
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
		fs = append(fs, f.FileFault)
	}
	slices.SortFunc(fs, func(a, b caxton.FileFault) int { return cmp.Compare(a.Path, b.Path) })
	return fs
}

// ReloadStatus returns the result of the last reload of an agent or file, or NotFound.
func (d *Dir) ReloadStatus(ref string) (caxton.ReloadStatus, error) {
	a, err := d.registry.Resolve(ref)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && d.ours(&a) {
		if st, ok := d.status[filepath.Base(a.Source)]; ok {
			return st, nil
		}
	}
	if n := match(slices.Sorted(maps.Keys(d.status)), ref); n != "" {
		return d.status[n], nil
	}
	return caxton.ReloadStatus{}, caxton.Errorf(caxton.NotFound, "reload_unknown", "%q was not loaded from a file since the server started", ref)
}

// ours reports whether an agent came from a file of this directory.
func (d *Dir) ours(a *caxton.Agent) bool { return filepath.Dir(a.Source) == d.path }

// match returns the first of the file names that ref stands for, or "".
func match(names []string, ref string) string {
	for _, n := range names {
		if strings.EqualFold(stemOf(n), ref) || strings.EqualFold(n, ref) {
			return n
		}
	}
	return ""
}

// Reload brings the file of an agent into force at once: ref is a file stem, or the name or
// slug of an agent that came from a file. It also loads a file never seen before. A file
// that did not change changes nothing.
func (d *Dir) Reload(ctx context.Context, ref string) (caxton.Deployment, error) {
	name, err := d.find(ref)
	if err != nil {
		return caxton.Deployment{}, err
	}
	return d.load(ctx, name, told)
}

// find returns the file name that ref stands for.
func (d *Dir) find(ref string) (string, error) {
	names, err := d.list()
	if err != nil {
		return "", err
	}
	a, err := d.registry.Resolve(ref)
	if own := filepath.Base(a.Source); err == nil && d.ours(&a) && slices.Contains(names, own) {
		return own, nil
	}
	if n := match(names, ref); n != "" {
		return n, nil
	}
	if err != nil {
		if n := match(names, caxton.Slug(ref)); n != "" {
			return n, nil
		}
		if e, ok := errors.AsType[*caxton.Error](err); ok {
			return "", caxton.Errorf(caxton.NotFound, "agent_file_not_found", "there is neither an agent nor a file %.200q in %s", ref, d.path).WithHint("%s", e.Hint)
		}
		return "", err
	}
	if n := match(names, a.Stem); a.Stem != "" && n != "" {
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
		_, lerr := d.load(ctx, n, told)
		d.mu.Lock()
		st, ok := d.status[n]
		d.mu.Unlock()
		if ok {
			all = append(all, st)
		}
		if lerr != nil && ctx.Err() != nil {
			return all, lerr
		}
	}
	if _, err := d.drop(ctx, names, 0); err != nil {
		return all, err
	}
	return all, nil
}

// validate returns every fault of the files, also what they are only together.
func (d *Dir) validate(ctx context.Context, names []string) error {
	all := caxton.Errorf(caxton.Invalid, "agents_invalid", "not every file is sound; nothing was reloaded").WithHint("mend the files the issues name")
	declared := map[string]string{} // file by slug
	for _, n := range names {
		path := filepath.Join(d.path, n)
		c, err := d.read(n)
		if err == nil && !c.agent {
			if d.owner(path) == nil {
				continue
			}
			err = errNoAgent(path)
		}
		var dep caxton.Deployment
		if err == nil {
			c.req.ValidateOnly = true
			dep, err = d.deployer.Deploy(ctx, c.req)
		}
		if other, ok := declared[dep.Agent.Slug]; err == nil && ok {
			err = errTaken(n, dep.Agent.Name, other)
		}
		declared[dep.Agent.Slug] = n
		if ctx.Err() != nil {
			return err
		}
		if e, ok := errors.AsType[*caxton.Error](err); ok {
			if len(e.Issues) == 0 {
				all.Issues = append(all.Issues, caxton.Issue{Path: path, Message: e.Message, Hint: e.Hint})
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
