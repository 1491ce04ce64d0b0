package config

import (
	"bytes"
	_ "embed" // for sample.yaml
	"encoding/json"
)

//go:embed sample.yaml
var sample []byte

// Sample returns a configuration file with comments, in which nothing is set: the defaults
// hold.
func Sample() []byte { return bytes.Clone(sample) }

// SampleFor returns Sample with the directories set; "" leaves one out.
func SampleFor(dataDir, agentsDir string) []byte {
	text := Sample()
	for _, d := range []struct{ line, key, dir string }{
		{"  #data_dir: /var/lib/caxton\n", "data_dir", dataDir},
		{"  #agents_dir: /var/lib/caxton/agents\n", "agents_dir", agentsDir},
	} {
		if d.dir == "" {
			continue
		}
		quoted, err := json.Marshal(escape(d.dir)) // a JSON string is one in YAML too
		if err != nil {
			panic("config: a text cannot be printed: " + err.Error())
		}
		text = bytes.Replace(text, []byte(d.line), []byte("  "+d.key+": "+string(quoted)+"\n"), 1)
	}
	return text
}

// escape writes a text such that Load does not look for variables in it.
func escape(s string) string {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if s[i] == '$' {
			b = append(b, '$')
		}
		b = append(b, s[i])
	}
	return string(b)
}
