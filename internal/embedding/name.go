package embedding

import (
	"path/filepath"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/embedding/hub"
)

// A source is where a model comes from.
type source string

const (
	builtIn   source = "built-in"
	directory source = "directory"
	download  source = "hub"
	remote    source = "remote"
)

const (
	builtInName     = "all-MiniLM-L6-v2"
	builtInFull     = "sentence-transformers/" + builtInName
	remotePrefix    = "openai:"
	defaultRevision = "main"
)

// A reference is the name of a model, understood.
type reference struct {
	source   source
	name     string // of the directory, the repository, or the model of a server
	revision string // of the repository
}

// parseName understands what memory.embedding_model may hold.
func parseName(s string) (reference, error) {
	s = strings.TrimSpace(s)
	repository, revision, pinned := strings.Cut(s, "@")
	switch {
	case s == "", strings.EqualFold(s, builtInName), strings.EqualFold(s, builtInFull):
		return reference{source: builtIn, name: builtInName}, nil
	case len(s) > len(remotePrefix) && strings.EqualFold(s[:len(remotePrefix)], remotePrefix):
		return reference{source: remote, name: s[len(remotePrefix):]}, nil
	case filepath.IsAbs(s), strings.HasPrefix(s, "/"), s == ".", s == "..",
		strings.HasPrefix(s, "./"), strings.HasPrefix(s, "../"), strings.HasPrefix(s, `.\`), strings.HasPrefix(s, `..\`):
		return reference{source: directory, name: filepath.Clean(s)}, nil
	case hub.Repository(repository) && (!pinned || hub.Revision(revision)):
		if !pinned {
			revision = defaultRevision
		}
		return reference{source: download, name: repository, revision: revision}, nil
	}
	return reference{}, caxton.Errorf(caxton.Invalid, "embedding_model_invalid", "%q names no embedding model", s).
		WithHint("use %s, a directory such as /srv/models/mine or ./mine, a model of a hub such as %s@%s, or openai:text-embedding-3-small",
			builtInName, builtInFull, shortRevision)
}

// IsDirectory reports whether a model's name is that of a directory, be it there or not.
func IsDirectory(name string) bool {
	ref, err := parseName(name)
	return err == nil && ref.source == directory
}
