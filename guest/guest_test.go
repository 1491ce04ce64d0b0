package guest_test

import (
	"errors"
	"testing"

	"github.com/caxton/caxton/guest"
)

// TestHandler holds that a handler can be tested outside of a server.
func TestHandler(t *testing.T) {
	var said []guest.Message
	guest.AnswerBy(func(m guest.Message) error { said = append(said, m); return nil })
	err := guest.HandleJSON([]byte(`{"message_id":"m1","sender":"ann","content":"good day"}`), func(m guest.Message) error {
		if err := guest.Store("k", nil); !errors.Is(err, guest.ErrNoServer) {
			t.Errorf("Store = %v, want ErrNoServer", err)
		}
		return guest.Answer("inform", m.Sender+": "+m.Text())
	})
	if err != nil || len(said) != 1 || said[0].Text() != "ann: good day" || said[0].Performative != "inform" {
		t.Errorf("HandleJSON: %v, said %+v", err, said)
	}
	if err := guest.HandleJSON([]byte(`{`), nil); err == nil {
		t.Error("a message that is not JSON is no error")
	}
}
