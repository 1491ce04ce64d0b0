#!/usr/bin/env bash
# Holds internal/mcp against the reference servers of MCP and against the client scenarios of
# its conformance suite, all from npm. Installs what it needs into .tools/mcp.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/.tools/mcp
if [ ! -x "$tools/node_modules/.bin/conformance" ] || [ ! -x "$tools/node_modules/.bin/node" ]; then
  echo "installing the reference servers and the conformance suite"
  mkdir -p "$tools"
  npm install --silent --no-fund --no-audit --prefix "$tools" \
    node@22 @modelcontextprotocol/server-everything@2026 @modelcontextprotocol/server-memory@2026 @modelcontextprotocol/conformance@0.1.16
fi
bin=$tools/node_modules/.bin
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

echo "== reference servers"
CAXTON_TEST_MCP_BIN=$bin go test -count=1 -timeout 180s -v -run '^TestReference' ./internal/mcp >"$tmp/reference.log" 2>&1 || failed=1
grep -E '^(=== RUN|--- |    reference_test|ok|FAIL)' "$tmp/reference.log" || cat "$tmp/reference.log"

# The scenarios that pass, and those that cannot: nobody answers questions of servers here
# (elicitation), and signing in takes a person at a browser (auth).
echo "== conformance suite, client scenarios"
go build -o "$tmp/client" ./internal/mcp/conformance
pass="initialize tools_call sse-retry"
scenarios=$("$bin/node" "$bin/conformance" list 2>/dev/null | sed -n '/^Client scenarios/,$p' | sed -n 's/^  - \([^ ]*\).*/\1/p')
for scenario in $scenarios; do
  log=$tmp/$(tr / _ <<<"$scenario").log
  if (cd "$tmp" && PATH="$bin:$PATH" timeout 60 "$bin/node" "$bin/conformance" client --command "$tmp/client" --scenario "$scenario") >"$log" 2>&1; then
    result=PASS
  else
    result=FAIL
  fi
  want=FAIL
  case " $pass " in *" $scenario "*) want=PASS ;; esac
  note=
  if [ "$result" != "$want" ]; then
    note="  (expected $want)"
    [ "$want" = PASS ] && { failed=1; tail -20 "$log"; }
  fi
  printf '%-4s %-45s %s%s\n' "$result" "$scenario" "$(sed -n 's/^Passed: //p' "$log" | head -1)" "$note"
done
[ "$failed" = 0 ] && echo "PASS: reference servers and the expected scenarios" || { echo "FAIL"; exit 1; }
