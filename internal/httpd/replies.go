package httpd

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/event"
	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
)

// streaming200 has an operation that sends a message answer in events too, when asked to.
func (s *Server) streaming200(a huma.API, op *huma.Operation) {
	const how = "With Accept: text/event-stream the answer is events: accepted, then delta for each piece of text as it is written, and at last " +
		"reply; there is no limit of time. After a break send the same message again, with the same message_id or Idempotency-Key."
	if op.Description != "" {
		op.Description += " "
	}
	op.Description += how
	stream200(a, op)
	s.streams[op.Method+" "+op.Path] = wantsStream
}

// sendOrStream sends a message and answers as the caller wishes.
func (s *Server) sendOrStream(ctx context.Context, b api.Message, w *Waiting, def time.Duration) (*huma.StreamResponse, error) {
	if acceptsStream(w.Accept) {
		return s.streamReply(ctx, b)
	}
	out, err := s.send(ctx, b, w, def)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", "application/json")
		hc.SetStatus(out.Status)
		enc := json.NewEncoder(hc.BodyWriter())
		enc.SetEscapeHTML(false)
		_ = enc.Encode(out.Body) // it always prints; a caller who left is no error
	}}, nil
}

// streamReply sends a message and answers with what is written in reply to it, as it is
// written, and then the reply.
func (s *Server) streamReply(ctx context.Context, b api.Message) (*huma.StreamResponse, error) {
	release, err := s.openStream(messageStream)
	if err != nil {
		return nil, err
	}
	begin, err := uuid.NewV7() // of a new conversation: listening begins before it does
	if err != nil {
		release()
		return nil, caxton.Errorf(caxton.Internal, "no_randomness", "no ID can be made").WithCause(err)
	}
	conv := caxton.ConversationID(b.ConversationID)
	if conv == "" {
		conv = caxton.ConversationID(begin.String())
	}
	sub := s.deps.Feed.Subscribe(conv)
	out, err := s.accept(ctx, b, conv)
	if err != nil {
		sub.Close()
		release()
		return nil, err
	}
	if was := caxton.ConversationID(out.Body.ConversationID); was != conv { // sent before
		sub.Close()
		sub = s.deps.Feed.Subscribe(was)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) { //nolint:contextcheck // huma hands the request's context over
		defer release()
		defer sub.Close()
		s.untilReply(hc, sub, out)
	}}, nil
}

// untilReply writes the deltas of one message until it is settled. It goes on while the
// server drains, as other callers who wait for replies do.
func (s *Server) untilReply(hc huma.Context, sub *event.Subscription, out *answer[api.Receipt]) {
	st := s.begin(hc, "")
	st.event(api.EventAccepted, "", out.Body)
	ctx, cancel := context.WithCancel(hc.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	id := caxton.MessageID(out.Body.MessageID)
	var reply caxton.Message
	var err error
	settled := make(chan struct{}) // closed when reply and err are there
	wg.Go(func() {
		reply, err = s.deps.Router.Await(ctx, id)
		close(settled)
	})
	deltas := func() {
		events, _ := sub.Take() // what is lost, the reply has
		for _, e := range events {
			if e.Delta != nil && e.Delta.MessageID == id {
				st.event(api.EventDelta, "", deltaFrom(e.Delta))
			}
		}
	}
	beat := time.NewTicker(s.cfg.Heartbeat)
	defer beat.Stop()
	for {
		if st.flush() != nil {
			return
		}
		if st.slow {
			st.end("reader_too_slow", "the reader took too long; send the same message again to get its reply")
			return
		}
		select {
		case <-settled:
			deltas()
			if err != nil && caxton.KindOf(err) != caxton.NotFound {
				s.endFailed(ctx, st, err)
				return
			}
			s.answered(ctx, out, &reply, err)
			st.event(api.EventReply, "", out.Body)
			_ = st.flush()
			return
		case <-sub.Ready():
			deltas()
		case <-beat.C:
			st.beat("")
		}
	}
}
