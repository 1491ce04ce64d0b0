(module ;; imports one function in two forms
  (import "caxton" "log" (func (param i32 i32)))
  (import "caxton" "log" (func (param i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "handle_message") (param i32 i32) (result i32) i32.const 0))
