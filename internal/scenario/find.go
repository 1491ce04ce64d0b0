package scenario

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agentfile"
)

// IsTest reports whether a file of this name holds tests: *.test.yaml, .yml, .json or .toml.
func IsTest(name string) bool {
	switch ext := filepath.Ext(name); strings.ToLower(ext) {
	case ".yaml", ".yml", ".json", ".toml":
		return strings.HasSuffix(strings.ToLower(strings.TrimSuffix(name, ext)), ".test")
	}
	return false
}

// Find returns the test files that the paths mean, sorted, each once: a test file itself,
// those beside an agent's file, those of a directory and the directories below it. Errors:
// NotFound for a path that is not there or has no tests.
func Find(paths ...string) ([]string, error) {
	var found []string
	for _, path := range paths {
		more, err := find(path)
		if err != nil {
			return nil, err
		}
		if len(more) == 0 {
			return nil, caxton.Errorf(caxton.NotFound, "tests_not_found", "there are no tests at %s", path).
				WithHint("write them beside the agent: greeter.test.yaml beside greeter.md")
		}
		found = append(found, more...)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

func find(path string) ([]string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, caxton.Errorf(caxton.NotFound, "path_not_found", "there is no file or directory %s", path).WithCause(err)
	}
	if st.IsDir() {
		return findBelow(path)
	}
	if IsTest(filepath.Base(path)) {
		return []string{path}, nil
	}
	stem := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, caxton.Errorf(caxton.NotFound, "path_not_found", "the directory of %s cannot be read", path).WithCause(err)
	}
	var found []string
	for _, e := range entries {
		if !e.IsDir() && IsTest(e.Name()) && slices.Contains(stems(e.Name()), stem) {
			found = append(found, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	return found, nil
}

func findBelow(dir string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != dir && strings.HasPrefix(e.Name(), "."):
			return filepath.SkipDir
		case !e.IsDir() && IsTest(e.Name()):
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		return nil, caxton.Errorf(caxton.NotFound, "path_not_found", "the directory %s cannot be read", dir).WithCause(err)
	}
	return found, nil
}

// stems returns what the agent of a test file may be called: for greeter.polite.test.yaml
// greeter.polite, and greeter.
func stems(test string) []string {
	stem := strings.TrimSuffix(test, filepath.Ext(test))
	stem = stem[:len(stem)-len(".test")]
	all := []string{stem}
	for {
		i := strings.LastIndexByte(stem, '.')
		if i <= 0 {
			return all
		}
		stem = stem[:i]
		all = append(all, stem)
	}
}

// AgentFile returns the path of the file of the agent under test. Errors: NotFound.
func (s *Suite) AgentFile() (string, error) {
	dir := filepath.Dir(s.Path)
	if s.Agent.Value != "" {
		path := s.Beside(s.Agent.Value)
		if st, err := os.Stat(path); err != nil || st.IsDir() {
			return "", s.issue(s.Agent.At, "agent", "there is no agent file "+s.Agent.Value, "write its path as seen from the test file")
		}
		return path, nil
	}
	if !IsTest(filepath.Base(s.Path)) {
		return "", s.issue(Place{1, 1}, "agent", "agent is missing", "write agent: and the path of the agent's file, or name the tests NAME.test.yaml")
	}
	for _, stem := range stems(filepath.Base(s.Path)) {
		for _, ext := range []string{".md", ".markdown", ".toml", ".yaml", ".yml", ".json"} {
			path := filepath.Join(dir, stem+ext)
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && !agentfile.Companion(stem+ext) {
				return path, nil
			} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "", caxton.Errorf(caxton.NotFound, "agent_file_not_found", "the file %s cannot be read", path).WithCause(err)
			}
		}
	}
	stem := stems(filepath.Base(s.Path))[0]
	return "", s.issue(Place{1, 1}, "agent", "there is no agent file beside: "+stem+".md, .toml or the like", "write agent: and the path of the agent's file")
}

// Others returns the paths of the files of the other agents that take part. Errors: Invalid.
func (s *Suite) Others() ([]string, error) {
	var paths []string
	for _, w := range s.With {
		path := s.Beside(w.Value)
		if st, err := os.Stat(path); err != nil || st.IsDir() {
			return nil, s.issue(w.At, "with", "there is no agent file "+w.Value, "write its path as seen from the test file")
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// issue returns an Invalid error with one fault of the test file.
func (s *Suite) issue(at Place, key, message, hint string) *caxton.Error {
	e := caxton.Errorf(caxton.Invalid, "test_invalid", "%s: %s", s.Path, message).WithHint("%s", hint)
	e.Issues = []caxton.Issue{{Path: s.Path, Line: at.Line, Column: at.Column, Key: key, Message: message, Hint: hint}}
	return e
}

// Beside returns a path of the test file as seen from where the program runs.
func (s *Suite) Beside(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(s.Path), path)
}

// CassetteFile returns where the recorded answers are: as the file says, or beside it.
func (s *Suite) CassetteFile() string {
	if s.Cassette.Value != "" {
		return s.Beside(s.Cassette.Value)
	}
	base := filepath.Base(s.Path)
	if IsTest(base) {
		base = stems(base)[0]
	}
	return s.Beside(base + ".cassette.jsonl")
}

// Name returns what reports call the suite: its file without extension and directory.
func (s *Suite) Name() string {
	if base := filepath.Base(s.Path); IsTest(base) {
		return stems(base)[0]
	}
	return strings.TrimSuffix(filepath.Base(s.Path), filepath.Ext(s.Path))
}
