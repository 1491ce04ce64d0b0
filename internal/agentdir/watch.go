package agentdir

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

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
	wait := d.scan(ctx, 0)
	if d.cfg.NoWatch {
		<-ctx.Done()
		return nil
	}
	rescan := time.NewTicker(d.cfg.Rescan)
	defer rescan.Stop()
	rest := time.NewTimer(time.Hour)
	rest.Stop()
	defer rest.Stop()
	look := func(wait time.Duration) {
		if wait > 0 {
			rest.Reset(wait)
		}
	}
	look(wait)
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
			look(d.scan(ctx, d.cfg.Debounce))
		case <-rescan.C:
			watched = d.watch(w, watched)
			look(d.scan(ctx, d.cfg.Debounce))
		}
	}
}

// watch begins to watch the directory unless it is watched already; it may not exist yet.
func (d *Dir) watch(w *fsnotify.Watcher, watched bool) bool {
	if w == nil || watched {
		return watched
	}
	_ = w.Remove(d.path) // a directory that was moved away may still be watched
	return w.Add(d.path) == nil
}
