// Command clerk stays in the server, counts what it was asked, and shows what a module may
// ask of the server: "remember …", "recall …", "ask AGENT …", "tool NAME {…}", "note …".
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o clerk.wasm ./reactor
package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/caxton/caxton/guest"
	"github.com/caxton/caxton/guest/reactor"
)

func init() { reactor.Handle(handle) }

func main() {}

func handle(m guest.Message) error {
	verb, rest, _ := strings.Cut(m.Text(), " ")
	switch verb {
	case "count":
		return count()
	case "remember":
		res, err := guest.MemoryStore(map[string]any{"entity": m.Sender, "fact": rest})
		return answer(res, err)
	case "recall":
		res, err := guest.MemorySearch(map[string]any{"query": rest})
		return answer(res, err)
	case "tool":
		name, args, _ := strings.Cut(rest, " ")
		res, err := guest.CallTool(name, json.RawMessage(args))
		return answer(res, err)
	case "ask":
		agent, question, _ := strings.Cut(rest, " ")
		q, err := guest.Say("request", question)
		if err != nil {
			return err
		}
		q.Receiver = agent
		as, err := guest.Ask(q)
		if err != nil {
			return err
		}
		return guest.Reply(as)
	case "note":
		guest.Logf(guest.Info, "noted: %s", rest)
		return guest.Reply("noted")
	case "greeting":
		g, ok, err := guest.Config("greeting")
		if err != nil || !ok {
			return fmt.Errorf("no greeting: %w", err)
		}
		return guest.Reply(g)
	}
	return guest.Reply(m.Text())
}

// count says how many messages of this sort there were, over restarts too.
func count() error {
	n := 0
	b, ok, err := guest.Load("count")
	if err != nil {
		return err
	}
	if ok {
		if n, err = strconv.Atoi(string(b)); err != nil {
			return err
		}
	}
	n++
	if err := guest.Store("count", strconv.AppendInt(nil, int64(n), 10)); err != nil {
		return err
	}
	return guest.Reply(n)
}

func answer(res json.RawMessage, err error) error {
	if err != nil {
		return err
	}
	return guest.Reply(res)
}
