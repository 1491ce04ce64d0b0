package wasm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/wasm/meter"
	"github.com/tetratelabs/wazero"
	"golang.org/x/sys/cpu"
)

// A store keeps compiled modules on disk. Each has a directory of its own, named after all
// that the machine code depends on, with the rewritten module, what is known of it, the
// compiler's file and a list of checksums: the compiler itself believes what it reads.
type store struct {
	dir        string // "" for none
	generation string // of the entries that this program can use
}

// The files of an entry, beside the compiler's. The list of checksums is written last, by
// renaming; its time is when the entry was last used.
const (
	sums      = "SHA256SUMS"
	rewritten = "module.wasm"
	facts     = "module.json"
)

// generation names what machine code depends on besides the module: entries of another
// generation are of no use here.
func generation() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "caxton wasm cache 2\nmeter %d\nwazero %s\n%s/%s\n%s\n", meter.Scheme, wazeroVersion(), runtime.GOOS, runtime.GOARCH, features()))
	return hex.EncodeToString(sum[:4])
}

// key returns the name of the entry of a module, of which it takes the SHA-256, that is compiled
// with the options here.
func (s *store) key(hash, options string) string {
	key := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n", hash, options))
	return s.generation + "-" + hex.EncodeToString(key[:])
}

// hashOf returns the SHA-256 of a module.
func hashOf(module []byte) string {
	sum := sha256.Sum256(module)
	return hex.EncodeToString(sum[:])
}

// wazeroVersion returns the version of the compiler in this binary.
func wazeroVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == "github.com/tetratelabs/wazero" })
	if i < 0 {
		return "unknown"
	}
	if r := info.Deps[i].Replace; r != nil {
		return r.Path + r.Version
	}
	return info.Deps[i].Version
}

// features lists what of the processor the compiler may use.
func features() string {
	x, a := &cpu.X86, &cpu.ARM64
	return fmt.Sprint(x.HasSSE3, x.HasSSE41, x.HasSSE42, x.HasPOPCNT, x.HasAVX, x.HasAVX2, x.HasBMI1, x.HasBMI2, x.HasFMA, x.HasERMS, x.HasCX16,
		a.HasATOMICS, a.HasCRC32, a.HasASIMD, a.HasSVE)
}

// holds reports whether there seems to be an entry.
func (s *store) holds(key string) bool {
	if s.dir == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(s.dir, key, sums))
	return err == nil
}

// open returns the compiler's cache for a key, and the rewritten module when there is an entry
// with the checksums it was written with. Another one is thrown away first.
func (s *store) open(key string, now time.Time) (wazero.CompilationCache, *meter.Module, error) {
	if s.dir == "" {
		return wazero.NewCompilationCache(), nil, nil
	}
	dir := filepath.Join(s.dir, key)
	m, err := read(dir)
	if err == nil && m != nil {
		err = os.Chtimes(filepath.Join(dir, sums), now, now)
	}
	if err != nil {
		return nil, nil, cacheError(dir, err)
	}
	if m == nil {
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
			return nil, nil, cacheError(dir, err)
		}
	}
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return nil, nil, cacheError(dir, err)
	}
	return cache, m, nil
}

func cacheError(dir string, err error) error {
	return caxton.Errorf(caxton.Unavailable, "wasm_cache", "the cache of compiled modules in %s cannot be used", dir).
		WithHint("check the permissions and the space of the data directory").WithCause(err)
}

// read returns the module of an entry that holds just what its list says, or nil.
func read(dir string) (*meter.Module, error) {
	list, err := os.ReadFile(filepath.Join(dir, sums)) //nolint:gosec // named after a hash
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no entry is no fault
	}
	if err != nil {
		return nil, err
	}
	now, ours, err := listing(dir)
	if err != nil {
		return nil, err
	}
	if string(list) != now {
		return nil, nil //nolint:nilnil // what is damaged is as good as none
	}
	m := &meter.Module{}
	if err := json.Unmarshal(ours[facts], m); err != nil {
		return nil, nil //nolint:nilerr,nilnil // it means something else to another version of this program
	}
	m.Bytes = ours[rewritten]
	return m, nil
}

// keep completes an entry for which the compiler has written its file.
func (s *store) keep(key string, m *meter.Module) error {
	if s.dir == "" {
		return nil
	}
	dir := filepath.Join(s.dir, key)
	told := *m
	told.Bytes = nil
	b, err := json.Marshal(told)
	if err == nil {
		err = errors.Join(os.WriteFile(filepath.Join(dir, rewritten), m.Bytes, 0o600), os.WriteFile(filepath.Join(dir, facts), b, 0o600))
	}
	if err == nil {
		err = seal(dir)
	}
	if err != nil {
		return cacheError(dir, err)
	}
	return nil
}

