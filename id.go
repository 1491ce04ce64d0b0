package caxton

import (
	"crypto/sha1" //nolint:gosec // RFC 9562 defines version 5 identifiers by SHA-1; it guards nothing
	"encoding/binary"
	"encoding/hex"
	"strings"
	"unicode"
)

// A MessageID identifies one message for ever: a UUID, or any text of 1 to 128 printable
// ASCII characters a caller chose. Accepting the same ID twice delivers once.
type MessageID string

// A ConversationID identifies a conversation: a UUID, or a text as for MessageID.
type ConversationID string

// An AgentID identifies an agent for its whole life, over all its versions: a UUID.
type AgentID string

// CheckID returns an Invalid error unless s is 1 to 128 printable ASCII characters without
// spaces or slashes, the form of an identifier a caller may choose.
func CheckID(s string) error {
	ok := len(s) >= 1 && len(s) <= 128
	for i := 0; ok && i < len(s); i++ {
		ok = s[i] > ' ' && s[i] < 0x7f && s[i] != '/'
	}
	if !ok {
		return Errorf(Invalid, "id_invalid", "%.140q is not an identifier", s).
			WithHint("use 1 to 128 printable ASCII characters without spaces and slashes")
	}
	return nil
}

// DeriveMessageID returns the ID of the output at position of the message in: always the
// same for the same input, so that a repeated delivery repeats IDs and duplicates fall
// away. It is a UUID made from a hash. When the input's ID is a UUID that begins with a time
// (version 7), or one derived from such, the output's ID begins with the same time and has
// version 8 (RFC 9562, section 5.8), so that it is stored close to its input; else it has
// version 5.
func DeriveMessageID(in MessageID, position int) MessageID {
	b := append(make([]byte, 0, 64), "caxton:output:"...)
	b = binary.BigEndian.AppendUint64(append(b, in...), uint64(position)) //nolint:gosec // a position is never negative
	id := uuid5(b)
	if in.TimeOrdered() {
		copy(id[:14], in)
		id[14] = '8'
	}
	return MessageID(id[:])
}

// DeriveMessageIDFor returns the ID of the copy of a message that goes to one of several
// receivers: always the same for the same message and receiver.
func DeriveMessageIDFor(id MessageID, receiver AgentID) MessageID {
	return MessageID(uuid5Text("caxton:copy:" + string(id) + " " + string(receiver)))
}

// TimeOrdered reports whether the ID has the form of a UUID that begins with a time: of
// version 7, or derived from one by DeriveMessageID. Such IDs sort by age.
func (id MessageID) TimeOrdered() bool {
	if len(id) != 36 || id[14] != '7' && id[14] != '8' {
		return false
	}
	for i, c := range []byte(id) {
		hyphen := i == 8 || i == 13 || i == 18 || i == 23
		if hyphen != (c == '-') || !hyphen && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// KeyedMessageID returns the ID of the message that a caller sends under an idempotency
// key: always the same for the same key.
func KeyedMessageID(key string) MessageID {
	return MessageID(uuid5Text("caxton:key:" + key))
}

// ForkedMessageID returns the ID that a message of the conversation it was copied from has
// in a fork.
func ForkedMessageID(fork ConversationID, id MessageID) MessageID {
	return MessageID(uuid5Text("caxton:fork:" + string(fork) + " " + string(id)))
}

func uuid5Text(name string) string {
	id := uuid5([]byte(name))
	return string(id[:])
}

// uuid5 returns a UUID of version 5 as text, that of a name which begins with its space.
func uuid5(name []byte) (b [36]byte) {
	h := sha1.Sum(name) //nolint:gosec // see the import
	h[6] = h[6]&0x0f | 0x50
	h[8] = h[8]&0x3f | 0x80
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	hex.Encode(b[0:8], h[0:4])
	hex.Encode(b[9:13], h[4:6])
	hex.Encode(b[14:18], h[6:8])
	hex.Encode(b[19:23], h[8:10])
	hex.Encode(b[24:36], h[10:16])
	return b
}

// Slug returns the form of an agent's name that fits a URL and a file name: lower-case
// words joined by hyphens. Words end at spaces, punctuation, and where lower case meets
// upper case: Slug("DataAnalyzer") is "data-analyzer", Slug("HTTPServer v2") is
// "http-server-v2". A name without letters or digits has the slug "".
func Slug(name string) string {
	rs := []rune(name)
	var b strings.Builder
	word := false // the last rune written belongs to a word
	for i, r := range rs {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			word = false
			continue
		}
		if upper(r) && word {
			next := i+1 < len(rs) && unicode.IsLower(rs[i+1])
			if !upper(rs[i-1]) || next {
				word = false
			}
		}
		if !word && b.Len() > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
		word = true
	}
	return b.String()
}

// upper reports whether r is an upper-case letter that has a lower-case form: some, such as
// ℂ, have none.
func upper(r rune) bool { return unicode.IsUpper(r) && unicode.ToLower(r) != r }
