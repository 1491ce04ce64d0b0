package protocol_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/protocol"
)

// say returns a message by name between outside parties, with what it answers.
func say(proto, from, p, to, id, inReplyTo string) caxton.Message {
	return caxton.Message{
		ID: caxton.MessageID(id), Protocol: proto, Sender: from, Receiver: to, Performative: caxton.Performative(p),
		InReplyTo: inReplyTo, Content: caxton.TextContent("x"), CreatedAt: noon,
	}
}

// states returns what each exchange of d has come to.
func states(d protocol.Dialogue) []string {
	var ss []string
	for _, e := range d.Exchanges {
		ss = append(ss, fmt.Sprintf("%s %s", e.Participant, e.State))
	}
	return ss
}

func TestDialogue(t *testing.T) {
	late := say("contract-net", "d", "propose", "a", "7", "1d")
	late.CreatedAt = noon.Add(time.Hour)
	cfp := func(to, id string) caxton.Message {
		m := say("contract-net", "a", "cfp", to, id, "")
		m.ReplyBy = noon.Add(time.Minute)
		return m
	}
	tests := []struct {
		name     string
		messages []caxton.Message
		want     []string
	}{
		{"a contract net with three bidders", []caxton.Message{
			cfp("b", "1b"), cfp("c", "1c"), cfp("d", "1d"),
			say("FIPA_Contract_Net", "b", "propose", "a", "2", "1b"),
			say("contract-net", "c", "refuse", "a", "3", "1c"),
			late,
			say("contract-net", "a", "accept-proposal", "b", "4", "2"),
			say("contract-net", "a", "accept-proposal", "d", "5", "7"), // not legal: it was late
			say("contract-net", "a", "reject-proposal", "d", "6", "7"),
			say("contract-net", "b", "inform", "a", "8", "4"),
		}, []string{"b done", "c refused", "d rejected"}},
		{"in_reply_to tells two requests apart", []caxton.Message{
			say("request", "a", "request", "b", "1", ""),
			say("request", "a", "request", "b", "2", ""),
			say("request", "b", "refuse", "a", "3", "2"),
		}, []string{"b opened", "b refused"}},
		{"without in_reply_to the oldest question is answered", []caxton.Message{
			say("request", "a", "request", "b", "1", ""),
			say("request", "a", "request", "b", "2", ""),
			say("request", "b", "inform", "a", "3", ""),
			say("request", "b", "failure", "a", "4", ""),
		}, []string{"b done", "b failed"}},
		{"what the named exchange forbids, no other takes", []caxton.Message{
			say("request", "a", "request", "b", "1", ""),
			say("request", "a", "request", "b", "2", ""),
			say("request", "b", "inform", "a", "3", "2"),
			say("request", "b", "inform", "a", "4", "2"),
		}, []string{"b opened", "b done"}},
		{"both ask each other", []caxton.Message{
			say("request", "a", "request", "b", "1", ""),
			say("request", "b", "request", "a", "2", "1"), // asks back before it answers
			say("request", "a", "inform", "b", "3", "2"),
			say("request", "b", "agree", "a", "4", "1"),
		}, []string{"b agreed", "a done"}},
		{"messages without a protocol do not take part", []caxton.Message{
			say("", "a", "request", "b", "1", ""),
			say("request", "a", "request", "b", "2", ""),
			say("caxton-v1", "b", "inform", "a", "3", "2"),
			say("", "b", "inform", "a", "4", "2"),
		}, []string{"b opened"}},
		{"protocols do not mix", []caxton.Message{
			say("request", "a", "request", "b", "1", ""),
			say("query", "a", "query-if", "b", "2", ""),
			say("query", "b", "inform", "a", "3", ""),
		}, []string{"b opened", "b done"}},
		{"a cancel nobody answered does not take the next answer", []caxton.Message{
			say("request", "a", "request", "b", "1", ""),
			say("request", "a", "cancel", "b", "2", "1"),
			say("request", "b", "refuse", "a", "3", "1"),
			say("request", "a", "request", "b", "4", ""),
			say("request", "b", "inform", "a", "5", ""),
		}, []string{"b refused", "b done"}},
		{"what was not legal, and the answer to it, change nothing", []caxton.Message{
			say("request", "a", "request", "b", "1", ""),
			say("request", "b", "agree", "a", "2", "1"),
			say("request", "b", "propose", "a", "3", "1"),
			say("request", "a", "not-understood", "b", "4", "3"),
			say("request", "b", "inform", "a", "5", "1"),
		}, []string{"b done"}},
		{"a not-understood of what was legal", []caxton.Message{
			say("request", "a", "request", "b", "1", ""),
			say("request", "b", "agree", "a", "2", "1"),
			say("request", "a", "not-understood", "b", "3", "2"),
			say("request", "b", "inform", "a", "4", "1"),
		}, []string{"b not_understood"}},
		{"an answer to nothing", []caxton.Message{say("request", "b", "inform", "a", "1", "")}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, states(protocol.Fold(tt.messages))); diff != "" {
				t.Errorf("Fold (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDialogueCheck(t *testing.T) {
	d := protocol.Fold([]caxton.Message{
		say("request", "a", "request", "b", "1", ""),
		say("request", "b", "inform", "a", "2", "1"),
		say("request", "a", "request", "b", "3", ""),
	})
	before := slices.Clone(d.Exchanges)
	tests := []struct {
		name string
		m    caxton.Message
		code string // "" for legal
	}{
		{"legal", say("request", "b", "agree", "a", "4", "3"), ""},
		{"opens another", say("request", "b", "request", "a", "4", ""), ""},
		{"takes no part", say("", "b", "propose", "a", "4", ""), ""},
		{"named exchange is over", say("request", "b", "agree", "a", "4", "1"), "protocol_violation"},
		{"wrong act", say("request", "b", "propose", "a", "4", "3"), "protocol_violation"},
		{"strangers", say("request", "b", "agree", "c", "4", "3"), "protocol_violation"},
		{"does not open", say("query", "a", "request", "b", "4", ""), "protocol_violation"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := d.Check(&tt.m, noon)
			ce, _ := errors.AsType[*caxton.Error](err)
			if (ce == nil) != (tt.code == "") || ce != nil && (ce.Code != tt.code || ce.Hint == "") {
				t.Errorf("Check = %v, want code %q", err, tt.code)
			}
		})
	}
	if diff := cmp.Diff(before, d.Exchanges); diff != "" {
		t.Errorf("Check changed the dialogue:\n%s", diff)
	}
}

func TestDialogueFind(t *testing.T) {
	d := protocol.Fold([]caxton.Message{
		say("request", "a", "request", "b", "1", ""),
		say("request", "b", "inform", "a", "2", "1"),
		say("request", "a", "request", "b", "3", ""),
		say("contract-net", "a", "cfp", "b", "4", ""),
	})
	tests := []struct {
		name    string
		m       caxton.Message
		opening caxton.MessageID // of the exchange wanted, "" for none
		giveUp  caxton.Performative
	}{
		{"legal", say("request", "b", "agree", "a", "5", "3"), "3", caxton.Failure},
		{"not legal", say("request", "b", "propose", "a", "5", "3"), "3", caxton.Failure},
		{"not legal, an answer to a cfp", say("contract-net", "b", "failure", "a", "5", "4"), "4", caxton.Refuse},
		{"not legal, unnamed", say("request", "b", "propose", "a", "5", ""), "3", caxton.Failure},
		{"over", say("request", "b", "inform", "a", "5", "1"), "1", ""},
		{"opens one", say("request", "a", "request", "b", "5", ""), "", ""},
		{"strangers", say("request", "b", "agree", "c", "5", "3"), "", ""},
		{"takes no part", say("", "b", "agree", "a", "5", "3"), "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, ok := d.Find(&tt.m, noon)
			if ok != (tt.opening != "") || e.Opening.ID != tt.opening || ok && e.GiveUp() != tt.giveUp {
				t.Errorf("Find = %+v, %t, want the exchange opened by %q, which ends with %q", e, ok, tt.opening, tt.giveUp)
			}
		})
	}
}

// TestDialogueForgets: ended exchanges are bounded, open ones are never forgotten.
func TestDialogueForgets(t *testing.T) {
	var ms []caxton.Message
	for i := range 500 {
		id := fmt.Sprint(i)
		ms = append(ms, say("request", "a", "request", "b", id, ""))
		if i%10 != 0 {
			ms = append(ms, say("request", "b", "inform", "a", id+"r", id))
		}
	}
	open, ended := 0, 0
	for _, e := range protocol.Fold(ms).Exchanges {
		if e.Done() {
			ended++
		} else {
			open++
		}
	}
	if open != 50 || ended == 0 || ended > 65 {
		t.Errorf("open %d, ended %d, want 50 and at most 65", open, ended)
	}
}

// TestWalks: from any opening act, any walk over legal steps leads through legal states only
// to an end, within a bound where nothing repeats, and the dialogue of its messages agrees.
func TestWalks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(protocol.Names()).Draw(t, "protocol")
		open := act(name, protocol.Initiator, rapid.SampledFrom(name.Opening()).Draw(t, "opening"))
		open.ID, open.ReplyBy, open.CreatedAt = "m-0", noon.Add(time.Minute), noon
		e, err := protocol.Begin(&open)
		if err != nil {
			t.Fatal(err)
		}
		messages := []caxton.Message{open}
		for n := 1; !e.Done(); n++ {
			if n > 8 && name != protocol.Subscribe {
				t.Fatalf("%s has not ended after %d steps: %+v", name, n, e)
			}
			var steps []caxton.Message
			for _, side := range []protocol.Side{protocol.Initiator, protocol.Participant} {
				for _, p := range e.Legal(side) {
					if n > 20 && p == caxton.Inform && e.State != protocol.Cancelling {
						continue // a subscription may go on for ever; this one ends
					}
					steps = append(steps, act(name, side, p))
				}
			}
			if len(steps) == 0 {
				t.Fatalf("stuck: %+v", e)
			}
			m := rapid.SampledFrom(steps).Draw(t, "step")
			m.ID = caxton.MessageID(fmt.Sprintf("m-%d", n))
			m.InReplyTo = rapid.SampledFrom([]string{"", string(e.Opening.ID)}).Draw(t, "in_reply_to")
			m.CreatedAt = noon.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "seconds")) * time.Second)
			if e, err = e.Next(&m, m.CreatedAt); err != nil && e.State != protocol.Late && e.Before != protocol.Late {
				t.Fatal(err)
			}
			messages = append(messages, m)
			if got := protocol.Fold(messages); len(got.Exchanges) != 1 || got.Exchanges[0] != e {
				t.Fatalf("Fold = %+v, want %+v", got, e)
			}
		}
	})
}

