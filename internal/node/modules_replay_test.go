package node_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton/api"
)

// TestReplayOfAModule replays conversations of modules: with the calls, the time, the random
// numbers and the state that their turns saw. Where the state cannot be had, it says so.
func TestReplayOfAModule(t *testing.T) {
	c, _, stop := run(t, t.TempDir())
	deploy := func(name, module, more string) {
		t.Helper()
		if _, err := c.Deploy(t.Context(), api.Deploy{Text: []byte("---\nname: " + name + "\ntype: wasm\n" + more + "---\n"), Module: guestModule(t, module)}); err != nil {
			t.Fatal(err)
		}
	}
	say := func(to, conv, text string) string {
		t.Helper()
		r, err := c.Send(t.Context(), api.Message{ConversationID: conv, Receiver: to, Text: text}, 20*time.Second)
		if err != nil || r.Reply == nil || r.Reply.Performative == "failure" {
			t.Fatalf("%s to %s: %+v, %v", text, to, r, err)
		}
		return r.Reply.Text
	}
	replay := func(conv string, skipped string) api.Replay {
		t.Helper()
		r, err := c.ReplayConversation(t.Context(), conv)
		if err != nil || len(r.Turns) == 0 {
			t.Fatalf("replay of %s: %+v, %v", conv, r, err)
		}
		for _, turn := range r.Turns {
			if !strings.Contains(turn.Skipped, skipped) || (turn.Skipped == "") != (skipped == "") {
				t.Errorf("%s: a turn is skipped: %q, want %q", conv, turn.Skipped, skipped)
			}
			if skipped == "" && turn.Attempts != 1 {
				t.Errorf("%s: a turn has %d attempts", conv, turn.Attempts)
			}
		}
		if !r.Equal || r.Difference != nil {
			t.Errorf("%s: %+v, %+v", conv, r, r.Difference)
		}
		return r
	}
	deploy("caller", "caller", "tools: [calculator]\n")
	deploy("tally", "tally1", "")
	deploy("teller", "teller", "")
	deploy("counter", "counter", "")
	_ = say("caller", "calls", "hi")
	for range 3 {
		_ = say("tally", "counts", "w")
	}
	_ = say("teller", "setting", "set first")
	if told := say("teller", "telling", "what"); !strings.HasPrefix(told, "first ") {
		t.Errorf("told %q", told)
	}
	replay("calls", "")
	replay("setting", "")
	replay("telling", "")
	for range 3 {
		_ = say("tally", "others", "w")
	}
	replay("counts", "") // what a turn that changes its state has read is kept with that
	_ = say("teller", "setting", "set second")
	replay("telling", "the state that the module read has changed since")
	if got := say("tally", "counts", "w"); got != "7" {
		t.Errorf("after the replays the tally is %s, want 7: they change nothing", got)
	}
	_ = say("counter", "variables", "hi")
	_ = say("counter", "variables", "hi")
	r, err := c.ReplayConversation(t.Context(), "variables")
	if err != nil || r.Equal || r.Difference == nil {
		t.Errorf("a module that counts in a variable: %+v, %v: its second answer follows from nothing in the log", r, err)
	}
	for conv, want := range map[string]string{"calls": "", "counts": ""} { // a fork of a module goes on, and is replayed
		f, err := c.ForkConversation(t.Context(), conv, api.Fork{At: 1})
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); ; {
			fork, err := c.Conversation(t.Context(), f.Conversation.ID)
			if err != nil || time.Now().After(deadline) {
				t.Fatal(fork, err)
			}
			if fork.Status == "idle" {
				break
			}
			<-time.After(5 * time.Millisecond)
		}
		replay(f.Conversation.ID, want)
	}
	if got := say("tally", "counts", "w"); got != "9" {
		t.Errorf("after a fork that counted again the tally is %s, want 9: its state is the agent's", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
