(module ;; answers with the memory of the message, and wipes what it gets back
  (memory (export "memory") 1)
  (global $freed (mut i32) (i32.const 0))
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "free") (param $p i32) (param $n i32)
    (if (global.get $freed) (then unreachable))
    (global.set $freed (i32.const 1))
    (memory.fill (local.get $p) (i32.const 0) (local.get $n)))
  (func (export "handle_message") (param $p i32) (param $n i32) (result i64)
    (global.set $freed (i32.const 0))
    local.get $p i64.extend_i32_u i64.const 32 i64.shl
    local.get $n i64.extend_i32_u i64.or))
