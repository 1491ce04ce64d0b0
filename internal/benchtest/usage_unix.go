//go:build unix

package benchtest

import (
	"bufio"
	"fmt"
	"os"
	"syscall"
	"time"
)

func used() usage {
	var u usage
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &ru) == nil {
		u.cpu = time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	f, err := os.Open("/proc/self/io") // Linux only
	if err != nil {
		return u
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var key string
		var n int64
		if _, err := fmt.Sscan(lines.Text(), &key, &n); err != nil {
			continue
		}
		switch key {
		case "wchar:":
			u.written = n
		case "syscw:":
			u.calls = n
		}
	}
	return u
}
