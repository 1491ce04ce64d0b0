package agentfile

import (
	"encoding/hex"
	"path/filepath"
	"strings"

	"github.com/caxton/caxton"
)

// module reports whether the file is that of a WASM agent.
func (f *file) module() bool {
	return f.Type == string(caxton.WASMAgent) || f.Type == "" && (f.Module.File != "" || f.Module.Grants != nil || f.Module.Directories != nil)
}

// use returns what the file says of the module.
func (m *moduleTable) use() caxton.Module {
	out := caxton.Module{File: m.File, Grants: m.Grants}
	for _, d := range m.Directories {
		out.Dirs = append(out.Dirs, caxton.DirectoryUse(d))
	}
	return out
}

// checkModule holds that the parts of a WASM agent fit together. Its capabilities may be
// missing: the module may say them.
func (p *parser) checkModule(def *caxton.Definition) {
	line, column := p.at("module")
	if !def.IsModule() {
		if p.root.Lookup("module") != nil {
			p.issue(line, column, "module", "a config agent has no module", "write type: wasm, or take the module away")
		}
		return
	}
	if fault, hint := modulePathFault(def.Module.File); fault != "" {
		p.issue(line, column, "module", fault, hint)
	}
	if p.root.Lookup("llm") != nil {
		l, c := p.at("llm")
		p.warn(l, c, "llm", "llm has no effect on a module", "")
	}
}

// modulePathFault says what is wrong with the place of a module, or "".
func modulePathFault(file string) (fault, hint string) {
	if sum, ok := strings.CutPrefix(file, caxton.ModulePrefix); ok {
		if b, err := hex.DecodeString(sum); err != nil || len(b) != 32 || strings.ToLower(sum) != sum {
			return quoted(file) + " is not the hash of a module", "write " + caxton.ModulePrefix + " and 64 digits in lower case"
		}
		return "", ""
	}
	if file != "" && !filepath.IsLocal(filepath.FromSlash(file)) {
		return quoted(file) + " does not lie beside the file", "name a file in the same directory or below it"
	}
	return "", ""
}

// ModuleFile returns the path of the module that an agent file names, as the file says it,
// or "" when it names none, or one that the server has.
func ModuleFile(path string, data []byte, format string) string {
	def, _ := Parse(path, data, format, Options{Fragment: true})
	file := def.Module.File
	if fault, _ := modulePathFault(file); fault != "" || strings.HasPrefix(file, caxton.ModulePrefix) {
		return ""
	}
	return file
}
