(module ;; grows its memory until that fails, and then breaks down
  
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func $handle (export "handle_message") (param i32 i32) (result i32)
    (loop $l i32.const 1 memory.grow i32.const -1 i32.ne br_if $l) unreachable))
