package agentdir

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
)

// load brings one file into force and notes how that went.
func (d *Dir) load(ctx context.Context, name string, why reason) (caxton.Deployment, error) {
	unlock, err := d.lock(ctx)
	if err != nil {
		return caxton.Deployment{}, err
	}
	defer unlock()
	path := filepath.Join(d.path, name)
	start := d.cfg.Now()
	c, err := d.read(name)
	switch {
	case caxton.KindOf(err) == caxton.NotFound:
		return caxton.Deployment{}, err // gone since it was listed: drop sees to the rest
	case err == nil && !c.agent:
		err = errNoAgent(path)
		if d.owner(path) == nil { // a text like any other
			d.ignore(name, c.sight)
			return caxton.Deployment{}, err
		}
	}
	var dep caxton.Deployment
	left := false
	if err == nil && why == noticed {
		dep, left, err = d.leave(ctx, name, &c)
	}
	if err == nil && !left {
		if err = d.twice(ctx, c.req, name, why); err == nil {
			dep, err = d.deployer.Deploy(ctx, c.req)
		}
	}
	if err != nil && ctx.Err() != nil {
		return dep, err // the caller left, or the server stops: that says nothing of the file
	}
	st := caxton.ReloadStatus{Stem: stemOf(name), At: start, Duration: d.cfg.Now().Sub(start), State: stateUnchanged}
	if err != nil {
		d.fail(ctx, name, c.sight, st, err)
		return dep, err
	}
	st.AgentID, st.FromVersion, st.ToVersion = dep.Agent.ID, dep.FromVersion, dep.Agent.Version
	if dep.Changed || dep.Created {
		st.State = stateReloaded
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[name], d.status[name] = c.sight, st
	delete(d.faults, name)
	delete(d.gone, dep.Agent.ID)
	return dep, nil
}

// owner returns the agent that came from the file at path, or nil.
func (d *Dir) owner(path string) *caxton.Agent {
	if a, ok := d.registry.From(path); ok {
		return &a
	}
	return nil
}

// ignore notes a file that is no agent, so that it is not read again until it changes.
func (d *Dir) ignore(name string, s sight) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[name] = s
	delete(d.faults, name)
	delete(d.status, name)
}

// leave reports whether a file seen for the first time is to be left alone: its text is what
// was last deployed from it, and another version was made active since, by a rollback or
// through the API. A restart of the server must not undo that.
func (d *Dir) leave(ctx context.Context, name string, c *content) (caxton.Deployment, bool, error) {
	d.mu.Lock()
	_, seen := d.seen[name]
	d.mu.Unlock()
	a := d.owner(c.req.Source)
	if seen || a == nil {
		return caxton.Deployment{}, false, nil
	}
	hash := hex.EncodeToString(c.hash[:])
	active, err := d.registry.Version(ctx, a.ID, a.Version)
	if err != nil || active.Hash == hash { // as nearly always: its history need not be read
		return caxton.Deployment{}, false, err
	}
	vs, err := d.registry.Versions(ctx, a.ID)
	if err != nil {
		return caxton.Deployment{}, false, err
	}
	last := ""
	for _, v := range vs { // oldest first
		if v.Source == a.Source {
			last = v.Hash
		}
	}
	if last != hash {
		return caxton.Deployment{}, false, nil
	}
	d.cfg.Logger.InfoContext(ctx, "agent file left alone, another version is active", "agent", a.Slug, "agent_id", a.ID, "path", a.Source, "version", a.Version)
	return caxton.Deployment{Agent: *a, FromVersion: a.Version}, true, nil
}

