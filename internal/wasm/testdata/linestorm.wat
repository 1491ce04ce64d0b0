(module ;; a command that logs 2000 lines of one byte
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\20\00\00\00\02\00\00\00")
  (data (i32.const 32) "x\0a")
  (func (export "_start") (local $i i32)
    (loop $l
      (drop (call $write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 200)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2000))))))
