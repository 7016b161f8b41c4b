#!/bin/sh
# Fail with one sentence unless GO is new enough for go.mod.
: "${GO:=go}"
need=$(sed -n 's/^go //p' go.mod)
have=$($GO version 2>/dev/null | sed -n 's/^go version \(devel \)\{0,1\}go\([0-9.]*\).*/\2/p')
[ -n "$have" ] && [ "$(printf '%s\n' "$need" "$have" | sort -V | head -n 1)" = "$need" ] && exit
echo "postoffice needs Go $need or newer, and here is ${have:-none}: README.md says how to get it" >&2
exit 1
