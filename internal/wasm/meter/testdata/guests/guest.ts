// The guest in AssemblyScript: the same work as guest.go. It exports it instead of running it.
function fibonacci(n: i32): i32 {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

export function fib(): i32 {
  return fibonacci(27);
}

export function sieve(): i32 {
  const n = 2000000;
  const composite = new Uint8Array(n);
  let count = 0;
  for (let i = 2; i < n; i++) {
    if (composite[i]) continue;
    count++;
    for (let j = 2 * i; j < n; j += i) composite[j] = 1;
  }
  return count;
}

export function matmul(): i32 {
  const n = 200;
  const a = new Float64Array(n * n), b = new Float64Array(n * n), c = new Float64Array(n * n);
  for (let i = 0; i < n * n; i++) {
    a[i] = i % 7;
    b[i] = i % 5;
  }
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let sum: f64 = 0;
      for (let k = 0; k < n; k++) sum += a[i * n + k] * b[k * n + j];
      c[i * n + j] = sum;
    }
  }
  return <i32>(c[n * n - 1] + c[17]);
}

let at = 0;
let sum = 0;

function value(text: string): void {
  const c = text.charCodeAt(at);
  if (c == 91 || c == 123) {
    at++;
    while (text.charCodeAt(at) != 93 && text.charCodeAt(at) != 125) {
      value(text);
      if (text.charCodeAt(at) == 58) {
        at++;
        value(text);
      }
      if (text.charCodeAt(at) != 44) break;
      at++;
    }
    at++;
    return;
  }
  const start = at;
  if (c == 34) {
    at++;
    while (text.charCodeAt(at) != 34) at++;
    sum += at - start - 1;
    at++;
    return;
  }
  while (text.charCodeAt(at) >= 48 && text.charCodeAt(at) <= 57) at++;
  sum += I32.parseInt(text.substring(start, at));
}

export function json(): i32 {
  const records = new Array<string>();
  for (let i = 0; i < 2000; i++) {
    records.push(`{"id":${i},"name":"record ${i}","tags":[${i},${i * 2},${i * 3}]}`);
  }
  const text = "[" + records.join(",") + "]";
  at = 0;
  sum = 0;
  value(text);
  return sum;
}
