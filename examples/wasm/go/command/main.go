// Command wordcount answers each message with how many words and lines it has. It is a
// fresh process for each of them.
//
//	GOOS=wasip1 GOARCH=wasm go build -o wordcount.wasm ./command
package main

import (
	"strings"

	"github.com/caxton/caxton/guest"
)

func main() {
	guest.Run(func(m guest.Message) error {
		text := m.Text()
		return guest.Reply(map[string]int{"words": len(strings.Fields(text)), "lines": strings.Count(text, "\n") + 1})
	})
}
