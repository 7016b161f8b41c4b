#!/bin/sh
# Find a Go that is new enough for go.mod; where all are older, have one of them fetch it.
#   go.sh find   print which one is used: the first that is new enough, in the PATH or where
#                Go and Debian put theirs, which is no matter of a PATH; else the place that
#                an older one fetches it to; without any print go
#   go.sh        see that GO is there: fetch it where it is that place, else say what to do
# find uses no network. What is fetched is the module that a Go from 1.21 on takes by itself
# for another version of its own, kept where that one keeps it, through the proxy and the
# checksum database that the older Go is configured for. GOTOOLCHAIN=local forbids it.
set -eu
: "${GO:=go}"
need=$(sed -n 's/^go //p' go.mod)

# version of a program; fresh reports whether it is new enough.
version() { "$@" version 2>/dev/null | sed -n 's/^go version \(devel \)\{0,1\}go\([0-9.]*\).*/\2/p'; }
fresh() { [ -n "$1" ] && [ "$(printf '%s\n' "$need" "$1" | sort -V | head -n 1)" = "$need" ]; }

# as runs a Go as the version that it is, and away from our go.mod, which one of 1.19 can't read.
as() (cd / && GOTOOLCHAIN=local GO111MODULE=on GOWORK=off exec "$@")

# look sets found to the Go that is used, and older to the one that fetches it, "" without.
look() {
	older=
	for found in go /usr/local/go/bin/go /usr/lib/go-*/bin/go; do
		if fresh "$(version as "$found")"; then
			older=
			return
		fi
		[ -n "$older" ] || ! as "$found" env GOMODCACHE 2>/dev/null | grep -q . || older=$found
	done
	found=${older:-go}
	case ${GOTOOLCHAIN-} in local | path) older= ;; esac
	[ -n "$older" ] || return 0
	cache=$(as "$older" env GOMODCACHE)
	module=golang.org/toolchain@v0.0.1-go$need.$(as "$older" env GOHOSTOS)-$(as "$older" env GOHOSTARCH)
	found=$cache/$module/bin/go
}

# fail SENTENCE HINT
fail() {
	printf '%s\nhint: %s\n' "$1" "$2" >&2
	exit 1
}

# checked has the sum of what is fetched looked up, which no go.sum has and which make runs,
# whatever GONOSUMDB and GOPRIVATE leave out: a Go from 1.21 on does so by itself. Whoever
# has a directory for a proxy vouches for it, as there.
checked() {
	case $(as "$older" env GOPROXY) in
	*,* | *\|*) ;;
	file://*) return ;;
	esac
	[ "$(as "$older" env GOSUMDB)" != off ] ||
		fail "Go $need is not fetched, since GOSUMDB=off keeps it from being checked" 'take that away (unset GOSUMDB; go env -u GOSUMDB), and run make again'
	export GONOSUMDB=none.invalid
}

# fetch has the older Go fetch the other one. The old ones leave it without the right to be
# run; the go itself gets that last, since whoever can run it takes the rest for granted.
fetch() {
	checked
	echo "Go $(version as "$older") is older than $need, which it fetches now: 70 MB, and 240 MB unpacked in $cache" >&2
	elsewhere='have another directory for it, with 2 GB left: GOMODCACHE=/DIRECTORY make'
	if said=$(as "$older" mod download "$module" 2>&1) &&
		said=$(find "${found%/bin/go}/pkg/tool" -type f -exec chmod a+x {} + 2>&1 && chmod a+x "${found%go}gofmt" "$found" 2>&1); then
		[ -z "$(version as "$found")" ] || return 0
		fail "$found was fetched, and can't be run" "is that mounted noexec? $elsewhere"
	fi
	echo "$said" >&2
	case $said in
	*'no space left'* | *'quota exceeded'*) hint="make room there, or $elsewhere" ;;
	*'permission denied'* | *'not permitted'* | *'read-only file'*) hint=$elsewhere ;;
	*'SECURITY ERROR'* | *'checksum mismatch'*) hint='what came is not what Go was published as: keep it from being used, and ask whoever runs the proxy of go env GOPROXY' ;;
	*x509* | *certificate*) hint='sudo apt-get install ca-certificates' ;;
	*) hint="it comes through the proxy that go env GOPROXY names; where that can't be reached, install Go $need or newer yourself" ;;
	esac
	fail "Go $need was not fetched" "$hint"
}

look
if [ "${1-}" = find ]; then
	echo "$found"
	exit
fi
have=$(version $GO) || have=
if fresh "$have"; then
	exit
elif [ -n "$older" ] && [ "$GO" = "$found" ]; then
	fetch
elif [ -n "$have" ]; then
	fail "postoffice needs Go $need or newer, and here is $have" 'make fetches the right one by itself where HOME is set, and GO and GOTOOLCHAIN are not'
else
	fail "postoffice needs Go $need or newer, and here is none" "install your system's, on Debian by: sudo apt-get install golang-go; an older one fetches the right one by itself"
fi
