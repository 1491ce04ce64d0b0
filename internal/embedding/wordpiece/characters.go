package wordpiece

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

//go:embed characters.txt
var charactersText string

// What becomes of a character. Numbers from mapped on are places in characters.mapped.
const (
	keep uint16 = iota
	drop
	space
	alone // a word of its own
	hangul
	mapped
)

const (
	pageBits = 8
	pageSize = 1 << pageBits
)

// A mapping is what a character becomes: letters, or one character that is alone.
type mapping struct {
	text  string
	alone bool // it is a word of its own
}

// characters says what becomes of each character. Pages that are alike are there once.
type characters struct {
	index  [(utf8.MaxRune + 1) >> pageBits]uint8
	pages  [][pageSize]uint16
	mapped []mapping
}

func (t *characters) action(r rune) uint16 { return t.pages[t.index[r>>pageBits]][r&(pageSize-1)] }

// set says what becomes of the characters from lo to hi. Whole pages of one action share one.
func (t *characters) set(lo, hi rune, action uint16) error {
	whole := uint8(0)
	for lo <= hi {
		page := &t.index[lo>>pageBits]
		full := lo&(pageSize-1) == 0 && lo+pageSize-1 <= hi
		if *page == 0 && full && whole != 0 {
			*page = whole
			lo += pageSize
			continue
		}
		if *page == 0 {
			if len(t.pages) > 0xff {
				return fmt.Errorf("more than %d pages", len(t.pages))
			}
			*page = uint8(len(t.pages)) //nolint:gosec // at most 255, by the line above
			t.pages = append(t.pages, [pageSize]uint16{})
			if full {
				whole = *page
			}
		}
		for end := min(hi, lo|(pageSize-1)); lo <= end; lo++ {
			t.pages[*page][lo&(pageSize-1)] = action
		}
	}
	return nil
}

// readCharacters reads lines such as "0300-033F drop" and "00C0 = 0061".
func readCharacters(text string) (*characters, error) {
	t := &characters{pages: make([][pageSize]uint16, 1, 128)}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		from, what, _ := strings.Cut(line, " ")
		lo, hi, err := bounds(from)
		if err != nil {
			return nil, err
		}
		var action uint16
		switch what {
		case "drop":
			action = drop
		case "space":
			action = space
		case "alone":
			action = alone
		case "hangul":
			action = hangul
		default:
			m, err := readMapping(what)
			if err != nil {
				return nil, err
			}
			action = mapped + uint16(len(t.mapped)) //nolint:gosec // the file has about 3,000
			t.mapped = append(t.mapped, m)
		}
		if err := t.set(lo, hi, action); err != nil {
			return nil, err
		}
	}
	for i := range t.mapped {
		m := &t.mapped[i]
		if r, size := utf8.DecodeRuneInString(m.text); size == len(m.text) && t.action(r) == alone {
			m.alone = true // such as the Greek question mark, which becomes a semicolon
		}
	}
	return t, nil
}

func bounds(s string) (lo, hi rune, err error) {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		last = first
	}
	a, err := strconv.ParseUint(first, 16, 21)
	if err != nil {
		return 0, 0, err
	}
	b, err := strconv.ParseUint(last, 16, 21)
	if err != nil {
		return 0, 0, err
	}
	if a > b || b > utf8.MaxRune {
		return 0, 0, fmt.Errorf("%q is no range of characters", s)
	}
	return rune(a), rune(b), nil
}

func readMapping(s string) (mapping, error) {
	fields := strings.Fields(s)
	if len(fields) < 2 || fields[0] != "=" {
		return mapping{}, fmt.Errorf("%q is no action", s)
	}
	fields = fields[1:]
	var m mapping
	if fields[0] == "alone" {
		m.alone, fields = true, fields[1:]
	}
	var b []byte
	for _, f := range fields {
		r, _, err := bounds(f)
		if err != nil {
			return mapping{}, err
		}
		b = utf8.AppendRune(b, r)
	}
	m.text = string(b)
	return m, nil
}
