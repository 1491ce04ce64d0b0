(module ;; says what it can do
  (memory (export "memory") 1)
  (data (i32.const 8) "[\22sums\22, \22text.reading\22]")
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "get_capabilities") (param $p i32) (param i32) (result i32)
    (memory.copy (local.get $p) (i32.const 8) (i32.const 24)) i32.const 24)
  (func (export "handle_message") (param i32 i32) (result i32) i32.const 0))
