(module ;; answers with how often this instance was asked, and stores its end
  (import "caxton" "respond" (func $say (param i32 i32) (result i32))) (import "caxton" "console_log" (func $log (param i32 i32))) (func (export "agent_shutdown") i32.const 16 i32.const 3 call $log)
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (data (i32.const 8) "0")
  (data (i32.const 16) "bye")
  (func $handle (export "handle_message") (param i32 i32) (result i32)
    i32.const 8 i32.const 8 i32.load8_u i32.const 1 i32.add i32.store8 i32.const 8 i32.const 1 call $say))
