package recall

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
)

// A source reads the elements of one JSON array, one at a time, and knows the line it is on.
type source struct {
	path string
	in   *lineCounter
	dec  *json.Decoder
}

// lineCounter keeps where lines end, from the last place asked for onwards.
type lineCounter struct {
	in    io.Reader
	read  int64
	ends  []int64 // offsets of line feeds not yet passed
	lines int     // line feeds passed
}

func (l *lineCounter) Read(p []byte) (int, error) {
	n, err := l.in.Read(p)
	for i, b := range p[:n] {
		if b == '\n' {
			l.ends = append(l.ends, l.read+int64(i))
		}
	}
	l.read += int64(n)
	return n, err
}

// line returns the line of an offset. Offsets must not go back.
func (l *lineCounter) line(offset int64) int {
	n := 0
	for n < len(l.ends) && l.ends[n] < offset {
		n++
	}
	l.lines += n
	l.ends = slices.Delete(l.ends, 0, n)
	return l.lines + 1
}

func newSource(path string, in io.Reader) *source {
	l := &lineCounter{in: in}
	return &source{path: path, in: l, dec: json.NewDecoder(l)}
}

// malformed returns an error that names the path, the line and the field.
func (s *source) malformed(offset int64, field, format string, args ...any) error {
	msg := fmt.Sprintf(format, args...)
	return &caxton.Error{
		Kind: caxton.Malformed, Code: "recall_file_malformed",
		Message: s.path + " cannot be read as a set of questions",
		Issues:  []caxton.Issue{{Path: s.path, Line: s.in.line(offset), Column: 1, Key: field, Message: prefix(field) + msg}},
	}
}

// prefix puts a field before what is said about it.
func prefix(field string) string {
	if field == "" {
		return ""
	}
	return field + ": "
}

// decodeError says where and why an element does not fit that begins at base.
func (s *source) decodeError(base int64, field string, err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return s.malformed(max(base, syntax.Offset), field, "%v", err)
	}
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		at := strings.Trim(field+"."+kind.Field, ".")
		return s.malformed(base+kind.Offset, at, "is a JSON %s, not what belongs there", kind.Value)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return s.malformed(s.in.read, field, "the file ends too early")
	}
	return s.malformed(base, field, "%v", err)
}

// partError is decodeError for a part of an element that was decoded by itself: the line is
// the one on which the element begins.
func (s *source) partError(base int64, field string, err error) error {
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field = strings.Trim(field+"."+kind.Field, ".")
		return s.malformed(base, field, "is a JSON %s, not what belongs there", kind.Value)
	}
	return s.malformed(base, field, "%v", err)
}

// elements hands out the elements of the array one at a time: into is decoded anew for each.
// read says what the element is as a World; field names the element for errors.
func elements[T any](s *source, read func(v T, base int64, field string) (World, error)) iter.Seq2[World, error] {
	return func(yield func(World, error) bool) {
		first, err := s.dec.Token()
		if err != nil {
			yield(World{}, s.decodeError(0, "", err))
			return
		}
		if first != json.Delim('[') {
			yield(World{}, s.malformed(0, "", "the file must hold one JSON array"))
			return
		}
		for i := 0; s.dec.More(); i++ {
			field := fmt.Sprintf("[%d]", i)
			var raw json.RawMessage
			if err := s.dec.Decode(&raw); err != nil {
				yield(World{}, s.decodeError(s.dec.InputOffset(), field, err))
				return
			}
			base := s.dec.InputOffset() - int64(len(raw)) // where the element begins
			var v T
			if err := json.Unmarshal(raw, &v); err != nil {
				yield(World{}, s.decodeError(base, field, err))
				return
			}
			w, err := read(v, base, field)
			if !yield(w, err) || err != nil {
				return
			}
		}
		if _, err := s.dec.Token(); err != nil {
			yield(World{}, s.decodeError(s.dec.InputOffset(), "", err))
		}
	}
}

// parseTime reads a time in the layout of a format, or in one that people bring instead. An
// empty time is no error.
func parseTime(text string, layouts ...string) (time.Time, bool) {
	text = strings.Join(strings.Fields(text), " ")
	if text == "" {
		return time.Time{}, true
	}
	for _, l := range append(layouts, time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly) {
		if t, err := time.Parse(l, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// text is a JSON string, or a number, boolean or list that stands for one.
type text string

// UnmarshalJSON takes any JSON value.
func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
	} else {
		*t = text(b)
	}
	return nil
}

// nth returns the time of the nth turn of a session: a second after the one before it. A
// session of an unknown time has turns of unknown times.
func nth(start time.Time, n int) time.Time {
	if start.IsZero() {
		return start
	}
	return start.Add(time.Duration(n) * time.Second)
}

// sortTurns puts turns in order of time; turns of one time stay as they are. When a time is
// not known the order of the file holds.
func sortTurns(turns []Turn) {
	if slices.ContainsFunc(turns, func(t Turn) bool { return t.At.IsZero() }) {
		return
	}
	slices.SortStableFunc(turns, func(a, b Turn) int { return a.At.Compare(b.At) })
}

// unique makes ids that have not been given before by a number after them.
type unique map[string]int

func (u unique) id(want string) string {
	u[want]++
	if n := u[want]; n > 1 {
		return u.id(fmt.Sprintf("%s#%d", want, n))
	}
	return want
}
