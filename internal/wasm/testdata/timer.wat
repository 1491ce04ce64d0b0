(module ;; answers a timer by its number
  (import "caxton" "set_timer" (func $set (param i64) (result i32))) (import "caxton" "respond" (func $say (param i32 i32) (result i32))) (func (export "handle_timer") (param i32) (result i32) i32.const 8 local.get 0 i32.const 48 i32.add i32.store8 i32.const 8 i32.const 1 call $say)
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func $handle (export "handle_message") (param i32 i32) (result i32)
    i32.const 0))
