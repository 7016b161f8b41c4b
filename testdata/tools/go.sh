#!/bin/sh
# Find a Go that is new enough for go.mod.
#   go.sh        fail with one sentence unless GO is
#   go.sh find   print the first one: in the PATH, or where Go and Debian put theirs,
#                which is no matter of a PATH; without one print go
: "${GO:=go}"
need=$(sed -n 's/^go //p' go.mod)

# version of a program; fresh reports whether it is new enough.
version() { "$@" version 2>/dev/null | sed -n 's/^go version \(devel \)\{0,1\}go\([0-9.]*\).*/\2/p'; }
fresh() { [ -n "$1" ] && [ "$(printf '%s\n' "$need" "$1" | sort -V | head -n 1)" = "$need" ]; }

if [ "${1-}" = find ]; then
	for go in go /usr/local/go/bin/go /usr/lib/go-*/bin/go; do
		if fresh "$(version "$go")"; then
			echo "$go"
			exit
		fi
	done
	echo go
	exit
fi
have=$(version $GO)
fresh "$have" && exit
echo "postoffice needs Go $need or newer, and here is ${have:-none}: README.md says how to get it" >&2
exit 1
