(module ;; answers with the message it got; packed pointer and length
  (memory (export "memory") 1)
  (global $next (mut i32) (i32.const 1024))
  (func (export "caxton_alloc") (param $n i32) (result i32) (local $p i32)
    global.get $next local.set $p
    global.get $next local.get $n i32.add i32.const 7 i32.add i32.const -8 i32.and global.set $next
    (if (i32.gt_u (global.get $next) (i32.const 60000)) (then i32.const 1024 global.set $next))
    local.get $p)
  (func (export "caxton_free") (param i32 i32))
  (func (export "handle_message") (param $p i32) (param $n i32) (result i64)
    local.get $p i64.extend_i32_u i64.const 32 i64.shl
    local.get $n i64.extend_i32_u i64.or))
