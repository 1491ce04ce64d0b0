package memdb

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
)

// fault is an error about a field of a memo.
func fault(code, format string, args ...any) *caxton.Error {
	return caxton.Errorf(caxton.Invalid, code, format, args...)
}

// clean brings memos to the form in which they are kept, or says what is wrong with which.
func clean(memos []memory.Memo, now time.Time) ([]memory.Memo, error) {
	cleaned := make([]memory.Memo, len(memos))
	for i, m := range memos {
		if err := cleanMemo(&m, now); err != nil {
			return nil, located(err, len(memos), i, -1, "")
		}
		cleaned[i] = m
	}
	return cleaned, nil
}

// located says in which memo, and in which of its notes or links, something is wrong.
func located(err *caxton.Error, memos, memo, part int, what string) *caxton.Error {
	e := *err
	if part >= 0 {
		e.Message = what + " " + itoa(part+1) + ": " + e.Message
	}
	if memos > 1 {
		e.Message = "memo " + itoa(memo+1) + ": " + e.Message
	}
	return &e
}

func cleanMemo(m *memory.Memo, now time.Time) *caxton.Error {
	if err := cleanText(&m.Name, "name of the entity", caxton.MaxEntityName); err != nil {
		return err
	}
	m.Name = cleanName(m.Name)
	if len(m.Name) > caxton.MaxEntityName {
		return tooLong("name of the entity", len(m.Name), caxton.MaxEntityName)
	}
	if m.Name == "" && m.ID == 0 {
		return fault("name_missing", "the entity has no name").WithHint("name the entity, or give the ID of one there is")
	}
	if err := cleanText(&m.Type, "type of the entity", caxton.MaxEntityType); err != nil {
		return err
	}
	m.Type = cleanName(m.Type)
	if err := unit(m.Importance, "importance"); err != nil {
		return err
	}
	if err := cleanMetadata(&m.Metadata); err != nil {
		return err
	}
	m.Notes = append([]memory.Note(nil), m.Notes...)
	for i := range m.Notes {
		if err := cleanNote(&m.Notes[i], now); err != nil {
			return located(err, 1, 0, i, "note")
		}
	}
	m.Links = append([]memory.Link(nil), m.Links...)
	for i := range m.Links {
		if err := cleanLink(&m.Links[i]); err != nil {
			return located(err, 1, 0, i, "link")
		}
	}
	return nil
}

func cleanNote(n *memory.Note, now time.Time) *caxton.Error {
	if err := cleanText(&n.Text, "observation", caxton.MaxObservation); err != nil {
		return err
	}
	if n.Text = strings.TrimSpace(n.Text); n.Text == "" {
		return fault("observation_empty", "the observation has no text")
	}
	if err := cleanText(&n.Key, "key of the observation", caxton.MaxObservationKey); err != nil {
		return err
	}
	n.Key = cleanName(n.Key)
	if err := unit(n.Confidence, "confidence"); err != nil {
		return err
	}
	if n.Known.From.After(now) || n.Known.To.After(now) {
		return fault("known_future", "the observation is said to be known at a time that is still to come")
	}
	if n.Known.From.IsZero() && !n.Known.To.IsZero() {
		return fault("known_open", "the observation is said to be known until %s, and not since when", n.Known.To.Format(time.RFC3339))
	}
	if err := span(n.Known); err != nil {
		return err
	}
	return span(n.Valid)
}

func cleanLink(l *memory.Link) *caxton.Error {
	if err := cleanText(&l.To, "name of the other entity", caxton.MaxEntityName); err != nil {
		return err
	}
	l.To = cleanName(l.To)
	if l.To == "" && l.ToID == 0 {
		return fault("link_target_missing", "the relation has no other end").WithHint("name the other entity, or give its ID")
	}
	if err := cleanText(&l.Type, "type of the relation", caxton.MaxEntityType); err != nil {
		return err
	}
	if l.Type = cleanName(l.Type); l.Type == "" {
		return fault("relation_type_missing", "the relation has no type").WithHint("say what connects the two, such as works_for")
	}
	if err := unit(l.Strength, "strength"); err != nil {
		return err
	}
	if err := unit(l.Confidence, "confidence"); err != nil {
		return err
	}
	if err := cleanMetadata(&l.Metadata); err != nil {
		return err
	}
	return span(l.Valid)
}

func cleanText(s *string, what string, most int) *caxton.Error {
	if len(*s) > most {
		return tooLong(what, len(*s), most)
	}
	if !utf8.ValidString(*s) {
		return fault("text_not_utf8", "the %s is not valid UTF-8", what)
	}
	if strings.ContainsRune(*s, 0) {
		return fault("text_has_nul", "the %s has a NUL character in it", what)
	}
	return nil
}

func tooLong(what string, have, most int) *caxton.Error {
	return caxton.Errorf(caxton.TooLarge, "memory_too_large", "the %s has %d bytes, at most %d are kept", what, have, most)
}

func unit(f *float64, what string) *caxton.Error {
	if f != nil && (math.IsNaN(*f) || *f < 0 || *f > 1) {
		return fault(what+"_invalid", "the %s is %v; it goes from 0 to 1", what, *f)
	}
	return nil
}

func span(s caxton.Span) *caxton.Error {
	if !s.From.IsZero() && !s.To.IsZero() && !s.From.Before(s.To) {
		return fault("span_invalid", "it is said to be true from %s to %s, and the end is not after the beginning",
			s.From.Format(time.RFC3339), s.To.Format(time.RFC3339))
	}
	return nil
}

func cleanMetadata(m *json.RawMessage) *caxton.Error {
	if *m == nil {
		return nil
	}
	var b bytes.Buffer
	var object map[string]json.RawMessage
	if json.Unmarshal(*m, &object) != nil || object == nil || json.Compact(&b, *m) != nil {
		return fault("metadata_invalid", "the metadata is no JSON object")
	}
	if b.Len() > caxton.MaxMemoryMetadata {
		return tooLong("metadata", b.Len(), caxton.MaxMemoryMetadata)
	}
	*m = b.Bytes()
	return nil
}
