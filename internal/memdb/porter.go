package memdb

import "bytes"

// stem brings an English word in small letters to its stem, by Porter's algorithm of 1980, as the
// text index does it. Other words pass, or lose an ending in the same way in the index.
func stem(word []byte) []byte {
	if len(word) < 3 || len(word) > 64 {
		return word
	}
	w := stemmer(bytes.Clone(word))
	w = w.plurals()
	w = w.pastTense()
	if n := len(w); w[n-1] == 'y' && w[:n-1].hasVowel() {
		w[n-1] = 'i'
	}
	w = w.replace("ational", "ate", "tional", "tion", "enci", "ence", "anci", "ance", "izer", "ize", "logi", "log", "bli", "ble",
		"alli", "al", "entli", "ent", "eli", "e", "ousli", "ous", "ization", "ize", "ation", "ate", "ator", "ate", "alism", "al",
		"iveness", "ive", "fulness", "ful", "ousness", "ous", "aliti", "al", "iviti", "ive", "biliti", "ble")
	w = w.replace("icate", "ic", "ative", "", "alize", "al", "iciti", "ic", "ical", "ic", "ful", "", "ness", "")
	w = w.residual()
	if n := len(w); w[n-1] == 'e' {
		if m := w[:n-1].measure(); m > 1 || m == 1 && !w[:n-1].shortEnd() {
			w = w[:n-1]
		}
	}
	if n := len(w); n > 1 && w[n-1] == 'l' && w[n-2] == 'l' && w[:n-1].measure() > 1 {
		w = w[:n-1]
	}
	return w
}

type stemmer []byte

// vowel reports whether the letter at i is one; y is after a consonant.
func (w stemmer) vowel(i int) bool {
	switch w[i] {
	case 'a', 'e', 'i', 'o', 'u':
		return true
	case 'y':
		return i > 0 && !w.vowel(i-1)
	}
	return false
}

func (w stemmer) hasVowel() bool {
	for i := range w {
		if w.vowel(i) {
			return true
		}
	}
	return false
}

// measure counts the changes from vowels to consonants.
func (w stemmer) measure() (m int) {
	before := false
	for i := range w {
		v := w.vowel(i)
		if before && !v {
			m++
		}
		before = v
	}
	return m
}

// shortEnd reports whether w ends in consonant, vowel, consonant, and the last is not w, x or y.
func (w stemmer) shortEnd() bool {
	n := len(w)
	return n >= 3 && !w.vowel(n-3) && w.vowel(n-2) && !w.vowel(n-1) && w[n-1] != 'w' && w[n-1] != 'x' && w[n-1] != 'y'
}

func (w stemmer) cut(suffix string) (stemmer, bool) {
	if len(w) > len(suffix) && bytes.HasSuffix(w, []byte(suffix)) {
		return w[:len(w)-len(suffix)], true
	}
	return w, false
}

func (w stemmer) plurals() stemmer {
	n := len(w)
	switch {
	case w[n-1] != 's':
	case n > 4 && bytes.HasSuffix(w, []byte("sses")), n > 3 && bytes.HasSuffix(w, []byte("ies")):
		return w[:n-2]
	case w[n-2] != 's':
		return w[:n-1]
	}
	return w
}

func (w stemmer) pastTense() stemmer {
	if base, ok := w.cut("eed"); ok {
		if base.measure() > 0 {
			return w[:len(w)-1]
		}
		return w
	}
	base, ok := w.cut("ed")
	if !ok {
		base, ok = w.cut("ing")
	}
	if !ok || !base.hasVowel() {
		return w
	}
	n := len(base)
	for _, s := range []string{"at", "bl", "iz"} {
		if bytes.HasSuffix(base, []byte(s)) {
			return append(base, 'e')
		}
	}
	if n > 1 && base[n-1] == base[n-2] && bytes.IndexByte([]byte("aeioulsz"), base[n-1]) < 0 {
		return base[:n-1]
	}
	if base.measure() == 1 && base.shortEnd() {
		return append(base, 'e')
	}
	return base
}

// replace puts the second of the first pair that fits in place of its first, if what is before it has a
// measure above 0.
func (w stemmer) replace(pairs ...string) stemmer {
	for len(pairs) > 1 {
		from, to := pairs[0], pairs[1]
		pairs = pairs[2:]
		if base, ok := w.cut(from); ok {
			if base.measure() > 0 {
				return append(base, to...)
			}
			return w
		}
	}
	return w
}

func (w stemmer) residual() stemmer {
	for _, s := range []string{"ement", "ment", "ance", "ence", "able", "ible", "ant", "ent", "ism", "ate", "iti", "ous", "ive", "ize", "al", "er", "ic", "ou", "ion"} {
		base, ok := w.cut(s)
		if !ok {
			continue
		}
		if base.measure() <= 1 || s == "ion" && base[len(base)-1] != 's' && base[len(base)-1] != 't' {
			return w
		}
		return base
	}
	return w
}
