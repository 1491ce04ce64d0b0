(module ;; an Extism plug-in that copies its input byte by byte, and gives it back
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store (param i64 i32)))
  (import "extism:host/env" "input_length" (func $inlen (result i64)))
  (import "extism:host/env" "input_load_u8" (func $in (param i64) (result i32)))
  (import "extism:host/env" "output_set" (func $out (param i64 i64)))
  (memory (export "memory") 1)
  (func (export "handle_message") (result i32) (local $o i64) (local $i i64)
    (local.set $o (call $alloc (call $inlen)))
    (loop $l
      (call $store (i64.add (local.get $o) (local.get $i)) (call $in (local.get $i)))
      (br_if $l (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (call $inlen))))
    (call $out (local.get $o) (local.get $i))
    i32.const 0))
