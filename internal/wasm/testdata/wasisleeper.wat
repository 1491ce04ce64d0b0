(module ;; a command that logs that it sleeps, and does so for an hour
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "asleep\n")
  (data (i32.const 16) "\08\00\00\00\07\00\00\00")
  (func (export "_start")
    (drop (call $write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 200)))
    (i32.store (i32.const 80) (i32.const 1)) ;; of the monotonic clock
    (i64.store (i32.const 88) (i64.const 3600000000000))
    (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 192)))))
