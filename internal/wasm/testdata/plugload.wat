(module ;; an Extism plug-in that reads its input for ever
  (import "extism:host/env" "input_load_u64" (func $in (param i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "handle_message") (result i32)
    (loop $l (drop (call $in (i64.const 0))) (br $l)) i32.const 0))
