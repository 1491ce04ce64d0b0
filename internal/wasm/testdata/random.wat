(module ;; answers with a random number
  (import "caxton" "respond" (func $say (param i32 i32) (result i32))) (import "env" "random_u32" (func $rnd (result i32)))
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func $handle (export "handle_message") (param i32 i32) (result i32)
    i32.const 8 call $rnd i32.const 9 i32.rem_u i32.const 49 i32.add i32.store8 i32.const 9 call $rnd i32.const 9 i32.rem_u i32.const 49 i32.add i32.store8 i32.const 8 i32.const 2 call $say))
