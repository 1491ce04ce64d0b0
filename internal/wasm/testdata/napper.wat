(module ;; logs that it sleeps, does so for 200 ms, and answers
  (import "caxton" "sleep_micros" (func $sleep (param i64) (result i32)))
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (import "caxton" "respond" (func $say (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "asleep")
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func $handle (export "handle_message") (param i32 i32) (result i32)
    i32.const 8 i32.const 6 call $log
    i64.const 200000 call $sleep drop
    i32.const 20 i32.const 49 i32.store8 i32.const 20 i32.const 1 call $say))
