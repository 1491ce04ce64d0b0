(module ;; an Extism plug-in that says what went wrong
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store (param i64 i32)))
  (import "extism:host/env" "error_set" (func $err (param i64)))
  (func (export "handle_message") (result i32) (local $o i64)
    i64.const 1 call $alloc local.set $o
    local.get $o i32.const 63 call $store
    local.get $o call $err
    i32.const 1))
