(module ;; a command that has the server fill much memory, again and again
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 100)
  (func (export "_start") (loop $l (drop (call $random (i32.const 0) (i32.const 6000000))) (br $l))))
