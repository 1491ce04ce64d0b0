package meter_test

// A builder writes modules for tests. Each part is the raw content of its section.
type builder struct {
	types, imports, functions, tables, memories, globals [][]byte
	exports, elements, codes, data, customs              [][]byte
	start                                                []byte
	dataCount                                            bool
}

func leb(v uint64) []byte {
	var b []byte
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func sleb(v int64) []byte {
	var b []byte
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func cat(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func str(s string) []byte { return cat(leb(uint64(len(s))), []byte(s)) }

// funcType returns the type with these parameters and results, written as one letter each.
func funcType(params, results string) []byte {
	list := func(s string) []byte {
		b := leb(uint64(len(s)))
		for _, c := range s {
			b = append(b, map[rune]byte{'i': 0x7f, 'l': 0x7e, 'f': 0x7d, 'd': 0x7c, 'v': 0x7b, 'F': 0x70, 'E': 0x6f}[c])
		}
		return b
	}
	return cat([]byte{0x60}, list(params), list(results))
}

// function adds a function of a type of its own and returns its index among those defined.
func (b *builder) function(params, results, export string, locals []byte, code ...byte) int {
	index := len(b.functions)
	b.functions = append(b.functions, leb(uint64(len(b.types))))
	b.types = append(b.types, funcType(params, results))
	if export != "" {
		imported := 0
		for _, i := range b.imports {
			if i[len(i)-2] == 0 {
				imported++
			}
		}
		b.exports = append(b.exports, cat(str(export), []byte{0}, leb(uint64(index+imported))))
	}
	if locals == nil {
		locals = []byte{0}
	}
	body := cat(locals, code, []byte{0x0b})
	b.codes = append(b.codes, cat(leb(uint64(len(body))), body))
	return index
}

func (b *builder) bytes() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	add := func(id byte, content []byte) { out = cat(out, []byte{id}, leb(uint64(len(content))), content) }
	list := func(id byte, items [][]byte) {
		if len(items) > 0 {
			add(id, cat(leb(uint64(len(items))), cat(items...)))
		}
	}
	list(1, b.types)
	list(2, b.imports)
	list(3, b.functions)
	list(4, b.tables)
	list(5, b.memories)
	list(6, b.globals)
	list(7, b.exports)
	if b.start != nil {
		add(8, b.start)
	}
	list(9, b.elements)
	if b.dataCount {
		add(12, leb(uint64(len(b.data))))
	}
	list(10, b.codes)
	list(11, b.data)
	for _, c := range b.customs {
		add(0, c)
	}
	return out
}

// specModule is the module the test suite imports from.
func specModule() []byte {
	var b builder
	for name, params := range map[string]string{
		"print": "", "print_i32": "i", "print_i64": "l", "print_f32": "f", "print_f64": "d",
		"print_i32_f32": "if", "print_f64_f64": "dd",
	} {
		b.function(params, "", name, nil)
	}
	b.tables = [][]byte{{0x70, 1, 10, 20}}
	b.memories = [][]byte{{1, 1, 2}}
	b.globals = [][]byte{
		cat([]byte{0x7f, 0, 0x41}, sleb(666), []byte{0x0b}),
		cat([]byte{0x7e, 0, 0x42}, sleb(666), []byte{0x0b}),
		{0x7d, 0, 0x43, 0x66, 0xa6, 0x26, 0x44, 0x0b},
		{0x7c, 0, 0x44, 0xcd, 0xcc, 0xcc, 0xcc, 0xcc, 0xd4, 0x84, 0x40, 0x0b},
	}
	b.exports = append(b.exports, cat(str("table"), []byte{1, 0}), cat(str("memory"), []byte{2, 0}))
	for i, name := range []string{"global_i32", "global_i64", "global_f32", "global_f64"} {
		b.exports = append(b.exports, cat(str(name), []byte{3, byte(i)}))
	}
	return b.bytes()
}
