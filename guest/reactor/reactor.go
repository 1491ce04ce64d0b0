//go:build wasip1

// Package reactor makes a Go module that stays in the server and answers one message after
// the other. It is built with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o agent.wasm
//
// and sets its handler before the first message comes:
//
//	func init() { reactor.Handle(func(m guest.Message) error { return guest.Reply(m.Text()) }) }
//
//	func main() {} // never called
//
// What the module keeps in variables is there for the next message that happens to reach the
// same instance, and gone when that is released; guest.Store keeps for good.
package reactor

import (
	"encoding/json"
	"unsafe"

	"github.com/caxton/caxton/guest"
)

var (
	handler guest.Handler
	onTimer func(id int32) error
	migrate func(from, to int) error
	blocks  = map[uint32][]byte{} // given to the host, so that the collector leaves them alone
)

// Handle sets the handler of messages.
func Handle(h guest.Handler) {
	handler = h
	guest.AnswerBy(respond)
}

// HandleTimer sets the handler of timers that are due. Without one they are let pass.
func HandleTimer(h func(id int32) error) { onTimer = h }

// Migrate sets what brings the state of the version from over to this one, before its first
// message: with guest.NextKey, Load, Store and Delete. When it changes nothing both versions go
// on with the same state; else this one has a changed copy. An error: this version is not
// deployed, or goes on with what it had. A form that it does not know should be an error.
func Migrate(f func(from, to int) error) { migrate = f }

//go:wasmimport caxton respond
func importRespond(p unsafe.Pointer, n uint32) int32

//go:wasmimport caxton fail
func importFail(p unsafe.Pointer, n uint32) int32

func respond(m guest.Message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	importRespond(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b)))
	return nil
}

func fail(err error) int32 {
	if err == nil {
		return 0
	}
	b := []byte(err.Error())
	importFail(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b)))
	return 1
}

//go:wasmexport caxton_alloc
func alloc(size uint32) uint32 {
	b := make([]byte, max(size, 1))
	p := uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	blocks[p] = b
	return p
}

//go:wasmexport caxton_free
func free(p uint32) { delete(blocks, p) }

//go:wasmexport handle_message
func handleMessage(p, n uint32) int32 {
	if handler == nil {
		return 1
	}
	return fail(guest.HandleJSON(blocks[p][:n], handler))
}

//go:wasmexport handle_timer
func handleTimer(id int32) int32 {
	if onTimer == nil {
		return 0
	}
	return fail(onTimer(id))
}

//go:wasmexport migrate_state
func migrateState(from, to int32) int32 {
	if migrate == nil {
		return 0
	}
	return fail(migrate(int(from), int(to)))
}
