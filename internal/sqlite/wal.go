package sqlite

import (
	"github.com/caxton/caxton/internal/sqlitefile"
	"github.com/ncruces/go-sqlite3/vfs"
)

// SQLite writes every page of a commit to the write-ahead log in two calls, one for the
// page's header and one for the page, and a message touches eight pages. The writer
// connection therefore opens its log through a file system of ours that gathers what is
// written to the log and writes it with one call when SQLite asks for a sync, which, with
// synchronous=FULL, it does after the pages of a commit and before other connections are
// told of them. Whether that sync reaches the disk is what the durability decides.
//
// Other connections use the files as they are: what they may read has been written.

// walBuffer is how much of the log is gathered at most before it is written.
const walBuffer = 1 << 20

// walFiles is the default file system with a gathered write-ahead log.
type walFiles struct {
	vfs.VFSFilename
	commitSync bool // a commit is synced to the disk
}

// writerVFS makes the file system of the writer connection known to SQLite and returns its
// name. Doing so again changes nothing.
func writerVFS(d Durability) string {
	name := "caxton-" + string(d)
	if files, ok := vfs.Find("").(vfs.VFSFilename); ok {
		vfs.Register(name, walFiles{VFSFilename: files, commitSync: d == Full})
		return name
	}
	return "os"
}

// writerDSN names the file for the writer connection.
func writerDSN(path string, d Durability) string {
	return sqlitefile.URL(path, "vfs", writerVFS(d))
}

// OpenFilename opens a file; the write-ahead log is gathered.
func (w walFiles) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := w.VFSFilename.OpenFilename(name, flags)
	if err != nil || flags&vfs.OPEN_WAL == 0 {
		return f, flags, err
	}
	return &walFile{File: f, commitSync: w.commitSync}, flags, nil
}

// A walFile is a write-ahead log whose writes are gathered: one stretch without gaps. Only
// who holds DB.mu uses it.
type walFile struct {
	vfs.File
	commitSync bool
	buf        []byte
	start      int64 // where buf belongs
}

// WriteAt gathers what continues the stretch at hand. Anything else is written after it.
func (w *walFile) WriteAt(p []byte, off int64) (int, error) {
	if len(w.buf) > 0 && (off != w.start+int64(len(w.buf)) || len(w.buf)+len(p) > walBuffer) {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	if len(w.buf) == 0 {
		w.start = off
	}
	w.buf = append(w.buf, p...)
	return len(p), nil
}

// flush writes what was gathered. What cannot be written is forgotten: SQLite takes the
// error for that of the whole commit, which it rolls back.
func (w *walFile) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	b := w.buf
	w.buf = w.buf[:0]
	_, err := w.File.WriteAt(b, w.start)
	return err
}

// Sync writes what was gathered, and syncs it unless it is a commit's and commits need not
// reach the disk. SQLite asks for a full sync, by checkpoint_fullfsync, where the order of
// writes matters to the file itself: before a checkpoint, and when the log begins anew.
func (w *walFile) Sync(flags vfs.SyncFlag) error {
	if err := w.flush(); err != nil {
		return err
	}
	if !w.commitSync && flags&0x0f != vfs.SYNC_FULL {
		return nil
	}
	return w.File.Sync(flags)
}

// ReadAt reads from the log, with what was gathered in it.
func (w *walFile) ReadAt(p []byte, off int64) (int, error) {
	if err := w.flush(); err != nil {
		return 0, err
	}
	return w.File.ReadAt(p, off)
}

// Truncate cuts the log off.
func (w *walFile) Truncate(size int64) error {
	if err := w.flush(); err != nil {
		return err
	}
	return w.File.Truncate(size)
}

// Size returns the size of the log, with what was gathered.
func (w *walFile) Size() (int64, error) {
	if err := w.flush(); err != nil {
		return 0, err
	}
	return w.File.Size()
}

// Close writes what was gathered and closes the log.
func (w *walFile) Close() error {
	err := w.flush()
	if cerr := w.File.Close(); err == nil {
		err = cerr
	}
	return err
}
