(module ;; answers with what is not JSON
  (import "caxton" "respond" (func $say (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (data (i32.const 8) "\22fine\22\n{\22content\22: nope}")
  (func $handle (export "handle_message") (param i32 i32) (result i32)
    i32.const 8 i32.const 24 call $say))
