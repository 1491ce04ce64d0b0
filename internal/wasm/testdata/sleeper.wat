(module ;; sleeps for an hour
  (import "caxton" "sleep_micros" (func $sleep (param i64) (result i32)))
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func $handle (export "handle_message") (param i32 i32) (result i32)
    i64.const 3600000000 call $sleep drop i32.const 0))
