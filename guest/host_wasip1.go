package guest

import "unsafe"

//go:wasmimport caxton log
func importLog(level int32, p unsafe.Pointer, n uint32)

//go:wasmimport caxton send_message
func importSend(p unsafe.Pointer, n uint32) int32

//go:wasmimport caxton request
func importRequest(p unsafe.Pointer, n uint32) int32

//go:wasmimport caxton call_tool
func importTool(name unsafe.Pointer, nameLen uint32, p unsafe.Pointer, n uint32) int32

//go:wasmimport caxton memory_store
func importMemoryStore(p unsafe.Pointer, n uint32) int32

//go:wasmimport caxton memory_search
func importMemorySearch(p unsafe.Pointer, n uint32) int32

//go:wasmimport caxton memory_relate
func importMemoryRelate(p unsafe.Pointer, n uint32) int32

//go:wasmimport caxton memory_forget
func importMemoryForget(p unsafe.Pointer, n uint32) int32

//go:wasmimport caxton store_data
func importStore(key unsafe.Pointer, keyLen uint32, p unsafe.Pointer, n uint32) int32

//go:wasmimport caxton load_data
func importLoad(key unsafe.Pointer, keyLen uint32, p unsafe.Pointer, size uint32) int32

//go:wasmimport caxton delete_data
func importDelete(key unsafe.Pointer, keyLen uint32) int32

//go:wasmimport caxton next_key
func importNext(key unsafe.Pointer, keyLen uint32, p unsafe.Pointer, size uint32) int32

//go:wasmimport caxton get_config
func importConfig(key unsafe.Pointer, keyLen uint32, p unsafe.Pointer, size uint32) int32

//go:wasmimport caxton set_timer
func importTimer(micros int64) int32

//go:wasmimport caxton cancel_timer
func importCancelTimer(id int32) int32

//go:wasmimport caxton read_result
func importResult(p unsafe.Pointer, size uint32) int32

//go:wasmimport caxton last_error
func importError(p unsafe.Pointer, size uint32) int32

func at(b []byte) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b))
}

// check makes an error of what a call returned.
func check(n int32) error {
	if n >= 0 {
		return nil
	}
	b := make([]byte, 1024)
	p, size := at(b)
	m := importError(p, size)
	if m < 0 || int(m) > len(b) {
		m = 0
	}
	return &Error{Code: int(n), Message: string(b[:m])}
}

// result returns what a call gave.
func result(n int32) ([]byte, error) {
	if err := check(n); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	return b, check(importResult(at(b)))
}

// grow calls f with growing buffers until the value fits.
func grow(f func(b []byte) int32) ([]byte, error) {
	for b := make([]byte, 256); ; {
		n := f(b)
		if err := check(n); err != nil {
			return nil, err
		}
		if int(n) <= len(b) {
			return b[:n], nil
		}
		b = make([]byte, n)
	}
}

func hostLog(level int, s string) {
	p, n := at([]byte(s))
	importLog(int32(level), p, n)
}

func hostSend(b []byte) error { return check(importSend(at(b))) }

func hostRequest(b []byte) ([]byte, error) { return result(importRequest(at(b))) }

func hostTool(name string, args []byte) ([]byte, error) {
	k, kn := at([]byte(name))
	p, n := at(args)
	return result(importTool(k, kn, p, n))
}

func hostMemoryStore(b []byte) ([]byte, error)  { return result(importMemoryStore(at(b))) }
func hostMemorySearch(b []byte) ([]byte, error) { return result(importMemorySearch(at(b))) }
func hostMemoryRelate(b []byte) ([]byte, error) { return result(importMemoryRelate(at(b))) }
func hostMemoryForget(b []byte) ([]byte, error) { return result(importMemoryForget(at(b))) }

func hostStore(key string, value []byte) error {
	k, kn := at([]byte(key))
	p, n := at(value)
	return check(importStore(k, kn, p, n))
}

func hostLoad(key string) ([]byte, error) {
	k, kn := at([]byte(key))
	return grow(func(b []byte) int32 {
		p, n := at(b)
		return importLoad(k, kn, p, n)
	})
}

func hostDelete(key string) error { return check(importDelete(at([]byte(key)))) }

func hostNext(after string) ([]byte, error) {
	k, kn := at([]byte(after))
	return grow(func(b []byte) int32 {
		p, n := at(b)
		return importNext(k, kn, p, n)
	})
}

func hostConfig(key string) ([]byte, error) {
	k, kn := at([]byte(key))
	return grow(func(b []byte) int32 {
		p, n := at(b)
		return importConfig(k, kn, p, n)
	})
}

func hostTimer(micros int64) (int32, error) {
	id := importTimer(micros)
	return id, check(id)
}

func hostCancelTimer(id int32) error { return check(importCancelTimer(id)) }
