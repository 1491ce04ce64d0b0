#!/usr/bin/env bash
# Times the built-in embedding model beside onnxruntime, in turns, on one thread and on two.
#
#   scripts/bench-embedding.sh MODEL_DIR [ROUNDS]
#
# MODEL_DIR holds model.safetensors and config.json of all-MiniLM-L6-v2. Needs python3 with the packages
# onnxruntime, onnx, numpy, scipy and safetensors; PYTHON names another python3. About three minutes per six rounds.
set -euo pipefail
cd "$(dirname "$0")/.."
model=${1:?name the directory of the model}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" scripts/embedding_onnx.py "$model" "$work/onnx" 2>/dev/null
CGO_ENABLED=0 go build -o "$work/embedbench" ./internal/embedding/bert/embedbench
grep -m1 'model name' /proc/cpuinfo || true
"$python" scripts/embedding_bench.py "$work/onnx" "$work/embedbench" "${2:-6}"