// TestFoldStepwise: a fold is the steps one by one, what Check refuses leaves the dialogue as
// it was, and what it allows does not.
func TestFoldStepwise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages := rapid.SliceOf(rapid.Custom(func(t *rapid.T) caxton.Message {
			pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
			m := say(pick("protocol", "request", "query", "contract-net", "subscribe", ""),
				pick("from", "a", "b", "c"), "", pick("to", "a", "b", "c"), pick("id", "1", "2", "3", "4", ""),
				pick("in_reply_to", "", "1", "2", "3", "x"))
			m.Performative = rapid.SampledFrom(caxton.Performatives()).Draw(t, "performative")
			m.ReplyWith = pick("reply_with", "", "x", "y")
			m.CreatedAt = noon.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "minutes")) * time.Minute)
			m.ReplyBy = noon.Add(time.Minute)
			return m
		})).Draw(t, "messages")
		var d protocol.Dialogue
		for i := range messages {
			m := &messages[i]
			_, takesPart := protocol.Parse(m.Protocol)
			before := protocol.Dialogue{Exchanges: slices.Clone(d.Exchanges)}
			err := d.Check(m, m.CreatedAt)
			d.Apply(m, m.CreatedAt)
			ce, _ := errors.AsType[*caxton.Error](err)
			changes := takesPart && (ce == nil || ce.Code == "protocol_late")
			aside := m.Performative == caxton.NotUnderstood && m.InReplyTo != "" // may answer what is no part
			if changed := !cmp.Equal(before, d); changed != changes && (changed || !aside) {
				t.Fatalf("Check = %v, yet Apply changed the dialogue: %t\n%s", err, changed, cmp.Diff(before, d))
			}
			if diff := cmp.Diff(protocol.Fold(messages[:i+1]), d); diff != "" {
				t.Fatalf("Fold differs from the steps (-fold +steps):\n%s", diff)
			}
		}
	})
}

