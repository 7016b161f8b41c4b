#!/bin/sh
# Look for known advisories that reach what we link. Those of the standard
# library are printed and not counted: the Go toolchain is the machine's own.
# The database comes as a module, so that this works where only the module
# proxy can be reached; it is kept beside Go's build cache.
set -eu
: "${GO:=go}"
govulncheck=golang.org/x/vuln/cmd/govulncheck@v1.9.0
database=golang.org/x/vulndb

cache=$($GO env GOCACHE)/postoffice-vuln
mkdir -p "$cache"
version=$(cd / && GOFLAGS=-mod=mod $GO list -m -f '{{.Version}}' $database@latest)
index=$cache/$version
if [ ! -d "$index" ]; then
	echo "indexing advisories $version"
	dir=$(cd / && $GO mod download -json $database@"$version" | sed -n 's/^.*"Dir": "\(.*\)".*$/\1/p')
	rm -rf "$index.new"
	$GO run $database/cmd/indexdb@"$version" -vulns "$dir/data/osv" -out "$index.new"
	find "$cache" -mindepth 1 -maxdepth 1 ! -name "$version.new" -exec rm -rf {} +
	mv "$index.new" "$index"
fi
report=$cache/report
$GO run $govulncheck -db "file://$index" ./... >"$report" || true
grep -q '^No vulnerabilities found\|^=== Symbol Results ===' "$report" || { cat "$report" >&2; exit 1; }
if grep -q '^ *Module: ' "$report"; then
	cat "$report" >&2
	exit 1
fi
echo "advisories outside the standard library: none; inside: $(grep -c '^Vulnerability #' "$report" || true)"
