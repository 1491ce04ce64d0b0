package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
)

// A script answers requests for events, one text after the other, and notes where each began.
type script struct {
	mu    sync.Mutex
	texts []string
	after []string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = append(s.after, r.Header.Get("Last-Event-ID"))
	if len(s.texts) == 0 || s.texts[0] == "refuse" {
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"error":{"kind":"conflict","code":"event_id_unknown","message":"no"}}`)
		return
	}
	if s.texts[0] == "busy" {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"error":{"kind":"unavailable","code":"draining","message":"no"}}`)
	} else {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_, _ = io.WriteString(w, s.texts[0])
	}
	s.texts = s.texts[1:]
}

func TestFollow(t *testing.T) {
	const hint = "retry: 1\n\n"
	tests := []struct {
		name  string
		texts []string
		want  []string // names, IDs and data
		after []string // what the client gave
	}{
		{
			"comes back after the last event",
			[]string{hint + "id: 1\nevent: message\ndata: {}\n\n", hint + "id: 2\nevent: settled\ndata: {}\n\n"},
			[]string{"message 1 {}", "settled 2 {}"},
			[]string{"", "1", "2"},
		},
		{
			"half an event is none",
			[]string{hint + "id: 1\nevent: message\ndata: {}\n\nid: 2\nevent: settled\ndata: {}\n", hint + "id: 2\nevent: settled\ndata: {}\n\n"},
			[]string{"message 1 {}", "settled 2 {}"},
			[]string{"", "1", "2"},
		},
		{
			"half a line is none",
			[]string{hint + "id: 1\nevent: message\ndata: {}\n\nid: 2", "refuse"},
			[]string{"message 1 {}"},
			[]string{"", "1"},
		},
		{"an ID alone moves the place", []string{hint + ": alive\nid: 7\n\n"}, nil, []string{"", "7"}},
		{
			"an end is for the reader, not for the caller",
			[]string{hint + "event: end\ndata: {\"code\":\"server_stopping\"}\n\n", "busy", hint + "id: 1\nevent: message\ndata: {}\n\n"},
			[]string{"message 1 {}"},
			[]string{"", "", "", "1"},
		},
		{"other line ends and no spaces", []string{"retry:1\r\n\r\nid:1\r\nevent:message\r\ndata:{}\r\ndata: x\r\n\r\n"}, []string{"message 1 {}\nx"}, []string{"", "1"}},
		{"refused at once", []string{"refuse"}, nil, []string{""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &script{texts: tt.texts}
			srv := httptest.NewServer(s)
			defer srv.Close()
			var got []string
			err := api.New(api.Config{BaseURL: srv.URL}).FollowConversation(t.Context(), "c", api.ConversationEvents{}, func(e api.Event) error {
				got = append(got, e.Name+" "+e.ID+" "+string(e.Data))
				return nil
			})
			if e, ok := errors.AsType[*caxton.Error](err); !ok || e.Code != "event_id_unknown" {
				t.Errorf("ended with %v, want the server's refusal", err)
			}
			if !slices.Equal(got, tt.want) || !slices.Equal(s.after, tt.after) {
				t.Errorf("events %q, from %q; want %q, from %q", got, s.after, tt.want, tt.after)
			}
		})
	}
	t.Run("the caller ends it", func(t *testing.T) {
		t.Parallel()
		srv := httptest.NewServer(&script{texts: []string{"id: 1\nevent: message\ndata: {}\n\n"}})
		defer srv.Close()
		err := api.New(api.Config{BaseURL: srv.URL}).FollowEvents(t.Context(), api.EventFilter{}, func(api.Event) error { return io.ErrShortWrite })
		if err != io.ErrShortWrite { //nolint:errorlint // the very error
			t.Errorf("ended with %v, want the caller's error", err)
		}
	})
	t.Run("no server at all", func(t *testing.T) {
		t.Parallel()
		srv := httptest.NewServer(nil)
		srv.Close()
		err := api.New(api.Config{BaseURL: srv.URL}).FollowEvents(t.Context(), api.EventFilter{}, nil)
		if caxton.KindOf(err) != caxton.Unavailable {
			t.Errorf("ended with %v, want Unavailable at once", err)
		}
	})
	t.Run("its time ends", func(t *testing.T) {
		t.Parallel()
		srv := httptest.NewServer(&script{texts: []string{hint, hint, "busy", "busy", "busy", "busy", "busy", "busy", "busy", "busy", "busy", "busy", "busy"}})
		defer srv.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := api.New(api.Config{BaseURL: srv.URL}).FollowEvents(ctx, api.EventFilter{}, nil)
		if caxton.KindOf(err) != caxton.Timeout {
			t.Errorf("ended with %v, want Timeout", err)
		}
	})
}
