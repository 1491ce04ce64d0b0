package wasm

import (
	"errors"
	"io/fs"
	"os"
	"path"

	"github.com/caxton/caxton"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/experimental/sysfs"
	wasys "github.com/tetratelabs/wazero/sys"
)

// A rootFS is a directory of the server as guests see it. os.Root holds all it does inside:
// no link and no path leads out. What is neither a file nor a directory cannot be opened.
type rootFS struct {
	sys.UnimplementedFS
	root  *os.Root
	write bool
	in    *instance
}

// openRoots opens the directories of an agent.
func openRoots(dirs []Dir) (roots []*os.Root, err error) {
	for _, d := range dirs {
		root, err := os.OpenRoot(d.Host)
		if err != nil {
			return nil, errors.Join(caxton.Errorf(caxton.Invalid, "wasm_directory", "the directory %s that a module may use cannot be opened", d.Host).
				WithHint("make it, or take it from the agent").WithCause(err), closeRoots(roots))
		}
		roots = append(roots, root)
	}
	return roots, nil
}

// mounts returns the directories of its agent as an instance sees them.
func (in *instance) mounts() wazero.FSConfig {
	cfg := wazero.NewFSConfig()
	for i, d := range in.a.dirs {
		if m, ok := cfg.(sysfs.FSConfig); ok { // it always is
			cfg = m.WithSysFSMount(&rootFS{root: in.a.roots[i], write: d.Write && !in.turn.rehearses, in: in}, d.Guest)
		}
	}
	return cfg
}

// A file is an open file. What goes through it costs the guest time and fuel.
type file struct {
	sys.File
	in     *instance
	closed bool
}

// maxFiles is how many files one instance may have open: the server has not many more.
const maxFiles = 64

// Close closes the file.
func (f *file) Close() sys.Errno {
	if !f.closed {
		f.closed = true
		f.in.files--
	}
	return f.File.Close()
}

// Read reads on.
func (f *file) Read(p []byte) (int, sys.Errno) {
	f.in.tick(len(p))
	return f.File.Read(p)
}

// Pread reads at an offset.
func (f *file) Pread(p []byte, off int64) (int, sys.Errno) {
	f.in.tick(len(p))
	return f.File.Pread(p, off)
}

// Write writes on.
func (f *file) Write(p []byte) (int, sys.Errno) {
	if errno := f.room(len(p)); errno != 0 {
		return 0, errno
	}
	return f.File.Write(p)
}

// Pwrite writes at an offset.
func (f *file) Pwrite(p []byte, off int64) (int, sys.Errno) {
	if errno := f.room(len(p)); errno != 0 {
		return 0, errno
	}
	return f.File.Pwrite(p, off)
}

// room takes room for n bytes of a file.
func (f *file) room(n int) sys.Errno {
	f.in.tick(n)
	t := f.in.turn
	if t.fileBytes+n > int(t.limits.FileSize) {
		return sys.EIO
	}
	t.fileBytes += n
	return 0
}

// Readdir lists a directory.
func (f *file) Readdir(n int) ([]sys.Dirent, sys.Errno) {
	entries, errno := f.File.Readdir(n)
	f.in.tick(100 * len(entries))
	return entries, errno
}

