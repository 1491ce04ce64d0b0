(module ;; answers by get_response
  (memory (export "memory") 1)
  (func (export "malloc") (param i32) (result i32) local.get 0 i32.const 10000 i32.gt_u (if (result i32) (then i32.const 20000) (else i32.const 1024)))
  (func (export "handle_message") (param i32 i32) (result i32) i32.const 0)
  (func (export "get_response") (param i32 i32) (result i32) local.get 0 i32.const 0x31323334 i32.store i32.const 4))
