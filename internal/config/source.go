package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caxton/caxton/internal/tree"

	"github.com/caxton/caxton"
)

// A source is one document of settings on its way to the Config: a file, the environment or
// the flags.
type source struct {
	root   *entry
	path   string // the file that issues name, or ""
	doc    *tree.Node
	issues []caxton.Issue
}

// check brings the document into its canonical form and finds every fault that the document
// has by itself.
func (s *source) check() {
	if s.doc.Kind != tree.Map {
		s.issue(s.doc.Line, s.doc.Column, "", "a configuration is a table of keys and values, not "+s.doc.Kind.String(), "begin with server: and a line port: 8080 below it")
		s.doc = tree.NewMap(0, 0)
		return
	}
	s.canonical()
	s.unknown()
	s.values()
	s.forms()
	var scratch Config
	for _, i := range tree.Decode(s.doc, &scratch, tree.DecodeOptions{Path: s.path}) {
		if i.Line == 0 {
			i.Path = ""
		}
		s.issues = append(s.issues, i)
	}
	s.secrets()
	slices.SortStableFunc(s.issues, func(a, b caxton.Issue) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}

// unknown reports the keys that the schema does not have and takes them out.
func (s *source) unknown() {
	for _, name := range oldRoots() {
		f := s.doc.Field(name)
		if f == nil {
			continue
		}
		if f.Node.Kind == tree.Map {
			for _, below := range f.Node.Fields {
				s.unknownKey(nil, name, below, tree.Join(name, below.Key))
			}
		} else {
			s.wrong(f.Node, name, "a table of keys and values")
		}
		s.doc.Remove(name)
	}
	s.unknownIn(s.root, s.doc, "", "")
}

// unknownIn looks through a table that the schema calls e. path is where it stands, written
// how the document spells that.
func (s *source) unknownIn(e *entry, n *tree.Node, path, written string) {
	kept := n.Fields[:0:0]
	for _, f := range n.Fields {
		spelled := join(written, f.Key)
		if f.Alias != "" {
			spelled = f.Alias
		}
		c := e.child(f.Key)
		if c == nil {
			above, _ := parent(spelled)
			s.unknownKey(e, above, f, spelled)
			continue
		}
		kept = append(kept, f)
		at := join(path, f.Key)
		switch {
		case f.Node.Kind == tree.Map && (c.table() || c.dynamic()):
			s.unknownIn(c, f.Node, at, spelled)
		case f.Node.Kind == tree.List && c.elem != nil && !c.dynamic():
			for i, item := range f.Node.Items {
				if item.Kind == tree.Map {
					index := "[" + strconv.Itoa(i) + "]"
					s.unknownIn(c.elem, item, at+index, spelled+index)
				}
			}
		}
	}
	n.Fields = kept
}

// unknownKey reports one key. e is the table it stands in, or nil for a table of other
// spellings; above is how the document spells that table.
func (s *source) unknownKey(e *entry, above string, f tree.Field, spelled string) {
	var canonical, all []string
	at := above
	if e != nil {
		canonical, at = e.keys(), e.path
	}
	all = append(all, canonical...)
	for _, r := range rules() {
		table, key := parent(r.from)
		root, _, nested := strings.Cut(table, ".")
		switch {
		case table == above || table == at:
			all = append(all, key)
		case at == "" && !nested && !slices.Contains(all, root):
			all = append(all, root)
		}
	}
	if e == nil {
		canonical = all
	}
	hint := ""
	near := tree.Nearest(f.Key, all)
	elsewhere := known(s.root, f.Key)
	switch {
	case near != "":
		hint = "did you mean " + near + "?"
	case len(elsewhere) == 1:
		hint = "it belongs at " + elsewhere[0]
		if !strings.Contains(elsewhere[0], ".") {
			hint = "it belongs at the top level of the file"
		}
	case len(canonical) > 0 && len(canonical) <= 16:
		hint = "known here: " + strings.Join(canonical, ", ")
	}
	message := "unknown key " + spelled
	if f.Node.Origin != "" {
		message += " (from " + f.Node.Origin + ")"
	}
	s.issue(f.Line, f.Column, spelled, message, hint)
}

// forms checks texts that have a form of their own: addresses, URLs, hosts.
func (s *source) forms() {
	s.root.given(s.doc, "", func(path string, e *entry, f *tree.Field) {
		if e.form == "" {
			return
		}
		items := []*tree.Node{f.Node}
		if f.Node.Kind == tree.List {
			items = f.Node.Items
		}
		for i, item := range items {
			if item.Kind != tree.String && (item.Kind != tree.Int || e.form != "listen") {
				continue // Decode says what is wrong with it
			}
			at := path
			if f.Node.Kind == tree.List {
				at += "[" + strconv.Itoa(i) + "]"
			}
			if wanted := misformed(e.form, scalar(item)); wanted != "" {
				s.wrong(item, at, wanted)
			}
		}
	})
}

// secrets reports secrets that are empty, and those given twice: by value and by file.
func (s *source) secrets() {
	s.root.given(s.doc, "", func(path string, e *entry, f *tree.Field) {
		if !e.secret {
			return
		}
		if f.Node.Kind == tree.String && scalar(f.Node) == "" {
			s.issue(f.Line, f.Column, path, path+" is empty", "take the key out, or give it a value; "+path+"_file names a file instead")
			return
		}
		if file := s.doc.Lookup(path + "_file"); file != nil && scalar(file.Node) != "" {
			late, early := *f, *file
			lateKey, earlyKey := spelled(late, path), spelled(early, path+"_file")
			if early.Line > late.Line {
				late, early, lateKey, earlyKey = early, late, earlyKey, lateKey
			}
			s.issue(late.Line, late.Column, path,
				fmt.Sprintf("%s and %s%s are both given", lateKey, earlyKey, position(early.Line, early.Column)),
				"keep one: the value, or the file that holds it")
		}
	})
}
