package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
)

const (
	firstPause = 2 * time.Second  // before a client comes back, unless the server says otherwise
	maxPause   = 30 * time.Second // however often it failed
	maxSilence = time.Minute      // after which a connection is taken for dead: a sign of life comes every 15 s
	maxLine    = maxAnswer        // of a stream
)

// A ConversationEvents says what of a conversation to follow.
type ConversationEvents struct {
	After    string // ID of the event to go on after; "" begins with the first record
	NoDeltas bool   // leave out the text of models as it is written
}

// FollowConversation calls each for every record of a conversation, from the first one on or
// from where the filter says, and for the text of models as it is written. It goes on until
// ctx ends, each returns an error, or the server refuses: when the connection breaks it comes
// back and resumes, so that each sees every record once, in order. Pieces of text that were
// missed do not come again.
func (c *Client) FollowConversation(ctx context.Context, id string, f ConversationEvents, each func(Event) error) error {
	q := url.Values{"deltas": {strconv.FormatBool(!f.NoDeltas)}}
	return c.follow(ctx, get(path("conversations", id, "events"), q), f.After, each)
}

// An EventFilter says what of the server's events to follow. Zero fields select all records.
type EventFilter struct {
	After        string // ID of the event to go on after; "" begins now
	Agent        string
	Conversation string
	Kinds        []string
	Deltas       bool // also the text of models as it is written
}

// FollowEvents calls each for what happens on the server, as FollowConversation does for one
// conversation.
func (c *Client) FollowEvents(ctx context.Context, f EventFilter, each func(Event) error) error {
	q := values("agent", f.Agent, "conversation", f.Conversation, "kind", strings.Join(f.Kinds, ","), "deltas", yes(f.Deltas))
	return c.follow(ctx, get("/events", q), f.After, each)
}

// follow makes a request for events again and again.
func (c *Client) follow(ctx context.Context, k call, after string, each func(Event) error) error {
	r := reader{c: c, last: after, pause: firstPause}
	for {
		err := r.read(ctx, k, func(e Event) error {
			if e.Name == EventEnd {
				return nil // it tells why the connection ends; coming back is what to do anyway
			}
			return each(e)
		})
		if err = r.wait(ctx, err); err != nil {
			return err
		}
	}
}

// SendStream sends a message and calls each for what is written in answer to it: an event
// accepted, then deltas. It returns the receipt with the reply, without a limit of time but
// ctx. When the connection breaks it sends the message again under the same ID, which
// delivers it once. A server that does not stream is waited for, for 50 seconds.
func (c *Client) SendStream(ctx context.Context, m Message, each func(Event) error) (Receipt, error) {
	if key, _ := ctx.Value(keyKey{}).(string); m.MessageID == "" && key == "" {
		m.MessageID = newID(time.Now())
	}
	r := reader{c: c, pause: firstPause}
	var receipt Receipt
	done, accepted := false, false
	for {
		err := r.read(ctx, post("/messages", url.Values{"wait": {"50s"}}, m), func(e Event) (err error) {
			switch {
			case e.Name == EventEnd || e.Name == EventAccepted && accepted:
				return nil
			case e.Name == EventReply:
				done = true
				receipt, err = e.Receipt()
				return err
			}
			accepted = accepted || e.Name == EventAccepted
			return each(e)
		})
		if done && !isStopped(err) {
			return receipt, nil // the server ends the connection then
		}
		if err = r.wait(ctx, err); err != nil {
			return receipt, err
		}
	}
}

