#!/bin/sh
# Fail with the names of the Go files that gofmt would change.
set -eu
files=$("$(${GO:-go} env GOROOT)/bin/gofmt" -l .)
if [ -n "$files" ]; then
	echo 'gofmt would change:' >&2
	echo "$files" >&2
	exit 1
fi
