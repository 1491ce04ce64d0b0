(module ;; grows its table for ever
  (table $t 1 funcref)
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func $handle (export "handle_message") (param i32 i32) (result i32)
    (loop $l ref.null func i32.const 1000 table.grow $t drop br $l) unreachable))
