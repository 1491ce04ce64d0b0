#!/usr/bin/env bash
# Builds the guests of internal/wasm/meter/testdata/guests into a directory, in each language
# whose compiler is there, and names those it left out:
#   Go    the Go toolchain
#   C     clang, lld, wasi-libc and compiler-rt for wasm32 (Debian: clang lld wasi-libc libclang-rt-dev-wasm32)
#   Rust  a rustc with the target wasm32-wasi or wasm32-wasip1 (Debian: rustc libstd-rust-dev-wasm32), RUSTC=...
#   AssemblyScript  asc (npm install assemblyscript), ASC=...
# Then: CAXTON_WASM_GUESTS=DIR go test -run TestGuests -bench Overhead ./internal/wasm/meter
set -euo pipefail
out=${1:?usage: build-wasm-guests.sh DIRECTORY}
mkdir -p "$out"
cd "$(dirname "$0")/../internal/wasm/meter/testdata/guests"

GOOS=wasip1 GOARCH=wasm go build -o "$out/go.wasm" guest.go && echo "go.wasm"
if clang --target=wasm32-wasi -O2 -g -o "$out/c.wasm" guest.c 2>"$out/c.log"; then echo "c.wasm"; else echo "no C: see $out/c.log"; fi
rustc=${RUSTC:-rustc}
if "$rustc" --target wasm32-wasi -O -o "$out/rust.wasm" guest.rs 2>"$out/rust.log" ||
  "$rustc" --target wasm32-wasip1 -O -o "$out/rust.wasm" guest.rs 2>>"$out/rust.log"; then echo "rust.wasm"; else echo "no Rust: see $out/rust.log"; fi
if "${ASC:-asc}" guest.ts -O3 --runtime stub -o "$out/assemblyscript.wasm" >"$out/assemblyscript.log" 2>&1; then
  echo "assemblyscript.wasm"
else echo "no AssemblyScript: see $out/assemblyscript.log"; fi
