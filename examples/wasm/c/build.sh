#!/bin/sh
# Builds the C examples. The reactor needs clang and lld; the command wasi-libc and the
# compiler's runtime for wasm32 besides (Debian: clang lld wasi-libc libclang-rt-dev-wasm32).
set -e
cd "$(dirname "$0")"
for f in reactor reactor2; do
	clang --target=wasm32 -Os -nostdlib -Wl,--no-entry -Wl,--strip-debug -Wl,-z,stack-size=16384 -o $f.wasm $f.c
done
clang --target=wasm32-wasi -Os -Wl,--strip-all -o command.wasm command.c