func closeRoots(roots []*os.Root) error {
	var errs []error
	for _, r := range roots {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}

// inside returns a guest's path as os.Root takes it.
func inside(name string) string {
	if name = path.Clean("/" + name)[1:]; name == "" {
		return "."
	}
	return name
}

// errno returns what a guest is told of an error. That a path leads out has no number.
func errno(err error) sys.Errno {
	n := sys.UnwrapOSError(err)
	if n == sys.EIO {
		return sys.EPERM
	}
	return n
}

// An opener opens one file the way that flags say.
type opener struct {
	f    *rootFS
	flag int
	perm fs.FileMode
}

// Open opens the file.
func (o opener) Open(name string) (fs.File, error) {
	return o.f.root.OpenFile(name, o.flag, o.perm)
}

// OpenFile opens or makes a file.
func (f *rootFS) OpenFile(name string, flag sys.Oflag, perm fs.FileMode) (sys.File, sys.Errno) {
	name = inside(name)
	changes := flag&(sys.O_WRONLY|sys.O_RDWR|sys.O_CREAT|sys.O_TRUNC|sys.O_APPEND) != 0
	if changes && !f.write {
		return nil, sys.EROFS
	}
	info, err := f.root.Stat(name)
	switch {
	case err == nil && !info.Mode().IsRegular() && !info.IsDir():
		return nil, sys.EPERM
	case err == nil && info.IsDir() && changes && flag&sys.O_CREAT == 0:
		return nil, sys.EISDIR
	case err == nil && !info.IsDir() && flag&sys.O_DIRECTORY != 0:
		return nil, sys.ENOTDIR
	case err != nil && (!errors.Is(err, fs.ErrNotExist) || flag&sys.O_CREAT == 0):
		return nil, errno(err)
	}
	if flag&sys.O_NOFOLLOW != 0 {
		if l, err := f.root.Lstat(name); err == nil && l.Mode()&fs.ModeSymlink != 0 {
			return nil, sys.ELOOP
		}
	}
	if f.in.files >= maxFiles {
		return nil, sys.EIO
	}
	a := sysfs.AdaptFS{FS: opener{f, osFlag(flag), perm.Perm() & 0o666}}
	opened, n := a.OpenFile(name, flag, perm)
	if n != 0 {
		return nil, n
	}
	f.in.files++
	return &file{File: opened, in: f.in}, 0
}

// osFlag returns flags as the os package has them.
func osFlag(flag sys.Oflag) int {
	n := os.O_RDONLY
	switch {
	case flag&sys.O_RDWR != 0:
		n = os.O_RDWR
	case flag&sys.O_WRONLY != 0:
		n = os.O_WRONLY
	}
	for _, p := range []struct {
		theirs sys.Oflag
		ours   int
	}{{sys.O_APPEND, os.O_APPEND}, {sys.O_CREAT, os.O_CREATE}, {sys.O_EXCL, os.O_EXCL}, {sys.O_TRUNC, os.O_TRUNC}, {sys.O_SYNC, os.O_SYNC}} {
		if flag&p.theirs != 0 {
			n |= p.ours
		}
	}
	return n
}

// Stat tells about what a path leads to.
func (f *rootFS) Stat(name string) (wasys.Stat_t, sys.Errno) {
	info, err := f.root.Stat(inside(name))
	if err != nil {
		return wasys.Stat_t{}, errno(err)
	}
	return wasys.NewStat_t(info), 0
}

// Lstat tells about what is at a path.
func (f *rootFS) Lstat(name string) (wasys.Stat_t, sys.Errno) {
	info, err := f.root.Lstat(inside(name))
	if err != nil {
		return wasys.Stat_t{}, errno(err)
	}
	return wasys.NewStat_t(info), 0
}

// Mkdir makes a directory.
func (f *rootFS) Mkdir(name string, _ fs.FileMode) sys.Errno {
	if !f.write {
		return sys.EROFS
	}
	return errno(f.root.Mkdir(inside(name), 0o755))
}

// Rename gives a file another name.
func (f *rootFS) Rename(from, to string) sys.Errno {
	if !f.write {
		return sys.EROFS
	}
	return errno(f.root.Rename(inside(from), inside(to)))
}

// Rmdir removes an empty directory.
func (f *rootFS) Rmdir(name string) sys.Errno { return f.remove(name, true) }

// Unlink removes a file.
func (f *rootFS) Unlink(name string) sys.Errno { return f.remove(name, false) }

func (f *rootFS) remove(name string, dir bool) sys.Errno {
	if !f.write {
		return sys.EROFS
	}
	name = inside(name)
	info, err := f.root.Lstat(name)
	switch {
	case err != nil:
		return errno(err)
	case dir && !info.IsDir():
		return sys.ENOTDIR
	case !dir && info.IsDir():
		return sys.EISDIR
	}
	return errno(f.root.Remove(name))
}
