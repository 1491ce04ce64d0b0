#!/bin/sh
# The program may have 90 MiB. It stays small only while no code asks for methods by names that
# are made at run time (reflect's Method and MethodByName, as text/template does): else the linker
# keeps every method of every type, which for the SDKs of the model providers is 17 MB.
set -eu
limit=94371840
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -dumpdep" -o "$dir/caxton" ./cmd/caxton 2>"$dir/deps"
by=$(grep -o '[^ ]* <ReflectMethod>' "$dir/deps" | sort -u | head -5 || true)
if [ -n "$by" ]; then
	echo "these ask for methods by name, so that the linker cannot leave out any:"
	echo "$by"
	exit 1
fi
size=$(wc -c <"$dir/caxton")
echo "the program has $size bytes of $limit"
[ "$size" -le "$limit" ]
