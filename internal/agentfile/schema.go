package agentfile

import (
	"encoding/json"
	"maps"

	"github.com/caxton/caxton/internal/tree"
)

// Schema returns the JSON Schema (2020-12) of agent files, indented. It describes the front
// matter of a Markdown file and the whole of a TOML, JSON or YAML file.
func Schema() []byte {
	root := tree.Schema(file{})
	root["title"] = "Caxton agent"
	root["description"] = "The definition of an agent. Its instructions are system_prompt or, in a Markdown file without that key, the text below the front matter."
	for _, s := range spellings() {
		addSpelling(root, s)
	}
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("agentfile: the schema is not JSON: " + err.Error()) // it is made of maps and plain values
	}
	return append(b, '\n')
}

// addSpelling puts the schema of a canonical key at another place it may be written at.
func addSpelling(root map[string]any, s spelling) {
	target := root
	for _, key := range tree.Split(s.to) {
		target = property(target, key)
	}
	alias := maps.Clone(target)
	alias["deprecated"] = true
	alias["description"] = "Another place for " + s.to + "."
	delete(alias, "default")
	at := root
	keys := tree.Split(s.from)
	for _, key := range keys[:len(keys)-1] {
		at = property(at, key)
	}
	if properties, ok := at["properties"].(map[string]any); ok {
		properties[keys[len(keys)-1]] = alias
	}
}

// property returns the schema of a key, nil below a key that takes anything. A table that
// only other spellings use is made.
func property(schema map[string]any, key string) map[string]any {
	properties, ok := schema["properties"].(map[string]any)
	if !ok {
		return nil
	}
	p, ok := properties[key].(map[string]any)
	if !ok {
		p = map[string]any{"type": "object", "properties": map[string]any{}, "additionalProperties": false, "deprecated": true}
		properties[key] = p
	}
	return p
}
