package transcript

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/caxton/caxton"
)

// Format and Version name what a Writer writes. A Reader reads this version and those before.
const (
	Format  = "caxton.conversations"
	Version = 1
)

// maxLine bounds one line of a file.
const maxLine = 64 << 20

// header is the first line of a file.
type header struct {
	Format    string    `json:"format"`
	Version   int       `json:"version"`
	CreatedAt time.Time `json:"created_at"`
}

// line is any other line: a record, a blob, or the end.
type line struct {
	ConversationID caxton.ConversationID `json:"conversation_id,omitempty"`
	Seq            int64                 `json:"seq,omitempty"`
	At             time.Time             `json:"at,omitzero"`
	Kind           caxton.RecordKind     `json:"kind,omitempty"`
	MessageID      caxton.MessageID      `json:"message_id,omitempty"`
	AgentID        caxton.AgentID        `json:"agent_id,omitempty"`
	Body           json.RawMessage       `json:"body,omitempty"`

	Blob      string `json:"blob,omitempty"` // SHA-256 of the data, hex
	MediaType string `json:"media_type,omitempty"`
	Data      []byte `json:"data,omitempty"`

	End *end `json:"end,omitempty"`
}

// end is the last line: without it a file is cut off.
type end struct {
	Conversations int `json:"conversations"`
	Records       int `json:"records"`
	Blobs         int `json:"blobs,omitempty"`
}

// A Writer writes conversations as lines of JSON. It is for one goroutine.
type Writer struct {
	enc *json.Encoder
	end end
}

// NewWriter writes the beginning of a file.
func NewWriter(w io.Writer, now time.Time) (*Writer, error) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return &Writer{enc: enc}, written(enc.Encode(header{Format, Version, now.UTC()}))
}

func written(err error) error {
	if err != nil {
		return fmt.Errorf("write the conversations: %w", err)
	}
	return nil
}

// Conversation writes all records of one conversation.
func (w *Writer) Conversation(records []caxton.Record) error {
	for i := range records {
		r := &records[i]
		if err := w.enc.Encode(line{
			ConversationID: r.ConversationID, Seq: int64(i) + 1, At: r.At.UTC(), Kind: r.Kind, MessageID: r.MessageID, AgentID: r.AgentID, Body: r.Body,
		}); err != nil {
			return written(err)
		}
	}
	w.end.Conversations++
	w.end.Records += len(records)
	return nil
}

// Blob writes a full tool result that records refer to.
func (w *Writer) Blob(hash, mediaType string, data []byte) error {
	w.end.Blobs++
	return written(w.enc.Encode(line{Blob: hash, MediaType: mediaType, Data: data}))
}

// Close writes the last line.
func (w *Writer) Close() error { return written(w.enc.Encode(line{End: &w.end})) }

// Blobs returns the hashes of the full tool results that records refer to, each once.
func Blobs(records []caxton.Record) []string {
	var all []string
	seen := map[string]bool{"": true}
	for i := range records {
		var b caxton.ToolReturnedBody
		if records[i].Kind == caxton.RecordToolReturned && json.Unmarshal(records[i].Body, &b) == nil && !seen[b.BlobHash] {
			seen[b.BlobHash] = true
			all = append(all, b.BlobHash)
		}
	}
	return all
}

// A Part is what a Reader reads: the records of one conversation, which caxton.CheckLog has
// nothing against, or a blob.
type Part struct {
	Line      int // where it begins, from 1
	Records   []caxton.Record
	Blob      string
	MediaType string
	Data      []byte
}

// Fault returns err, which is about the part, with the line at which the part begins.
func (p *Part) Fault(err error) error {
	e, ok := errors.AsType[*caxton.Error](err)
	if !ok || e.Kind == caxton.Internal {
		return fmt.Errorf("import what begins in line %d: %w", p.Line, err)
	}
	c := *e
	c.Message = fmt.Sprintf("line %d and after: %s", p.Line, e.Message)
	return &c
}

// A Reader reads a file of conversations. It is for one goroutine.
type Reader struct {
	in   *bufio.Reader
	n    int   // lines read
	next *line // line n: read, and belongs to the part that comes next
	end  end
}

