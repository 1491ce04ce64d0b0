#!/bin/sh
# Builds the modules of the tests: with wat2wasm of wabt, and with clang and wasm-ld.
set -e
cd "$(dirname "$0")"
for f in *.wat; do
	wat2wasm --enable-threads --debug-names "$f" -o "${f%.wat}.wasm"
done
for f in *.c; do
	clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -Wl,--strip-debug -Wl,-z,stack-size=8192 "$f" -o "${f%.c}.wasm"
done
