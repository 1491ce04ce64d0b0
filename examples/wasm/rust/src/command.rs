//! A WASI command: reads the message on standard input and answers on standard output.

use std::io::Read;

fn main() -> std::io::Result<()> {
    let mut message = String::new();
    std::io::stdin().read_to_string(&mut message)?;
    println!(
        "{{\"performative\": \"inform\", \"content\": \"your message has {} characters\"}}",
        message.chars().count()
    );
    Ok(())
}
