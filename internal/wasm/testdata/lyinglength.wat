(module ;; says that its answer is longer than its memory
  (import "caxton" "respond" (func $say (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func $handle (export "handle_message") (param i32 i32) (result i32)
    i32.const 8 i32.const -1 call $say))
