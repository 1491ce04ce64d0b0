// A reactor in AssemblyScript: answers each message with how many bytes it has.

@external("caxton", "respond")
declare function respond(text: usize, n: usize): i32;

export function caxton_alloc(size: i32): usize {
  return heap.alloc(size);
}

export function caxton_free(at: usize): void {
  heap.free(at);
}

export function handle_message(at: usize, n: i32): i32 {
  const answer = String.UTF8.encode("\"your message has " + n.toString() + " bytes\"");
  return respond(changetype<usize>(answer), answer.byteLength);
}
