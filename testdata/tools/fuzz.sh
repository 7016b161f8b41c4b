#!/bin/sh
# Run every fuzz target of every package for FUZZTIME.
set -eu
: "${GO:=go}" "${FUZZTIME:=20s}"
for package in $($GO list ./...); do
	for target in $($GO test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "$package $target"
		CGO_ENABLED=0 $GO test -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" "$package"
	done
done