// twice refuses a file that declares an agent that another file here declares. Of a faulty
// file it says so only when it is tried again: the deployment will, and is counted.
func (d *Dir) twice(ctx context.Context, req caxton.DeployRequest, name string, why reason) error {
	req.ValidateOnly = true
	dep, err := d.deployer.Deploy(ctx, req)
	if err != nil {
		if why == retried {
			return err
		}
		return nil
	}
	if a, ok := d.registry.Named(dep.Agent.Slug); ok {
		if other := filepath.Base(a.Source); d.ours(&a) && other != name && exists(a.Source) {
			return errTaken(name, dep.Agent.Name, other)
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// fail notes a file that cannot be loaded, and logs it when that is news.
func (d *Dir) fail(ctx context.Context, name string, s sight, st caxton.ReloadStatus, err error) {
	e, ok := errors.AsType[*caxton.Error](err)
	if !ok {
		e = caxton.Errorf(caxton.Internal, "deploy_failed", "the file could not be deployed; the server's log says why").WithCause(err)
	}
	path := filepath.Join(d.path, name)
	f := fault{caxton.FileFault{Path: path, Stem: st.Stem, Err: e, At: st.At}, d.among()}
	if a := d.owner(path); a != nil {
		f.AgentID = a.ID
		st.AgentID, st.FromVersion, st.ToVersion = a.ID, a.Version, a.Version
	}
	st.State, st.Error, st.Issues = stateFailed, e.Message, e.Issues
	d.mu.Lock()
	was, known := d.faults[name]
	old := known && was.Err.Error() == e.Error() && d.seen[name].hash == s.hash
	if old {
		f.At = was.At
	}
	d.seen[name], d.faults[name], d.status[name] = s, f, st
	d.mu.Unlock()
	if !old {
		d.cfg.Logger.WarnContext(ctx, "agent file not loaded", "agent", st.Stem, "path", path, "error", e)
	}
}

// among returns a text that differs when other agents are deployed, or other files are here.
func (d *Dir) among() string {
	var b strings.Builder
	for _, a := range d.registry.Agents() {
		fmt.Fprintf(&b, "%s %s %s %t\n", a.ID, a.Slug, a.Stem, d.ours(&a) && exists(a.Source))
	}
	return b.String()
}

// worthwhile reports whether a file that failed is to be tried again though it did not
// change: what it asks for may be there now. A conflict is tried again when others changed.
func (d *Dir) worthwhile(name string) bool {
	d.mu.Lock()
	f, ok := d.faults[name]
	d.mu.Unlock()
	switch {
	case !ok || f.Err.Kind == caxton.TooLarge:
		return false
	case f.Err.Code == "agent_name_taken" || f.Err.Code == "agent_limit":
		return f.among != d.among()
	}
	return true
}

// scan brings every changed file into force, tries again what failed for a reason that may
// be gone, and drops agents whose file has been gone for the grace. It returns after what
// time to look again, or 0.
func (d *Dir) scan(ctx context.Context, grace time.Duration) (wait time.Duration) {
	names, err := d.list()
	d.mu.Lock()
	news := err != nil && !d.silent
	d.silent = err != nil
	d.mu.Unlock()
	if news {
		d.cfg.Logger.WarnContext(ctx, "agents directory not read", "path", d.path, "error", err)
	}
	for _, n := range names {
		if ctx.Err() != nil {
			return 0
		}
		if d.changed(n) {
			_, _ = d.load(ctx, n, noticed) // a failure is noted as a fault of the file
		} else if d.worthwhile(n) {
			_, _ = d.load(ctx, n, retried)
		}
	}
	if err == nil {
		wait, _ = d.drop(ctx, names, grace) // fails only when ctx has ended
	}
	d.once.Do(func() { close(d.scanned) })
	if d.cfg.OnScanned != nil {
		d.cfg.OnScanned()
	}
	return wait
}

// drop forgets files that are gone. It removes their agents when the files have been gone
// for the grace, as soon as the agents have nothing left to do, and returns after what time
// to look again, or 0.
func (d *Dir) drop(ctx context.Context, names []string, grace time.Duration) (wait time.Duration, err error) {
	unlock, err := d.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	d.mu.Lock()
	for n := range d.faults {
		if !slices.Contains(names, n) {
			delete(d.faults, n)
		}
	}
	for n := range d.seen {
		if !slices.Contains(names, n) {
			delete(d.seen, n)
		}
	}
	was, free := d.gone, len(d.faults) > 0
	d.gone = map[caxton.AgentID]time.Time{}
	d.mu.Unlock()
	now := d.cfg.Now()
	for _, a := range d.registry.Agents() {
		name := filepath.Base(a.Source)
		if !d.ours(&a) || slices.Contains(names, name) {
			continue
		}
		since, ok := was[a.ID]
		if !ok {
			since = now
		}
		st := caxton.ReloadStatus{Stem: a.Stem, AgentID: a.ID, State: stateRemoved, At: now, FromVersion: a.Version}
		again := grace
		var err error
		if now.Sub(since) >= grace {
			again = 0
			if err = d.deployer.Remove(ctx, a.ID, false); err != nil {
				again = time.Second
			} else if free {
				again = d.cfg.Debounce // a faulty file may have waited for the name or the place
			}
		}
		d.mu.Lock()
		if now.Sub(since) < grace || err != nil {
			st.State, st.ToVersion = statePending, a.Version
			d.gone[a.ID] = since
		}
		d.status[name] = st
		d.mu.Unlock()
		wait = max(wait, again)
		if err != nil && caxton.KindOf(err) != caxton.Conflict && ctx.Err() == nil {
			d.cfg.Logger.WarnContext(ctx, "agent of a removed file not removed", "agent", a.Slug, "agent_id", a.ID, "error", err)
		}
	}
	return wait, nil
}
