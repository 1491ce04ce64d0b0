(module ;; an Extism plug-in: answers with a JSON text of what its configuration, a variable and its log say
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store (param i64 i32)))
  (import "extism:host/env" "input_length" (func $inlen (result i64)))
  (import "extism:host/env" "input_load_u8" (func $in (param i64) (result i32)))
  (import "extism:host/env" "output_set" (func $out (param i64 i64)))
  (import "extism:host/env" "var_get" (func $get (param i64) (result i64)))
  (import "extism:host/env" "var_set" (func $set (param i64 i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "load_u8" (func $load (param i64) (result i32)))
  (import "extism:host/env" "log_info" (func $log (param i64)))
  (memory (export "memory") 1)
  (func $key (result i64) (local $k i64)
    i64.const 1 call $alloc local.set $k
    local.get $k i32.const 107 call $store
    local.get $k)
  (func (export "handle_message") (result i32) (local $o i64) (local $v i64) (local $n i32)
    i64.const 1 call $alloc local.set $o
    ;; the number of this message: one more than the variable k
    i32.const 48 local.set $n
    call $key call $get local.tee $v i64.eqz
    (if (then) (else local.get $v call $load local.set $n))
    local.get $o local.get $n i32.const 1 i32.add call $store
    call $key local.get $o call $set
    local.get $o call $log
    ;; the input begins with a brace
    i64.const 0 call $in i32.const 123 i32.ne (if (then unreachable))
    local.get $o i64.const 1 call $out
    i32.const 0))
