package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/config"
	"github.com/caxton/caxton/internal/node"
	"go.yaml.in/yaml/v3"
)

// An Env is the world of a command: streams, environment, directory, and the client made
// from the global flags.
type Env struct {
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Environ []string
	Dir     string // working directory
	Version string
	Exe     string // path of this program, for --detach

	flags  globalFlags
	client *api.Client
}

// globalFlags are the flags of every command.
type globalFlags struct {
	config, server, socket, dataDir, token, output string
}

func (e *Env) getenv(key string) string {
	for _, v := range slices.Backward(e.Environ) {
		if k, v, ok := strings.Cut(v, "="); ok && k == key {
			return v
		}
	}
	return ""
}

// path returns p as seen from the working directory.
func (e *Env) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(e.Dir, p)
}

// load reads the configuration as the server would, with flags over it.
func (e *Env) load(flags map[string]string, check bool) (*config.Loaded, error) {
	return config.Load(config.Options{
		Path: e.flags.config, Explicit: e.flags.config != "", Environ: e.Environ, Flags: flags, Dir: e.Dir, CheckFiles: check,
	})
}

// Client returns the client for the server that the flags, the environment and the
// configuration name: an address if one is given, else the unix socket in the data
// directory, else the configured address.
func (e *Env) Client() *api.Client {
	if e.client != nil {
		return e.client
	}
	cfg := api.Config{Token: e.flags.token, UserAgent: "caxton/" + e.Version}
	if cfg.Token == "" {
		cfg.Token = e.getenv("CAXTON_TOKEN")
	}
	server := e.flags.server
	if server == "" {
		server = e.getenv("CAXTON_SERVER")
	}
	switch {
	case e.flags.socket != "":
		cfg.UnixSocket = e.path(e.flags.socket)
	case strings.HasPrefix(server, "unix:"):
		cfg.UnixSocket = e.path(strings.TrimPrefix(strings.TrimPrefix(server, "unix:"), "//"))
	case server != "":
		if !strings.Contains(server, "://") {
			server = "http://" + server
		}
		cfg.BaseURL = server
	default:
		e.local(&cfg)
	}
	e.client = api.New(cfg)
	return e.client
}

// local finds the server of this machine.
func (e *Env) local(cfg *api.Config) {
	flags := map[string]string{}
	if e.flags.dataDir != "" {
		flags["server.data_dir"] = e.flags.dataDir
	}
	loaded, err := e.load(flags, false)
	if err != nil {
		return // the default address; the command that needs the file says what is wrong with it
	}
	if l, err := node.Locate(&loaded.Config, e.Dir); err == nil {
		for _, s := range []string{l.Socket, filepath.Join(e.Dir, "data", "caxton.sock")} {
			if st, err := os.Stat(s); err == nil && st.Mode()&os.ModeSocket != 0 {
				cfg.UnixSocket = s
				return
			}
		}
	}
	host := loaded.Config.Server.Host
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	c := loaded.Config
	c.Server.Host = host
	cfg.BaseURL = "http://" + c.APIAddr()
}

// errUsage is a mistake in the arguments.
func errUsage(format string, args ...any) *caxton.Error {
	return caxton.Errorf(caxton.Malformed, "usage", format, args...)
}

// Print prints v in the format of --output; table prints it for people.
func (e *Env) Print(v any, table func(*printer)) error {
	switch e.flags.output {
	case "json":
		enc := json.NewEncoder(e.Stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	case "yaml":
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		var plain any
		if err := yaml.Unmarshal(b, &plain); err != nil {
			return err
		}
		enc := yaml.NewEncoder(e.Stdout)
		enc.SetIndent(2)
		return errors.Join(enc.Encode(plain), enc.Close())
	}
	p := &printer{w: e.Stdout}
	table(p)
	return p.flush()
}

// say writes a line of talk to the standard error.
func (e *Env) say(format string, args ...any) {
	_, _ = fmt.Fprintf(e.Stderr, format+"\n", args...)
}

// A printer writes lines and aligned columns.
type printer struct {
	w    io.Writer
	rows [][]string
	err  error
}

// row adds a row of columns; rows that follow each other are aligned.
func (p *printer) row(cells ...string) { p.rows = append(p.rows, cells) }

// line writes a line as it is.
func (p *printer) line(format string, args ...any) {
	p.align()
	p.write(fmt.Sprintf(format, args...) + "\n")
}

func (p *printer) write(s string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, s)
	}
}

// align writes the rows gathered so far.
func (p *printer) align() {
	var width []int
	for _, r := range p.rows {
		for i, c := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	for _, r := range p.rows {
		var b strings.Builder
		for i, c := range r {
			b.WriteString(c)
			if i < len(r)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-len([]rune(c))+2))
			}
		}
		p.write(strings.TrimRight(b.String(), " ") + "\n")
	}
	p.rows = nil
}

func (p *printer) flush() error {
	p.align()
	return p.err
}

// terminal reports whether a stream is a terminal.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// confirm asks a question on a terminal; elsewhere it wants --yes.
func (e *Env) confirm(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	if !terminal(e.Stdin) || ctx.Err() != nil {
		return errUsage("%s", question).WithHint("add --yes to say so without being asked")
	}
	_, _ = fmt.Fprintf(e.Stderr, "%s [y/N] ", question)
	var answer string
	_, _ = fmt.Fscanln(e.Stdin, &answer)
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		return caxton.Errorf(caxton.Canceled, "declined", "nothing was changed")
	}
	return nil
}
