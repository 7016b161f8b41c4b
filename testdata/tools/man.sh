#!/bin/sh
# Put what the code knows of options into the manual pages, between their marks.
set -eu
: "${GO:=go}"
table=$(mktemp)
new=$(mktemp)
trap 'rm -f "$table" "$new"' EXIT

# fill PAGE MARK FLAG
fill() {
	CGO_ENABLED=0 $GO run . config "$3" -C /dev/null >"$table"
	awk -v table="$table" -v mark="$2" '
		$0 == ".\\\" " mark ": begin" { print; while ((getline line < table) > 0) print line; skip = 1; next }
		$0 == ".\\\" " mark ": end" { skip = 0 }
		!skip { print }
	' "$1" >"$new"
	cmp -s "$new" "$1" || cat "$new" >"$1"
}

fill docs/man/postoffice.cf.5 options --mdoc
fill docs/man/smtpd.8 once --mdoc-once
