(module ;; has a start function that never ends
  (func $s (loop $l br $l)) (start $s)
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func $handle (export "handle_message") (param i32 i32) (result i32)
    i32.const 0))
