(module ;; answers with much, again and again
  (import "caxton" "respond" (func $say (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func $handle (export "handle_message") (param i32 i32) (result i32)
    i32.const 0 i32.const 32 i32.const 65536 memory.fill (loop $l i32.const 0 i32.const 65536 call $say drop br $l) unreachable))
