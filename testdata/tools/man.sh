#!/bin/sh
# Put the option table of the code into postoffice.cf(5), between its marks.
set -eu
page=docs/man/postoffice.cf.5
table=$(mktemp)
new=$(mktemp)
trap 'rm -f "$table" "$new"' EXIT
CGO_ENABLED=0 go run . config --mdoc -C /dev/null >"$table"
awk -v table="$table" '
	/^\.\\" options: begin/ { print; while ((getline line < table) > 0) print line; skip = 1; next }
	/^\.\\" options: end/ { skip = 0 }
	!skip { print }
' "$page" >"$new"
cmp -s "$new" "$page" || cat "$new" >"$page"
