package agentdir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/caxton/caxton"
)

// Remove undeploys an agent for good. A file it came from would bring it back at the next
// start, so the file is set aside first: it gets a name that is no agent's, which says what
// happened, and nothing that somebody wrote is lost. An agent whose file cannot be set aside
// is not removed. Otherwise it does what the Deployer's Remove does.
func (d *Dir) Remove(ctx context.Context, id caxton.AgentID, force bool) error {
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	var agent *caxton.Agent
	if a, err := d.registry.Resolve(string(id)); err == nil && d.ours(&a) && exists(a.Source) {
		agent = &a
	}
	if agent == nil {
		return d.deployer.Remove(ctx, id, force)
	}
	aside, err := setAside(agent.Source)
	if err != nil {
		return caxton.Errorf(caxton.Conflict, "agent_file_stays", "%s came from the file %s, which would bring it back and cannot be set aside", agent.Slug, agent.Source).
			WithHint("remove the file: its agent goes with it").WithCause(err)
	}
	if err := d.deployer.Remove(ctx, id, force); err != nil {
		if back := os.Rename(aside, agent.Source); back != nil {
			d.cfg.Logger.ErrorContext(ctx, "agent file not put back", "agent", agent.Slug, "path", aside, "error", back)
		}
		return err
	}
	name := filepath.Base(agent.Source)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.seen, name)
	delete(d.faults, name)
	delete(d.gone, id)
	d.status[name] = caxton.ReloadStatus{Stem: agent.Stem, AgentID: id, State: stateRemoved, At: d.cfg.Now(), FromVersion: agent.Version}
	d.cfg.Logger.InfoContext(ctx, "agent file set aside", "agent", agent.Slug, "agent_id", id, "path", aside)
	return nil
}

// setAside gives a file a name that no agent file has, and that is free, and returns it.
func setAside(path string) (string, error) {
	aside := path + ".removed"
	for n := 2; ; n++ {
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			return aside, os.Rename(path, aside)
		} else if err != nil {
			return "", err
		}
		aside = path + ".removed-" + strconv.Itoa(n)
	}
}