// NewReader reads the beginning of a file. Errors: Malformed (it is none), Invalid (a version
// that this program does not know).
func NewReader(r io.Reader) (*Reader, error) {
	rd := &Reader{in: bufio.NewReader(r)}
	b, err := rd.line()
	if errors.Is(err, io.EOF) {
		return nil, rd.fault("the file is empty")
	}
	if err != nil {
		return nil, err
	}
	var h header
	if json.Unmarshal(b, &h) != nil || h.Format != Format {
		return nil, rd.fault("this is not a file of conversations").WithHint("caxton conversations export makes one")
	}
	if h.Version < 1 || h.Version > Version {
		return nil, caxton.Errorf(caxton.Invalid, "export_version", "the file has version %d, this program reads %d", h.Version, Version).
			WithHint("use a newer program")
	}
	return rd, nil
}

func (r *Reader) fault(format string, args ...any) *caxton.Error {
	return caxton.Errorf(caxton.Malformed, "export_malformed", "line %d: %s", r.n, fmt.Sprintf(format, args...))
}

// line reads one line, without its end.
func (r *Reader) line() ([]byte, error) {
	r.n++
	var all []byte
	for {
		b, err := r.in.ReadSlice('\n')
		if len(all)+len(b) > maxLine {
			return nil, caxton.Errorf(caxton.TooLarge, "export_line", "line %d is longer than %d bytes", r.n, maxLine)
		}
		all = append(all, b...)
		switch {
		case err == nil:
			return bytes.TrimSpace(all), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(bytes.TrimSpace(all)) > 0:
			return bytes.TrimSpace(all), nil
		default:
			return nil, err
		}
	}
}

// parse reads the next line that says something.
func (r *Reader) parse() (*line, error) {
	if l := r.next; l != nil {
		r.next = nil
		return l, nil
	}
	b, err := r.line()
	if errors.Is(err, io.EOF) {
		return nil, r.fault("the file is cut off").WithHint("export it again")
	}
	if err != nil {
		return nil, err
	}
	var l line
	if json.Unmarshal(b, &l) != nil {
		return nil, r.fault("this cannot be read")
	}
	return &l, nil
}

// Next returns the next part, and io.EOF after the last one. Errors: Malformed, TooLarge, and
// those of caxton.CheckLog.
func (r *Reader) Next() (Part, error) {
	l, err := r.parse()
	if err != nil {
		return Part{}, err
	}
	switch {
	case l.End != nil:
		if *l.End != r.end {
			return Part{}, r.fault("the file was to have %d conversations, %d records and %d blobs, and has %d, %d and %d",
				l.End.Conversations, l.End.Records, l.End.Blobs, r.end.Conversations, r.end.Records, r.end.Blobs)
		}
		return Part{}, io.EOF
	case l.Blob != "":
		r.end.Blobs++
		return Part{Line: r.n, Blob: l.Blob, MediaType: l.MediaType, Data: l.Data}, nil
	case l.ConversationID == "" || l.Seq != 1:
		return Part{}, r.fault("a conversation begins with its record 1")
	}
	p := Part{Line: r.n}
	conv := l.ConversationID
	size := 0
	for l.ConversationID == conv && l.End == nil && l.Blob == "" {
		if l.Seq != int64(len(p.Records))+1 {
			return Part{}, r.fault("record %d of conversation %s is missing", len(p.Records)+1, conv)
		}
		if l.Kind == "" || !json.Valid(l.Body) {
			return Part{}, r.fault("a record has a kind and a body")
		}
		if size += len(l.Body); len(p.Records) == caxton.MaxLogRecords || size > caxton.MaxLogBytes {
			return Part{}, caxton.Errorf(caxton.TooLarge, "log_too_large", "line %d: the records of conversation %s are more than %d, or have more than %d bytes",
				r.n, conv, caxton.MaxLogRecords, caxton.MaxLogBytes).WithHint("leave this conversation out: it is stored in one step")
		}
		p.Records = append(p.Records, caxton.Record{
			ConversationID: l.ConversationID, Seq: l.Seq, At: l.At, Kind: l.Kind, MessageID: l.MessageID, AgentID: l.AgentID, Body: l.Body,
		})
		if l, err = r.parse(); err != nil {
			return Part{}, err
		}
	}
	r.next = l
	if err := caxton.CheckLog(p.Records); err != nil {
		return Part{}, p.Fault(err)
	}
	r.end.Conversations++
	r.end.Records += len(p.Records)
	return p, nil
}
