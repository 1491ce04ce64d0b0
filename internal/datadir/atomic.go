package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
)

// AtomicWrite makes data the content of the file at path, with that mode. Whatever happens,
// the file is the old one or the new one, never half of it, and once AtomicWrite has returned
// without an error it is the new one even after a power cut. The directory must exist. Its
// errors are those of Open.
func AtomicWrite(path string, data []byte, mode os.FileMode) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*.tmp")
	if err != nil {
		return Explain("write to", dir, dir, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return Explain("write", path, dir, errors.Join(err, os.Remove(f.Name())))
	}
	if err := SyncDir(dir); err != nil {
		return Explain("write to", dir, dir, err)
	}
	return nil
}

// SyncDir makes the names in a directory last.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // there is no such thing; renames are journalled
	}
	f, err := os.Open(dir) //nolint:gosec // a directory of the layout
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
