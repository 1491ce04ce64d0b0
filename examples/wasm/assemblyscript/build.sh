#!/bin/sh
# Builds the AssemblyScript example: npm install --no-save assemblyscript first.
set -e
cd "$(dirname "$0")"
: "${ASC:=npx asc}"
$ASC reactor.ts -O --runtime minimal -o reactor.wasm
