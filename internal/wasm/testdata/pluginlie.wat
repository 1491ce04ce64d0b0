(module ;; an Extism plug-in that sets an output it does not have
  (import "extism:host/env" "output_set" (func $out (param i64 i64)))
  (func (export "handle_message") (result i32)
    i64.const 4096 i64.const -1 call $out i32.const 0))
