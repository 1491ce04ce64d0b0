// The guest in Rust: the same work as guest.go, with a small reader of JSON of its own.
fn fib(n: u32) -> u64 {
    if n < 2 { n as u64 } else { fib(n - 1) + fib(n - 2) }
}

fn sieve() -> u64 {
    let n = 2_000_000;
    let mut composite = vec![false; n];
    let mut count = 0;
    for i in 2..n {
        if composite[i] {
            continue;
        }
        count += 1;
        let mut j = 2 * i;
        while j < n {
            composite[j] = true;
            j += i;
        }
    }
    count
}

fn matmul() -> u64 {
    let n = 200;
    let a: Vec<f64> = (0..n * n).map(|i| (i % 7) as f64).collect();
    let b: Vec<f64> = (0..n * n).map(|i| (i % 5) as f64).collect();
    let mut c = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..n {
            let mut sum = 0.0;
            for k in 0..n {
                sum += a[i * n + k] * b[k * n + j];
            }
            c[i * n + j] = sum;
        }
    }
    (c[n * n - 1] + c[17]) as u64
}

fn value(text: &[u8], mut p: usize, sum: &mut u64) -> usize {
    match text[p] {
        b'[' | b'{' => {
            p += 1;
            while text[p] != b']' && text[p] != b'}' {
                p = value(text, p, sum);
                if text[p] == b':' {
                    p = value(text, p + 1, sum);
                }
                if text[p] != b',' {
                    break;
                }
                p += 1;
            }
            p + 1
        }
        b'"' => {
            let start = p + 1;
            p = start;
            while text[p] != b'"' {
                p += 1;
            }
            *sum += (p - start) as u64;
            p + 1
        }
        _ => {
            let start = p;
            while text[p].is_ascii_digit() {
                p += 1;
            }
            *sum += std::str::from_utf8(&text[start..p]).unwrap().parse::<u64>().unwrap();
            p
        }
    }
}

fn json() -> u64 {
    let records: Vec<String> = (0..2000)
        .map(|i| format!("{{\"id\":{},\"name\":\"record {}\",\"tags\":[{},{},{}]}}", i, i, i, i * 2, i * 3))
        .collect();
    let text = format!("[{}]", records.join(","));
    let mut sum = 0;
    value(text.as_bytes(), 0, &mut sum);
    sum
}

fn main() {
    let what = std::env::args().nth(1).unwrap_or_default();
    let result = match what.as_str() {
        "fib" => fib(27),
        "sieve" => sieve(),
        "matmul" => matmul(),
        "json" => json(),
        _ => 0,
    };
    println!("{}", result);
}