// forget removes an entry, which only the flight of its key may do. What it cannot remove goes
// when the cache is trimmed.
func (s *store) forget(key string) {
	if s.dir != "" {
		_ = os.RemoveAll(filepath.Join(s.dir, key))
	}
}

// seal writes the list of checksums.
func seal(dir string) error {
	list, _, err := listing(dir)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".sums-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(list)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, sums))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// listing returns the checksums of the files in a directory, sorted by name, and the content
// of those that are ours.
func listing(dir string) (list string, ours map[string][]byte, err error) {
	var lines []string
	ours = map[string][]byte{}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), ".") || e.Name() == sums {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		h := sha256.New()
		if name == rewritten || name == facts {
			if ours[name], err = os.ReadFile(path); err != nil { //nolint:gosec // found by walking
				return err
			}
			_, _ = h.Write(ours[name]) // never fails
		} else if err := digest(h, path); err != nil {
			return err
		}
		lines = append(lines, hex.EncodeToString(h.Sum(nil))+"  "+filepath.ToSlash(name)+"\n")
		return nil
	})
	slices.Sort(lines)
	return strings.Join(lines, ""), ours, err
}

func digest(h io.Writer, path string) error {
	f, err := os.Open(path) //nolint:gosec // found by walking
	if err != nil {
		return err
	}
	_, err = io.Copy(h, f)
	return errors.Join(err, f.Close())
}

// A kept is an entry of the cache on disk.
type kept struct {
	name    string
	size    int64
	used    time.Time // zero for one that was never completed
	foreign bool      // of another generation
}

// trash begins the name of an entry that is being removed.
const trash = ".trash-"

// entries returns what is in the cache, the least useful first: what is half removed or was never
// completed, what is of another generation, and what was not used for longest.
func (s *store) entries() (all []kept, total int64, err error) {
	dirs, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		k := kept{name: d.Name(), foreign: !strings.HasPrefix(d.Name(), s.generation+"-")}
		walked := filepath.WalkDir(filepath.Join(s.dir, k.name), func(_ string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			if k.size += info.Size(); e.Name() == sums {
				k.used = info.ModTime()
			}
			return nil
		})
		if !errors.Is(walked, fs.ErrNotExist) { // else the compiler has just renamed its file, and that entry is in use
			err = errors.Join(err, walked)
		}
		total += k.size
		all = append(all, k)
	}
	slices.SortStableFunc(all, func(a, b kept) int {
		return cmp.Or(rank(&a)-rank(&b), a.used.Compare(b.used))
	})
	return all, total, err
}

func rank(k *kept) int {
	switch {
	case strings.HasPrefix(k.name, trash), k.used.IsZero():
		return 0
	case k.foreign:
		return 1
	}
	return 2
}

// trim makes the cache on disk as small as it should be. What is in use stays.
func (r *Runtime) trim(ctx context.Context) {
	if r.store.dir == "" {
		return
	}
	r.trimming.Lock()
	defer r.trimming.Unlock()
	all, total, err := r.store.entries()
	n, before := 0, total
	for i := range all {
		k := &all[i]
		if total <= int64(r.cfg.CacheSize) && rank(k) > 0 {
			break
		}
		gone, e := r.evict(k.name)
		if err = errors.Join(err, e); gone {
			total -= k.size
			n++
		}
	}
	if err != nil {
		r.cfg.Logger.WarnContext(ctx, "cache of compiled modules not trimmed", "error", cacheError(r.store.dir, err))
	}
	if n > 0 {
		r.cfg.Logger.InfoContext(ctx, "cache of compiled modules trimmed", "entries", n, "bytes", before-total, "left", total)
	}
}

// evict removes an entry that is not in use. It is renamed first, so that from one moment to
// the next it is not there for whoever wants to use it.
func (r *Runtime) evict(name string) (gone bool, err error) {
	path := filepath.Join(r.store.dir, name)
	if !strings.HasPrefix(name, trash) {
		away := filepath.Join(r.store.dir, trash+name)
		if err := os.RemoveAll(away); err != nil {
			return false, err
		}
		r.mu.Lock()
		busy := r.modules[name] != nil || r.flights[name] != nil
		if !busy {
			err = os.Rename(path, away)
		}
		r.mu.Unlock()
		if busy || err != nil {
			return false, err
		}
		path = away
	}
	return true, os.RemoveAll(path)
}
