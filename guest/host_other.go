//go:build !wasip1

package guest

import (
	"fmt"
	"os"
)

func hostLog(_ int, s string)                 { fmt.Fprintln(os.Stderr, s) }
func hostSend([]byte) error                   { return ErrNoServer }
func hostRequest([]byte) ([]byte, error)      { return nil, ErrNoServer }
func hostTool(string, []byte) ([]byte, error) { return nil, ErrNoServer }
func hostMemoryStore([]byte) ([]byte, error)  { return nil, ErrNoServer }
func hostMemorySearch([]byte) ([]byte, error) { return nil, ErrNoServer }
func hostMemoryRelate([]byte) ([]byte, error) { return nil, ErrNoServer }
func hostMemoryForget([]byte) ([]byte, error) { return nil, ErrNoServer }
func hostStore(string, []byte) error          { return ErrNoServer }
func hostLoad(string) ([]byte, error)         { return nil, ErrNoServer }
func hostDelete(string) error                 { return ErrNoServer }
func hostNext(string) ([]byte, error)         { return nil, ErrNoServer }
func hostConfig(string) ([]byte, error)       { return nil, ErrNoServer }
func hostTimer(int64) (int32, error)          { return 0, ErrNoServer }
func hostCancelTimer(int32) error             { return ErrNoServer }
