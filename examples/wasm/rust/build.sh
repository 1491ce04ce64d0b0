#!/bin/sh
# Builds the Rust examples with rustc alone. Older compilers call the target wasm32-wasi
# (Debian: rustc libstd-rust-dev-wasm32), newer ones wasm32-wasip1.
set -e
cd "$(dirname "$0")"
: "${RUSTC:=rustc}"
wasi=wasm32-wasip1
"$RUSTC" --print target-list | grep -qx "$wasi" || wasi=wasm32-wasi
flags="--edition 2021 -C opt-level=s -C lto -C panic=abort -C strip=symbols"
"$RUSTC" $flags --target "$wasi" --crate-type bin -o command.wasm src/command.rs
"$RUSTC" $flags --target wasm32-unknown-unknown --crate-type cdylib -o reactor.wasm src/reactor.rs