// newID returns a UUID of version 7 (RFC 9562): the server keeps those in order of time best.
func newID(now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(b[6:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x70, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// A reader reads a stream of events over several connections. One goroutine uses it.
type reader struct {
	c     *Client
	last  string        // ID of the last event
	pause time.Duration // as the server asked for

	connected bool // ever
	failures  int  // connections in a row that brought nothing
}

// errStopped marks an error of the caller's function.
type errStopped struct{ error }

func isStopped(err error) bool {
	_, ok := errors.AsType[errStopped](err)
	return ok
}

// read makes one connection and calls each for its events, until it ends.
func (r *reader) read(ctx context.Context, k call, each func(Event) error) error {
	k.header = http.Header{"Accept": {"text/event-stream"}}
	if r.last != "" {
		k.header.Set("Last-Event-ID", r.last)
	}
	cctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(maxSilence, cancel)
	defer silence.Stop()
	r.failures++
	res, err := r.c.send(cctx, k)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if k.method == http.MethodPost && media != "text/event-stream" { // a server that does not stream
		return r.whole(ctx, res, each)
	}
	if media != "text/event-stream" {
		return caxton.Errorf(caxton.Malformed, "not_a_stream", "the server answered with %q instead of events", media).
			WithHint("check that --server is the address of a Caxton server of the same version")
	}
	r.connected = true
	lines := bufio.NewReader(res.Body)
	var e Event
	id, hasID := "", false
	var data bytes.Buffer
	for {
		line, err := readLine(lines)
		if err != nil {
			return r.c.broken(ctx, err)
		}
		silence.Reset(maxSilence)
		if len(line) > 0 {
			name, value, _ := strings.Cut(line, ":")
			value = strings.TrimPrefix(value, " ")
			switch name {
			case "event":
				e.Name = value
			case "data":
				if data.Len()+len(value) > maxLine {
					return tooLong()
				}
				data.WriteString(value + "\n")
			case "id":
				id, hasID = value, true
			case "retry":
				if ms, err := strconv.Atoi(value); err == nil && ms >= 0 {
					r.pause = min(time.Duration(ms)*time.Millisecond, maxPause)
				}
			}
			continue
		}
		if data.Len() > 0 {
			r.failures = 0
			if hasID {
				e.ID = id
			}
			e.Data = bytes.TrimSuffix(bytes.Clone(data.Bytes()), []byte("\n"))
			if err := each(e); err != nil {
				return errStopped{err}
			}
		}
		if hasID {
			r.last = id // only now: what was cut off in the middle comes again
		}
		e, id, hasID = Event{}, "", false
		data.Reset()
	}
}

// whole reads an answer that is no stream as its last event.
func (r *reader) whole(ctx context.Context, res *http.Response, each func(Event) error) error {
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return r.c.broken(ctx, err)
	}
	if err := each(Event{Name: EventReply, Data: text}); err != nil {
		return errStopped{err}
	}
	return nil
}

// readLine returns a line without its end.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && len(line) <= maxLine:
			continue
		case errors.Is(err, bufio.ErrBufferFull):
			return "", tooLong()
		case errors.Is(err, io.EOF):
			return "", io.ErrUnexpectedEOF // a line that was cut off is none
		case err != nil:
			return "", err
		}
		return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), nil
	}
}

func tooLong() error {
	return caxton.Errorf(caxton.TooLarge, "event_too_large", "an event has more than %d MiB", maxLine>>20)
}

// wait waits before the next connection. It returns the error that ends the reading instead:
// the caller's, one that another try would meet again, or that of the very first try.
func (r *reader) wait(ctx context.Context, err error) error {
	if stopped, ok := errors.AsType[errStopped](err); ok {
		return stopped.error
	}
	kind := caxton.KindOf(err)
	passing := kind == caxton.Unavailable || kind == caxton.Canceled || kind == caxton.Timeout || kind == caxton.Exhausted
	if ctx.Err() != nil || !r.connected || !passing {
		return err
	}
	pause := min(r.pause<<min(max(0, r.failures-1), 10), maxPause)
	if half, err := rand.Int(rand.Reader, big.NewInt(int64(pause)+1)); err == nil {
		pause = pause/2 + time.Duration(half.Int64()) // so that not all come back at once
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return r.c.unreachable(ctx, ctx.Err())
	case <-t.C:
		return nil
	}
}
