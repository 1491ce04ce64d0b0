package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/datadir"
)

// Config says where the hub is. Zero fields mean the defaults given here.
type Config struct {
	BaseURL  string         // https://huggingface.co
	Offline  bool           // nobody is asked; what is there is used
	Token    string         // for models that are not for everybody; sent to BaseURL's host only
	Client   *http.Client   // one with the proxy of the environment
	MaxFile  caxton.Size    // 4 GB; a larger file is refused
	Attempts int            // in a row without a byte: 4
	Pause    time.Duration  // before the second attempt, doubled for each more: 1 s
	Stall    time.Duration  // without a byte after which an attempt is given up: 30 s
	Progress func(Progress) // called while bytes come, a few times a second, and at each file's end
	Logger   *slog.Logger   // none
}

// Progress says how far a file is.
type Progress struct {
	File        string
	Done, Total int64 // bytes; Total is 0 while it is not known
}

// A File is one to fetch, with its pin where that is known.
type File struct {
	Name   string // its path in the repository, such as 1_Pooling/config.json
	Size   int64  // 0 when not known
	SHA256 string // in hexadecimal; "" when not known
	// Optional files may be missing in the repository.
	Optional bool
}

// A Fetched file lies in the directory.
type Fetched struct {
	Name     string `json:"name"`
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
	Verified bool   `json:"verified"` // the digest is one that somebody promised
	Missing  bool   `json:"missing,omitempty"`
}

// A Snapshot is what a directory holds of a repository.
type Snapshot struct {
	Version    int       `json:"version"` // of this format: 1
	Repository string    `json:"repository"`
	Revision   string    `json:"revision"` // as asked for
	Commit     string    `json:"commit,omitempty"`
	Files      []Fetched `json:"files"`
}

// Verified reports whether every file has a digest that somebody promised.
func (s *Snapshot) Verified() bool {
	for _, f := range s.Files {
		if !f.Verified && !f.Missing {
			return false
		}
	}
	return true
}

const listName = "files.json"

// A Hub fetches files. It is safe for concurrent use, but not for two calls of Fetch into one
// directory.
type Hub struct {
	base *url.URL
	cfg  Config
}

// New returns a Hub. It calls nobody.
func New(cfg Config) (*Hub, error) {
	cfg.BaseURL = cmp.Or(cfg.BaseURL, "https://huggingface.co")
	cfg.MaxFile = cmp.Or(cfg.MaxFile, 4<<30)
	cfg.Attempts = cmp.Or(cfg.Attempts, 4)
	cfg.Pause = cmp.Or(cfg.Pause, time.Second)
	cfg.Stall = cmp.Or(cfg.Stall, 30*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{}
	}
	u, err := url.Parse(cfg.BaseURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, caxton.Errorf(caxton.Invalid, "hub_url_invalid", "%q is not the address of a model hub", cfg.BaseURL).
			WithHint("write it like https://hub.example.org").WithCause(err)
	}
	return &Hub{base: u, cfg: cfg}, nil
}

var (
	repositoryForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$`)
	revisionForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
)

// Repository reports whether s names a repository, such as sentence-transformers/all-MiniLM-L6-v2.
func Repository(s string) bool { return repositoryForm.MatchString(s) }

// Revision reports whether s names a branch, a tag or a commit that can be asked for.
func Revision(s string) bool { return revisionForm.MatchString(s) && !strings.Contains(s, "..") }

// Fetch brings files of a repository into dir, which it makes. What lies there already and is
// whole is not asked for. Files come in the order given: put small ones first, so that a wrong
// name costs little.
func (h *Hub) Fetch(ctx context.Context, repository, revision string, files []File, dir string) (*Snapshot, error) {
	if !Repository(repository) || !Revision(revision) {
		return nil, caxton.Errorf(caxton.Invalid, "model_name_invalid", "%q at revision %q is not a model of a hub", repository, revision).
			WithHint("write it like sentence-transformers/all-MiniLM-L6-v2")
	}
	for _, f := range files {
		if !filepath.IsLocal(filepath.FromSlash(f.Name)) {
			return nil, caxton.Errorf(caxton.Invalid, "model_file_invalid", "%q is not the name of a file in a repository", f.Name)
		}
	}
	if s := present(repository, revision, files, dir); s != nil {
		return s, nil
	}
	if h.cfg.Offline {
		return nil, caxton.Errorf(caxton.Unavailable, "model_hub_offline", "%s is not here, and nothing may be downloaded", repository).
			WithHint("bring its files here by other means and set memory.embedding_model to their directory; or use the built-in all-MiniLM-L6-v2")
	}
	s := &Snapshot{Version: 1, Repository: repository, Revision: revision}
	at := revision
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a model is no secret
		return nil, datadir.Explain("make", dir, dir, err)
	}
	for _, f := range files {
		d := &download{hub: h, file: f, repository: repository, revision: at, path: filepath.Join(dir, filepath.FromSlash(f.Name))}
		got, err := d.run(ctx)
		if err != nil {
			return nil, err
		}
		if s.Commit == "" && Revision(d.commit) {
			s.Commit, at = d.commit, d.commit // a branch must not move between two files
		}
		s.Files = append(s.Files, got)
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	return s, datadir.AtomicWrite(filepath.Join(dir, listName), append(b, '\n'), 0o644)
}

// present returns what dir holds when that is everything, or nil. Contents are not read: they
// were checked before the list was written, and whoever loads them may.
func present(repository, revision string, files []File, dir string) *Snapshot {
	b, err := os.ReadFile(filepath.Join(dir, listName)) //nolint:gosec // a directory of ours
	if err != nil {
		return nil
	}
	var s Snapshot
	if json.Unmarshal(b, &s) != nil || s.Version != 1 || s.Repository != repository || s.Revision != revision {
		return nil
	}
	have := map[string]Fetched{}
	for _, f := range s.Files {
		have[f.Name] = f
	}
	for _, f := range files {
		got, ok := have[f.Name]
		if !ok || got.Missing && !f.Optional || f.SHA256 != "" && got.SHA256 != f.SHA256 {
			return nil
		}
		if got.Missing {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(f.Name)))
		if err != nil || info.Size() != got.Size {
			return nil
		}
	}
	return &s
}
