package module

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/datadir"
)

// Config tunes a Store. Zero fields mean the defaults given here.
type Config struct {
	// Used returns the hashes of all modules that some version refers to. *sqlite.DB
	// provides it. Without it nothing is collected.
	Used func(ctx context.Context) (map[string]bool, error)

	Grace    time.Duration    // for which a module stays that nothing refers to: 1 h
	Interval time.Duration    // between collections: 1 h
	Logger   *slog.Logger     // discards
	Now      func() time.Time // time.Now
}

// A Store keeps modules. It is safe for concurrent use.
type Store struct {
	dir string
	cfg Config

	mu sync.Mutex // held while a file is put or removed, so that what is put stays
}

// New returns a Store in a directory, which is made when it is needed. It starts nothing.
func New(dir string, cfg Config) *Store {
	cfg.Grace = cmp.Or(cfg.Grace, time.Hour)
	cfg.Interval = cmp.Or(cfg.Interval, time.Hour)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Store{dir: dir, cfg: cfg}
}

const extension = ".wasm"

func (s *Store) path(hash string) string { return filepath.Join(s.dir, hash+extension) }

// Hash returns the name that a module has in a Store.
func Hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Put keeps a module for at least the grace, and returns its hash. Once it has returned the
// module outlasts a power cut. What is here already is written again only when it is damaged.
func (s *Store) Put(ctx context.Context, data []byte) (hash string, err error) {
	hash = Hash(data)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return "", caxton.Errorf(caxton.Canceled, "canceled", "storing the module was called off").WithCause(err)
	}
	path := s.path(hash)
	if _, err := s.read(hash); err == nil {
		now := s.cfg.Now()
		if err := os.Chtimes(path, now, now); err != nil { // its grace begins again
			return "", datadir.Explain("write", path, s.dir, err)
		}
		return hash, nil
	}
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return "", datadir.Explain("create", s.dir, filepath.Dir(s.dir), err)
	}
	return hash, datadir.AtomicWrite(path, data, 0o640)
}

// Get returns a module. Errors: NotFound when there is none of that hash, Unavailable with
// the code module_damaged when its file is not what it was.
func (s *Store) Get(ctx context.Context, hash string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, caxton.Errorf(caxton.Canceled, "canceled", "reading the module was called off").WithCause(err)
	}
	return s.read(hash)
}

func (s *Store) read(hash string) ([]byte, error) {
	const again = "deploy the module again: its file is written anew"
	if b, err := hex.DecodeString(hash); err != nil || len(b) != sha256.Size { // it becomes a file name
		return nil, caxton.Errorf(caxton.NotFound, "module_not_found", "there is no module %.100q", hash)
	}
	data, err := os.ReadFile(s.path(hash))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, caxton.Errorf(caxton.NotFound, "module_not_found", "there is no module with the hash %s", hash).WithHint("%s", again)
	case err != nil:
		return nil, caxton.Errorf(caxton.Unavailable, "module_unreadable", "the module %s cannot be read", s.path(hash)).WithHint("check its owner and mode").WithCause(err)
	case Hash(data) != hash:
		return nil, caxton.Errorf(caxton.Unavailable, "module_damaged", "the module %s is damaged: its content is not what its name says", s.path(hash)).WithHint("%s", again)
	}
	return data, nil
}

// Run collects what nothing refers to, now and at intervals, until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	for {
		if n, err := s.Collect(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.WarnContext(ctx, "modules not collected", "error", err)
		} else if n > 0 {
			s.cfg.Logger.InfoContext(ctx, "modules collected", "modules", n)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Collect removes the modules that no version refers to, and the remains of writes that were
// cut short, once they are older than the grace. It returns how many it removed.
func (s *Store) Collect(ctx context.Context) (removed int, err error) {
	if s.cfg.Used == nil {
		return 0, nil
	}
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, datadir.Explain("read", s.dir, s.dir, err)
	}
	used, err := s.cfg.Used(ctx)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, e := range entries {
		if ctx.Err() != nil {
			break
		}
		hash, ok := strings.CutSuffix(e.Name(), extension)
		temporary := strings.HasPrefix(e.Name(), ".") && strings.HasSuffix(e.Name(), ".tmp")
		if !temporary && (!ok || used[hash]) || e.IsDir() {
			continue
		}
		gone, err := s.remove(e.Name())
		errs = append(errs, err)
		if gone && !temporary {
			removed++
		}
	}
	return removed, errors.Join(errs...)
}

// remove removes a file unless it was put within the grace: a deployment may be about to
// refer to it. One that took longer than the grace to do so finds out when it reads it.
func (s *Store) remove(name string) (gone bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := filepath.Join(s.dir, name)
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil && s.cfg.Now().Sub(st.ModTime()) < s.cfg.Grace {
		return false, nil
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return false, datadir.Explain("remove", path, s.dir, err)
	}
	return true, nil
}

// Beside reads the module that the agent file at path names. Nothing leads out of the file's
// directory, no path and no link. Errors: NotFound.
func Beside(path, file string) ([]byte, error) {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err == nil {
		defer func() { _ = root.Close() }()
		var data []byte
		if data, err = root.ReadFile(filepath.FromSlash(file)); err == nil {
			return data, nil
		}
	}
	return nil, caxton.Errorf(caxton.NotFound, "module_file_not_found", "%s names the module %s, which cannot be read", filepath.Base(path), file).
		WithHint("put it beside the file").WithCause(err)
}