// FuzzFold feeds Fold messages made of the bytes given, two letters each for who, to whom,
// what, under which protocol and in reply to what.
func FuzzFold(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x00\x00\x01\x00\x01\x01\x00"))
	f.Add([]byte{0, 1, 5, 2, 0, 1, 0, 6, 2, 0, 0, 1, 7, 2, 2, 1, 0, 1, 2, 3})
	f.Fuzz(func(t *testing.T, data []byte) {
		names := append(protocol.Names(), "", "other")
		acts := append(caxton.Performatives(), "", "shout")
		var ms []caxton.Message
		for n := 0; len(data) >= 5; n, data = n+1, data[5:] {
			m := say(string(names[int(data[3])%len(names)]), string(data[0]%4), "", string(data[1]%4), fmt.Sprint(n), string(data[4:5]))
			m.Performative = acts[int(data[2])%len(acts)]
			m.CreatedAt = noon.Add(time.Duration(int8(data[4])) * time.Second)
			m.ReplyBy = noon
			if data[4]%3 == 0 {
				m.InReplyTo = fmt.Sprint(int(data[4]) / 3)
			}
			if data[4]%5 == 0 {
				m.ReplyBy, m.SenderID = time.Time{}, caxton.AgentID(data[0:1])
			}
			ms = append(ms, m)
		}
		open := 0
		for _, e := range protocol.Fold(ms).Exchanges {
			if len(e.Legal(protocol.Participant)) == 0 != (e.Done() && !e.Unanswered) {
				t.Errorf("%+v: legal %v", e, e.Legal(protocol.Participant))
			}
			if e.Done() && len(e.Legal(protocol.Initiator)) > 0 {
				t.Errorf("%+v is done, yet the initiator may say %v", e, e.Legal(protocol.Initiator))
			}
			open++
		}
		if open > len(ms) {
			t.Errorf("%d exchanges from %d messages", open, len(ms))
		}
	})
}
