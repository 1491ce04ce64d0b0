(module ;; sets a timer and answers with its last figure
  (import "caxton" "respond" (func $say (param i32 i32) (result i32)))
  (import "env" "set_timer" (func $set (param i64) (result i32)))
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "handle_message") (param i32 i32) (result i32)
    (i32.store8 (i32.const 8) (i32.add (i32.const 48) (i32.rem_u (call $set (i64.const 1000)) (i32.const 10))))
    (call $say (i32.const 8) (i32.const 1))))
