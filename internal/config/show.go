package config

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/caxton/caxton/internal/tree"
)

// mask stands for a secret.
const mask = "********"

// A Setting is one value in force.
type Setting struct {
	Key    string `json:"key"`              // canonical path
	Value  string `json:"value"`            // as text: lists as JSON, "" for what is not set
	Origin string `json:"origin"`           // "default", "file caxton.yaml:12", "env CAXTON_LOG_LEVEL" or "flag --port"
	Secret bool   `json:"secret,omitempty"` // then Value only says whether there is one
	Inert  bool   `json:"inert,omitempty"`  // it has no effect in this version
}

// Effective returns every setting with its value and where it came from, sorted by key.
// Secrets are masked.
func (l *Loaded) Effective() []Setting { return slices.Clone(l.settings) }

// Inert returns the keys that somebody set and that have no effect in this version, sorted.
func (l *Loaded) Inert() []string { return slices.Clone(l.inert) }

// Origin returns where the value at a canonical path came from, as in Setting, or "" when
// there is no such setting.
func (l *Loaded) Origin(key string) string {
	i, ok := slices.BinarySearchFunc(l.settings, key, func(s Setting, key string) int { return strings.Compare(s.Key, key) })
	if !ok {
		return ""
	}
	return l.settings[i].Origin
}

func hostPort(host, port string) string { return net.JoinHostPort(strings.Trim(host, "[]"), port) }

// settings lists every leaf of c, and the keys that are set and have no effect.
func (l *loader) settings(c *Config) (all []Setting, inert []string) {
	visit(l.root, reflect.ValueOf(c).Elem(), "", func(path string, e *entry, v reflect.Value) {
		o, given := l.origins[path]
		s := Setting{Key: path, Origin: "default", Secret: e.secret, Inert: e.inert}
		if given {
			s.Origin = o.text
		}
		if given || !v.IsZero() {
			s.Value = text(v)
		}
		if e.secret && s.Value != "" {
			s.Value = mask
		}
		if e.form == "url" {
			s.Value = withoutPassword(s.Value)
		}
		all = append(all, s)
		if e.inert && given && o.layer > layerDefault {
			inert = append(inert, path)
		}
	})
	slices.SortFunc(all, func(a, b Setting) int { return strings.Compare(a.Key, b.Key) })
	slices.Sort(inert)
	return all, inert
}

// visit calls fn for every leaf of the value v, which the schema calls e.
func visit(e *entry, v reflect.Value, path string, fn func(path string, e *entry, v reflect.Value)) {
	switch {
	case e.table():
		for _, f := range e.fields {
			visit(f, v.Field(f.index), join(path, f.key), fn)
		}
	case e.dynamic():
		for _, key := range v.MapKeys() {
			visit(e.elem, v.MapIndex(key), join(path, key.String()), fn)
		}
	default:
		fn(path, e, v)
	}
}

// text prints a value for people: a scalar as it stands, anything else as JSON.
func text(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if m, ok := reflect.TypeAssert[encoding.TextMarshaler](v); ok {
		b, err := m.MarshalText()
		if err == nil {
			return string(b)
		}
	}
	switch v.Kind() {
	case reflect.Slice:
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if enc.Encode(plain(v)) == nil {
			return strings.TrimSpace(b.String())
		}
	case reflect.String:
		return v.String()
	default:
	}
	return fmt.Sprint(v.Interface())
}

// withoutPassword returns a URL with the password in it masked.
func withoutPassword(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		return s
	}
	return u.Redacted()
}

// plain returns a value in the types of encoding/json, named by the keys of the schema.
// Secrets inside of it are masked.
func plain(v reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if m, ok := reflect.TypeAssert[encoding.TextMarshaler](v); ok {
		b, err := m.MarshalText()
		if err == nil {
			return string(b)
		}
	}
	switch v.Kind() {
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return list
	case reflect.Struct:
		m := make(map[string]any)
		for i := range v.NumField() {
			tag := v.Type().Field(i).Tag
			key, ok := tag.Lookup("key")
			switch {
			case !ok || v.Field(i).IsZero():
			case tag.Get("secret") == "true":
				m[key] = mask
			case tag.Get("form") == "url":
				m[key] = withoutPassword(v.Field(i).String())
			default:
				m[key] = plain(v.Field(i))
			}
		}
		return m
	case reflect.String:
		return v.String()
	default:
	}
	return v.Interface()
}

// Tree returns the configuration in force in the shape of a file: tables of tables, made of
// what encoding/json produces. What is not set is left out, secrets are masked. It belongs to
// the caller.
func (l *Loaded) Tree() map[string]any {
	set := make(map[string]bool, len(l.settings))
	for _, s := range l.settings {
		set[s.Key] = s.Value != ""
	}
	m := make(map[string]any)
	visit(schema(), reflect.ValueOf(&l.Config).Elem(), "", func(path string, e *entry, v reflect.Value) {
		if !set[path] {
			return
		}
		value := plain(v)
		if e.secret {
			value = mask
		}
		if u, ok := value.(string); ok && e.form == "url" {
			value = withoutPassword(u)
		}
		at := m
		keys := tree.Split(path)
		for _, key := range keys[:len(keys)-1] {
			next, ok := at[key].(map[string]any)
			if !ok {
				next = make(map[string]any)
				at[key] = next
			}
			at = next
		}
		at[keys[len(keys)-1]] = value
	})
	return m
}

// YAML returns the configuration in force as a file, in the order of the schema. What is not
// set is left out, secrets are masked.
func (l *Loaded) YAML() []byte {
	var build func(e *entry, m map[string]any) *yaml.Node
	build = func(e *entry, m map[string]any) *yaml.Node {
		n := &yaml.Node{Kind: yaml.MappingNode}
		keys := e.keys()
		if e.dynamic() {
			keys = sorted(m)
		}
		for _, key := range keys {
			value, ok := m[key]
			if !ok {
				continue
			}
			k, v := &yaml.Node{}, &yaml.Node{}
			k.SetString(key)
			if below, ok := value.(map[string]any); ok && !e.child(key).leaf() {
				v = build(e.child(key), below)
			} else if err := v.Encode(value); err != nil {
				panic("config: a value cannot be printed: " + err.Error()) // it came from Decode
			}
			n.Content = append(n.Content, k, v)
		}
		return n
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(build(schema(), l.Tree())); err != nil {
		panic("config: the configuration cannot be printed: " + err.Error())
	}
	return b.Bytes()
}
