package wasm

import (
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
// renaming.
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

// key returns the name of the entry of a module that is compiled with the options here.
func (s *store) key(module []byte, options string) string {
	sum := sha256.Sum256(module)
	key := sha256.Sum256(fmt.Appendf(nil, "%x\n%s\n", sum, options))
	return s.generation + "-" + hex.EncodeToString(key[:])
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
func (s *store) open(key string) (wazero.CompilationCache, *meter.Module, error) {
	if s.dir == "" {
		return wazero.NewCompilationCache(), nil, nil
	}
	dir := filepath.Join(s.dir, key)
	m, err := read(dir)
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
	m := &meter.Module{}
	if string(list) != now || json.Unmarshal(ours[facts], m) != nil || m.Scheme != meter.Scheme {
		return nil, nil //nolint:nilnil // what is damaged is as good as none
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
