package tree

import (
	"reflect"
	"strings"
)

// A field is what the tags of a struct field say.
type field struct {
	key      string
	aliases  []string
	index    []int
	typ      reflect.Type
	required bool
	inert    bool
	oneof    []string
	min, max string
	doc      string
	standard string // the default, for readers
	example  string
}

// A typeTable remembers the fields of struct types during one Decode or Schema.
type typeTable map[reflect.Type][]field

// of returns the fields of a struct type in the order of its declaration. Fields without a
// key tag are left out; embedded structs without one are taken as if written in place.
func (t typeTable) of(typ reflect.Type) []field {
	if fs, ok := t[typ]; ok {
		return fs
	}
	var fs []field
	for i := range typ.NumField() {
		sf := typ.Field(i)
		key, ok := sf.Tag.Lookup("key")
		if !ok {
			if sf.Anonymous && sf.Type.Kind() == reflect.Struct {
				for _, f := range t.of(sf.Type) {
					f.index = append([]int{i}, f.index...)
					fs = append(fs, f)
				}
			}
			continue
		}
		if key == "-" {
			continue
		}
		fs = append(fs, field{
			key:      key,
			aliases:  list(sf.Tag.Get("alias")),
			index:    []int{i},
			typ:      sf.Type,
			required: sf.Tag.Get("required") == "true",
			inert:    sf.Tag.Get("inert") == "true",
			oneof:    list(sf.Tag.Get("oneof")),
			min:      sf.Tag.Get("min"),
			max:      sf.Tag.Get("max"),
			doc:      sf.Tag.Get("doc"),
			standard: sf.Tag.Get("default"),
			example:  sf.Tag.Get("example"),
		})
	}
	t[typ] = fs
	return fs
}

func list(tag string) []string {
	if tag == "" {
		return nil
	}
	return strings.Split(tag, ",")
}
