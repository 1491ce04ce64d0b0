package agentfile

import (
	"path/filepath"
	"strings"
)

// Companion reports whether a file of this name goes with an agent's tests and is no agent
// itself: greeter.test.yaml, greeter.script.yaml.
func Companion(name string) bool {
	ext := filepath.Ext(name)
	switch strings.ToLower(ext) {
	case ".yaml", ".yml", ".json", ".toml":
		switch strings.ToLower(filepath.Ext(strings.TrimSuffix(name, ext))) {
		case ".test", ".script":
			return true
		}
	}
	return false
}
