(module ;; calls a tool for ever
  (import "caxton" "mcp_call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "calculator{}")
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "handle_message") (param i32 i32) (result i32)
    (loop $l (drop (call $call (i32.const 8) (i32.const 10) (i32.const 18) (i32.const 2))) (br $l)) unreachable))
