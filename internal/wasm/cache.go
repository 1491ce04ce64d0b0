package wasm

import (
	"crypto/sha256"
	"encoding/hex"
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
	"github.com/tetratelabs/wazero"
	"golang.org/x/sys/cpu"
)

// A store keeps compiled modules on disk. Each has a directory of its own, named after all
// that the machine code depends on, with the compiler's file and a list of checksums: the
// compiler itself believes what it reads.
type store struct {
	dir string // "" for none
}

// sums is the name of the list of checksums. It is written last, by renaming.
const sums = "SHA256SUMS"

// cacheKey returns the key of a module compiled with the options here.
func cacheKey(module []byte, options string) string {
	sum := sha256.Sum256(module)
	key := sha256.Sum256(fmt.Appendf(nil, "caxton wasm cache 1\n%x\n%s\nwazero %s\n%s/%s\n%s\n", sum, options, wazeroVersion(), runtime.GOOS, runtime.GOARCH, features()))
	return hex.EncodeToString(key[:])
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

// open returns the compiler's cache for a key, and whether it holds the module. What does not
// have the checksums it was written with is thrown away first.
func (s *store) open(key string) (cache wazero.CompilationCache, hit bool, err error) {
	if s.dir == "" {
		return wazero.NewCompilationCache(), false, nil
	}
	dir := filepath.Join(s.dir, key)
	hit, err = check(dir)
	if err != nil {
		return nil, false, err
	}
	if !hit {
		if err := os.RemoveAll(dir); err != nil {
			return nil, false, cacheError(dir, err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, false, cacheError(dir, err)
		}
	}
	cache, err = wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return nil, false, cacheError(dir, err)
	}
	return cache, hit, nil
}

func cacheError(dir string, err error) error {
	return caxton.Errorf(caxton.Unavailable, "wasm_cache", "the cache of compiled modules in %s cannot be used", dir).
		WithHint("check the permissions and the space of the data directory").WithCause(err)
}

// check reports whether the directory holds just what its list says.
func check(dir string) (bool, error) {
	list, err := os.ReadFile(filepath.Join(dir, sums)) //nolint:gosec // named after a hash
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, cacheError(dir, err)
	}
	now, err := listing(dir)
	if err != nil {
		return false, cacheError(dir, err)
	}
	return len(now) > 0 && string(list) == now, nil
}

// seal writes the list of checksums.
func (s *store) seal(key string) error {
	if s.dir == "" {
		return nil
	}
	dir := filepath.Join(s.dir, key)
	list, err := listing(dir)
	if err != nil {
		return cacheError(dir, err)
	}
	f, err := os.CreateTemp(dir, ".sums-*")
	if err != nil {
		return cacheError(dir, err)
	}
	_, err = f.WriteString(list)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, sums))
	}
	if err != nil {
		return cacheError(dir, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// listing returns the checksums of the files in a directory, sorted by name.
func listing(dir string) (string, error) {
	var lines []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), ".") || e.Name() == sums {
			return err
		}
		f, err := os.Open(path) //nolint:gosec // found by walking
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		lines = append(lines, hex.EncodeToString(h.Sum(nil))+"  "+filepath.ToSlash(name)+"\n")
		return err
	})
	slices.Sort(lines)
	return strings.Join(lines, ""), err
}
