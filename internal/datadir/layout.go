package datadir

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/caxton/caxton"
)

// Paths are the places that settings name. "" means that nothing is said. Relative paths
// start from Dir, those of State and Memory from the data directory.
type Paths struct {
	DataDir string // server.data_dir
	Agents  string // server.agents_dir
	Socket  string // server.socket
	State   string // server.state.path
	Memory  string // memory.sqlite_path
	Files   string // tools.file_read.root
	Backups string // backup.dir
	Dir     string // the working directory; "" for that of the process
}

// A Layout says where everything is. All paths are absolute when Paths.Dir is, or when Locate
// made it.
type Layout struct {
	Home     string // what the data directory is part of: agents and models stand here too
	Data     string // the databases and what belongs to them
	Database string // messages and agents: caxton.db
	Memory   string // what agents remember: memory.db
	Modules  string // compiled modules by hash
	Cache    string // may be removed while no server runs
	Backups  string // archives
	Files    string // what the tool file_read may read
	Models   string // models for embeddings
	Agents   string // agent files
	Socket   string // of the API; "" when the path would be too long for one
	Lock     string // held by the server that runs
	Format   string // the format marker
	Warnings []string
}

// An Access says what may be done with a path.
type Access int

// The degrees of access.
const (
	None      Access = iota // not there, and cannot be made
	Creatable               // not there, and can be made
	Readable                // there, and cannot be written
	Writable                // there, and can be written
)

// systemHome is the home of a server that was told no other.
const systemHome = "/var/lib/caxton"

// maxSocket is how long the path of a Unix socket may be, in bytes: what the tightest of the
// systems takes, less the final NUL.
const maxSocket = 103

// Resolve finds the layout. It only asks access, so that it can be tried without a disk.
//
// The data directory is the one that is named; or that of State, when that is an absolute
// path; or data below the working directory, when a marker in it says that it was made for
// this; or /var/lib/caxton, when it can be written; or else data below the working directory.
//
// A directory called data is taken as the place of the databases itself, and its parent is
// the home. Any other directory is the home, and the databases are in data below it. So
// /var/lib/caxton and /var/lib/caxton/data mean the same, whichever a file or a script says.
// A directory called data at the root has no home above it and is its own.
//
// The agents are in agents below the home, or below the data directory when the home may not
// be written.
func Resolve(p Paths, access func(path string) Access) Layout {
	abs := func(base, path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(base, path)
	}
	named := p.DataDir
	if named == "" && filepath.IsAbs(p.State) {
		named = filepath.Dir(p.State)
	}
	if named == "" {
		named = filepath.Join(p.Dir, "data")
		if access(filepath.Join(named, "FORMAT")) < Readable && runtime.GOOS != "windows" {
			if a := access(systemHome); a == Writable || a == Creatable {
				named = systemHome
			}
		}
	}
	named = filepath.Clean(abs(p.Dir, named))

	l := Layout{Home: named, Data: filepath.Join(named, "data")}
	if filepath.Base(named) == "data" {
		l.Data = named
		if above := filepath.Dir(named); filepath.Dir(above) != above {
			l.Home = above
		}
	}
	in := func(name string) string { return filepath.Join(l.Data, name) }
	l.Database = abs(l.Data, cmp.Or(p.State, "caxton.db"))
	l.Memory = abs(l.Data, cmp.Or(p.Memory, "memory.db"))
	l.Modules, l.Cache = in("modules"), in("cache")
	l.Lock, l.Format = in("LOCK"), in("FORMAT")
	l.Backups = cmp.Or(abs(p.Dir, p.Backups), in("backups"))
	l.Files = cmp.Or(abs(p.Dir, p.Files), in("files"))
	l.Models = filepath.Join(l.Home, "models")
	l.Agents = abs(p.Dir, p.Agents)
	if l.Agents == "" {
		if l.Agents = filepath.Join(l.Home, "agents"); access(l.Agents) == None {
			l.Agents = in("agents")
		}
	}
	l.Socket = cmp.Or(abs(p.Dir, p.Socket), in("caxton.sock"))
	if len(l.Socket) > maxSocket {
		l.Warnings = append(l.Warnings, fmt.Sprintf("the path of the socket %s has %d bytes, and a socket may have %d: there is none; "+
			"set server.socket to a shorter path, or reach the server by its address", l.Socket, len(l.Socket), maxSocket))
		l.Socket = ""
	}
	return l
}

// Locate finds the layout on this machine. Agents are where the settings say, or else where
// the format marker remembers. A marker that cannot be read is an error, as ReadFormat says.
func Locate(p Paths) (Layout, error) {
	dir, err := filepath.Abs(p.Dir)
	if err != nil {
		return Layout{}, caxton.Errorf(caxton.Unavailable, "working_dir_lost", "the working directory cannot be found").
			WithHint("change to a directory that exists").WithCause(err)
	}
	p.Dir = dir
	l := Resolve(p, Probe)
	if p.Agents != "" {
		return l, nil
	}
	f, ok, err := ReadFormat(l.Format)
	if err != nil {
		return Layout{}, err
	}
	if ok && f.AgentsDir != "" {
		l.Agents = f.AgentsDir
		if !filepath.IsAbs(l.Agents) {
			l.Agents = filepath.Join(l.Data, filepath.FromSlash(l.Agents))
		}
	}
	return l, nil
}

// Probe asks the file system what may be done with a path, without changing anything.
func Probe(path string) Access {
	if _, err := os.Stat(path); err == nil {
		if writable(path) {
			return Writable
		}
		return Readable
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		switch {
		case err == nil && st.IsDir() && writable(dir):
			return Creatable
		case err == nil, dir == filepath.Dir(dir):
			return None
		}
	}
}
