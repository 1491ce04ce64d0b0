(module ;; a reactor that ends itself instead of returning
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "handle_message") (param i32 i32) (result i32) (call $exit (i32.const 0)) i32.const 0))
