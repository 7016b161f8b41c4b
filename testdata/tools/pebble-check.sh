#!/bin/sh
# Run Pebble's own tests in a copy of the module, once with the real
# cockroachdb/errors and Prometheus client and once with standin's, at the
# versions of our go.mod otherwise, and compare test by test.
# PACKAGES picks packages, KEEP a directory for the logs.
set -eu
: "${GO:=go}" "${PACKAGES:=./record ./wal ./vfs/... ./sstable/... ./internal/manifest .}"
# More than 24 GB of memory.
SKIP='^TestMultipleKVBlockRestartsOverflow$'
here=$(pwd)
pebble=github.com/cockroachdb/pebble/v2
dir=$($GO list -m -f '{{.Dir}}' $pebble)
[ -n "$dir" ] || dir=$($GO mod download -json $pebble | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
work=${KEEP:-$(mktemp -d)}
mkdir -p "$work"
[ -n "${KEEP:-}" ] || trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

for kind in real lean; do
	rm -rf "${work:?}/$kind"
	cp -r "$dir" "$work/$kind"
	chmod -R u+w "$work/$kind"
done
cp -r internal/dbm/standin "$work/standin"

# Two of Pebble's tests read a histogram through Prometheus' protocol types.
cat >"$work/standin/prometheus/prometheus/write.go" <<'GO'
package prometheus

import dto "github.com/prometheus/client_model/go"

func (h *histogram) Write(m *dto.Metric) error {
	m.Histogram = &dto.Histogram{}
	var n uint64
	for i := range h.counts {
		n += h.counts[i].Load()
		if i < len(h.limits) {
			m.Histogram.Bucket = append(m.Histogram.Bucket, &dto.Bucket{CumulativeCount: ref(n), UpperBound: ref(h.limits[i])})
		}
	}
	m.Histogram.SampleCount = &n
	return nil
}

func ref[T any](v T) *T { return &v }
GO
(cd "$work/standin/prometheus" && $GO mod edit -require=github.com/prometheus/client_model@v0.3.0)

# run KIND: the tests. KIND.tests gets a line "pass|fail|skip PACKAGE [TEST]" for
# each; subtests are left out, since many have random names.
run() {
	cd "$work/$1"
	GOWORK=off GOFLAGS=-mod=mod $GO test -json -count=1 -vet=off -timeout 60m -skip "$SKIP" $PACKAGES >"$work/$1.json" 2>"$work/$1.err" || true
	cd "$here"
	sed -n 's/.*"Action":"\(pass\|fail\|skip\)","Package":"\([^"]*\)",\("Test":"\([^"\/]*\)",\)\{0,1\}"Elapsed".*/\1 \2 \4/p' "$work/$1.json" |
		sed 's/ *$//' | sort -k2 >"$work/$1.tests"
	echo "$1: $(awk 'NF == 3 { n[$1]++ } END { printf "%d tests pass, %d fail, %d are skipped", n["pass"], n["fail"], n["skip"] }' "$work/$1.tests")"
	awk '$1 == "fail" { print "  fails: " $2, $3 }' "$work/$1.tests"
}

for kind in real lean; do
	(cd "$work/$kind" && $GO -C "$here" list -m -f '{{if not .Main}}{{.Path}}@{{.Version}}{{end}}' all |
		grep -v -e ^$pebble@ -e ^postoffice -e ^github.com/cockroachdb/errors@ -e ^github.com/prometheus/client_golang@ |
		sed 's/^/-require=/' | xargs $GO mod edit)
done
(cd "$work/lean" && $GO mod edit -replace=github.com/cockroachdb/errors="$work/standin/errors" \
	-replace=github.com/prometheus/client_golang="$work/standin/prometheus")
run real
run lean
if [ ! -s "$work/lean.tests" ]; then
	cat "$work/lean.err" >&2
	exit 1
fi
# What fails with the real ones too says nothing of ours.
{
	awk 'NR == FNR { real[$2 " " $3] = $1; next } $1 == "fail" && real[$2 " " $3] != "fail" { print "fails with standin only:", $2, $3 }' \
		"$work/real.tests" "$work/lean.tests"
	awk 'NR == FNR { lean[$2 " " $3]; next } !(($2 " " $3) in lean) { print "not run with standin:", $2, $3 }' \
		"$work/lean.tests" "$work/real.tests"
} >"$work/different"
if [ -s "$work/different" ]; then
	cat "$work/different"
	exit 1
fi
echo 'no test differs'
