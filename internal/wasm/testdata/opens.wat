(module ;; a command that opens a file 200 times and ends with how often it could
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "own")
  (func (export "_start") (local $n i32) (local $ok i32)
    (loop $l
      (if (i32.eqz (call $open (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 3) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 64)))
        (then (local.set $ok (i32.add (local.get $ok) (i32.const 1)))))
      (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 200))))
    (call $exit (local.get $ok))))
