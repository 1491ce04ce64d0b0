(module ;; a reactor that logs 8 MiB in one line, ten times
  (import "caxton" "console_log" (func $log (param i32 i32)))
  (memory (export "memory") 144)
  (func (export "alloc") (param i32) (result i32) i32.const 8)
  (func (export "handle_message") (param i32 i32) (result i32) (local $i i32)
    (memory.fill (i32.const 0) (i32.const 120) (i32.const 0x800000))
    (loop $l
      (call $log (i32.const 0) (i32.const 0x800000))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))
    (i32.const 0)))
