package cli

import (
	"cmp"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/config"
	"github.com/caxton/caxton/internal/datadir"
	"github.com/caxton/caxton/internal/node"
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

	args    []string // what Main was given
	flags   globalFlags
	client  *api.Client
	running bool   // the arguments were good, and the command runs
	at      *place // of the client's server, when it was found by its lock
}

// A place is a data directory and the server that held its lock.
type place struct {
	layout datadir.Layout
	holder datadir.Holder
}

// globalFlags are the flags of every command.
type globalFlags struct {
	config, server, socket, dataDir, token, output string
	noColor                                        bool
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

// configured reads the configuration with the global flags over it.
func (e *Env) configured() (*config.Loaded, error) {
	flags := map[string]string{}
	if e.flags.dataDir != "" {
		flags["server.data_dir"] = e.flags.dataDir
	}
	return e.load(flags, false)
}

// locate finds where the server that the flags and the configuration mean keeps everything.
func (e *Env) locate() (*config.Loaded, datadir.Layout, error) {
	loaded, err := e.configured()
	if err != nil {
		return nil, datadir.Layout{}, err
	}
	l, err := node.Locate(&loaded.Config, e.Dir)
	return loaded, l, err
}

// Client returns the client for the server that the flags, the environment and the
// configuration name, as connect finds it. Before a remote command runs it has been found.
func (e *Env) Client() *api.Client {
	if err := e.connect(); err != nil {
		return api.New(api.Config{BaseURL: "nowhere:"}) // completion comes here, and is content with any error
	}
	return e.client
}

// connect finds the server that commands ask. It calls nobody. The first of these decides:
//
//  1. --server or --socket;
//  2. --data-dir: the server on that directory and no other;
//  3. CAXTON_SERVER;
//  4. CAXTON_DATA_DIR, or another way in which the environment names the directory: the server
//     on it and no other;
//  5. the server on the directory of the configuration file, or on the default one;
//  6. the address of the configuration file, or http://127.0.0.1:8080.
func (e *Env) connect() error {
	if e.client != nil {
		return nil
	}
	cfg := api.Config{Token: cmp.Or(e.flags.token, e.getenv("CAXTON_TOKEN")), UserAgent: "caxton/" + e.Version}
	env := e.getenv("CAXTON_SERVER")
	switch {
	case e.flags.server != "" && e.flags.socket != "":
		return errUsage("--server and --socket exclude each other").WithHint("give one of them")
	case e.flags.socket != "":
		e.named(&cfg, "unix:"+e.flags.socket)
	case e.flags.server != "":
		e.named(&cfg, e.flags.server)
	case e.flags.dataDir == "" && env != "":
		e.named(&cfg, env)
	default:
		if err := e.found(&cfg); err != nil {
			return err
		}
	}
	e.client = api.New(cfg)
	return nil
}

// named takes a server by its address: a URL, a host:port, or unix: and a path.
func (e *Env) named(cfg *api.Config, server string) {
	if path, ok := strings.CutPrefix(server, "unix:"); ok {
		cfg.UnixSocket = e.path(strings.TrimPrefix(path, "//"))
		return
	}
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	cfg.BaseURL = server
}

// found looks for the server on a data directory.
func (e *Env) found(cfg *api.Config) error {
	loaded, l, err := e.locate()
	if err != nil {
		return err
	}
	only := false // whether no other place is as good
	for _, key := range []string{"server.data_dir", "server.state.path"} {
		o := loaded.Origin(key)
		only = only || strings.HasPrefix(o, "flag ") || strings.HasPrefix(o, "env ")
	}
	h, held, err := datadir.ReadLock(l.Lock)
	if err != nil && only {
		return err
	}
	if held {
		e.at = &place{l, h}
		// The directory may have another name for the server, as in a container.
		for _, s := range []string{l.Socket, h.Socket} {
			if st, err := os.Stat(s); err == nil && st.Mode()&os.ModeSocket != 0 {
				cfg.UnixSocket = s
				return nil
			}
		}
		if h.API != "" {
			cfg.BaseURL = "http://" + dialable(h.API)
			return nil
		}
	}
	switch {
	case !only:
		cfg.BaseURL = "http://" + dialable(loaded.Config.APIAddr())
	case l.Socket != "":
		cfg.UnixSocket = l.Socket
	default:
		return caxton.Errorf(caxton.Unavailable, "server_unreachable", "no server runs on the data directory %s", l.Data).
			WithHint("start one with: caxton serve; or name another with --server")
	}
	return nil
}

// dialable returns an address to call for one to listen on.
func dialable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}

// errUsage is a mistake in the arguments.
func errUsage(format string, args ...any) *caxton.Error {
	return caxton.Errorf(caxton.Malformed, "usage", format, args...)
}
