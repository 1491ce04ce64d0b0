(module ;; imports a function twice
  (import "caxton" "respond" (func $say (param i32 i32) (result i32)))
  (import "caxton" "respond" (func $too (param i32 i32) (result i32)))
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "1")
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func $handle (export "handle_message") (param i32 i32) (result i32)
    i32.const 8 i32.const 1 call $too))
