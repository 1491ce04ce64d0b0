(module ;; fills much memory again and again
  
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func $handle (export "handle_message") (param i32 i32) (result i32)
    (loop $l i32.const 0 i32.const 1 i32.const 65536 memory.fill br $l) unreachable))
