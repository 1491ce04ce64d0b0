//! A reactor: stays in the server and answers each message with a number that it draws.
//! Import only what you use: each function takes a grant.

#[link(wasm_import_module = "caxton")]
extern "C" {
    fn respond(text: *const u8, n: usize) -> i32;
    fn random_u32() -> u32;
}

#[no_mangle]
pub extern "C" fn caxton_alloc(size: usize) -> *mut u8 {
    let mut room = Vec::<u8>::with_capacity(size.max(1));
    let at = room.as_mut_ptr();
    std::mem::forget(room);
    at
}

/// # Safety
/// `at` and `size` are those of a call of caxton_alloc.
#[no_mangle]
pub unsafe extern "C" fn caxton_free(at: *mut u8, size: usize) {
    drop(Vec::from_raw_parts(at, 0, size.max(1)));
}

/// # Safety
/// The server gives a message that it has written to memory of caxton_alloc.
#[no_mangle]
pub unsafe extern "C" fn handle_message(at: *const u8, n: usize) -> i32 {
    let message = std::slice::from_raw_parts(at, n);
    if std::str::from_utf8(message).is_err() {
        return 1;
    }
    let answer = format!("{}", random_u32() % 6 + 1);
    respond(answer.as_ptr(), answer.len())
}
