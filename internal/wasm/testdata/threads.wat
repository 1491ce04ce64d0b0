(module ;; shares its memory
  (memory (export "memory") 1 2 shared)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "handle_message") (param i32 i32) (result i32) i32.const 0))
