(module ;; says the content of the message as it is: what stands between "content": and ,"created_at"
  (import "caxton" "respond" (func $say (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "\22content\22:")
  (data (i32.const 32) ",\22created_at\22")
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func $at (param $p i32) (param $text i32) (param $n i32) (result i32) (local $i i32)
    (loop $l
      (if (i32.ne (i32.load8_u (i32.add (local.get $p) (local.get $i))) (i32.load8_u (i32.add (local.get $text) (local.get $i)))) (then (return (i32.const 0))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (local.get $n))))
    i32.const 1)
  (func (export "handle_message") (param $p i32) (param $n i32) (result i32) (local $q i32)
    (loop $l
      (if (i32.eqz (call $at (local.get $p) (i32.const 8) (i32.const 10)))
        (then (local.set $p (i32.add (local.get $p) (i32.const 1))) (br $l))))
    (local.set $p (i32.add (local.get $p) (i32.const 10)))
    (local.set $q (local.get $p))
    (loop $l
      (if (i32.eqz (call $at (local.get $q) (i32.const 32) (i32.const 13)))
        (then (local.set $q (i32.add (local.get $q) (i32.const 1))) (br $l))))
    (call $say (local.get $p) (i32.sub (local.get $q) (local.get $p)))))
