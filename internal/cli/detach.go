package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/config"
	"github.com/caxton/caxton/internal/datadir"
	"github.com/caxton/caxton/internal/node"
)

// startTime is how long a server in the background may take until it is ready.
const startTime = 60 * time.Second

// detached is the result of serve --detach.
type detached struct {
	PID int    `json:"pid"`
	API string `json:"api_address"`
	Log string `json:"log"`
}

// detach starts the server in the background and waits until it is ready: until that very
// process has the lock of its data directory and has written there where it listens. When it
// does not start, its error and its exit code become those of this command.
func (e *Env) detach(ctx context.Context, loaded *config.Loaded) error {
	l, err := node.Locate(&loaded.Config, e.Dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.Data, 0o755); err != nil { //nolint:gosec // as datadir makes it
		return caxton.Errorf(caxton.Unavailable, "data_dir_unwritable", "the data directory %s cannot be made", l.Data).
			WithHint("choose another place with --data-dir").WithCause(err)
	}
	name := filepath.Join(l.Data, "serve.log")
	log, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o640) //nolint:gosec // the operator's own directory
	if err != nil {
		return caxton.Errorf(caxton.Unavailable, "log_file_unwritable", "%s cannot be written", name).
			WithHint("choose another place with --data-dir").WithCause(err)
	}
	defer func() { _ = log.Close() }() // its writer is the server
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return caxton.Errorf(caxton.Unavailable, "log_file_unwritable", "%s cannot be written", name).WithCause(err)
	}
	child := exec.CommandContext(context.WithoutCancel(ctx), e.Exe, e.attached()...) //nolint:gosec // this very program
	child.Dir, child.Env, child.Stdout, child.Stderr = e.Dir, e.Environ, log, log
	setsid(child)
	if err := child.Start(); err != nil {
		return caxton.Errorf(caxton.Internal, "detach_failed", "the server could not be started").WithCause(err)
	}
	died := make(chan error, 1)          // its one value may find nobody waiting
	go func() { died <- child.Wait() }() // ends with the child, or with this process before it
	wait, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-died:
			return e.lastWords(io.NewSectionReader(log, begin, 1<<20), name, err)
		case <-wait.Done():
			if ctx.Err() != nil { // the operator has thought better of it
				_ = child.Process.Kill()
				<-died //nolint:errcheck // it was killed
				return ctx.Err()
			}
			return caxton.Errorf(caxton.Timeout, "start_timeout", "the server is not ready yet; process %d goes on with it", child.Process.Pid).
				WithHint("%s says why", name)
		case <-tick.C:
			h, held, err := datadir.ReadLock(l.Lock)
			if err == nil && held && h.PID == child.Process.Pid && h.API != "" {
				out := detached{PID: h.PID, API: h.API, Log: name}
				return e.Print(out, func(p *printer) {
					p.line("server started, process %d, API http://%s, log %s", out.PID, dialable(out.API), out.Log)
				})
			}
		}
	}
}

// attached returns the arguments of this program without --detach.
func (e *Env) attached() []string {
	var args []string
	for _, a := range e.args {
		if a != "--detach" && !strings.HasPrefix(a, "--detach=") {
			args = append(args, a)
		}
	}
	return args
}

// lastWords repeats the error of a server that died.
func (e *Env) lastWords(log io.Reader, name string, err error) error {
	text, rerr := io.ReadAll(log)
	said := "\n" + string(text)
	i := strings.LastIndex(said, "\nerror: ")
	exit, ok := errors.AsType[*exec.ExitError](err)
	if rerr != nil || i < 0 || !ok || exit.ExitCode() <= 0 {
		return caxton.Errorf(caxton.Unavailable, "server_died", "the server did not start").WithHint("%s says why", name).WithCause(err)
	}
	_, _ = io.WriteString(e.Stderr, said[i+1:])
	return exitCode(exit.ExitCode())
}
