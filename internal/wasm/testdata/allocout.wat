(module ;; an allocator that gives what is not there
  (memory (export "memory") 1)
  (func (export "malloc") (param i32) (result i32) i32.const 65530)
  (func (export "handle_message") (param i32 i32) (result i32) i32.const 0)
  (func (export "get_response") (param i32 i32) (result i32) i32.const 0))
