// Package guest is the kit for Caxton agents written in Go and compiled to WebAssembly.
//
// A command is a program that answers one message and ends. It is built with
//
//	GOOS=wasip1 GOARCH=wasm go build -o agent.wasm
//
// and calls Run from main:
//
//	func main() {
//		guest.Run(func(m guest.Message) error {
//			return guest.Reply("you said: " + m.Text())
//		})
//	}
//
// A reactor stays and answers one message after the other, some hundred times faster; see
// package reactor. Both may call the functions of this package that talk to the server:
// each takes a grant, which the agent's definition gives. docs/wasm.md of Caxton describes
// what is underneath.
//
// The package needs nothing but the standard library. Outside of wasip1 it compiles, and
// every call of the server fails with ErrNoServer, so that handlers can be tested.
package guest
