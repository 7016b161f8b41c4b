#!/bin/sh
# Write the source of HEAD with the modules that it needs, so that it builds without a
# network, as postoffice-VERSION.tar.gz into DIR. The same commit gives the same octets.
#   dist.sh DIR
set -eu

: "${GO:=go}"
dir=$(cd "$1" && pwd)
version=$(sed -n 's/^const Release = "\(.*\)"$/\1/p' applets/cmdline/version.go)
name=postoffice-$version
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

git archive --prefix="$name/" HEAD | tar -x -C "$tmp"
git describe --always --abbrev=12 --exclude '*' HEAD >"$tmp/$name/.commit"
(cd "$tmp/$name" && GOFLAGS=-mod=mod $GO mod vendor)
tar -C "$tmp" --sort=name --mtime="@$(git log -1 --format=%ct)" --owner=0 --group=0 --numeric-owner \
	--mode=u=rwX,go=rX --format=gnu -cf "$tmp/$name.tar" "$name"
gzip -9n "$tmp/$name.tar"
mv "$tmp/$name.tar.gz" "$dir/$name.tar.gz"
echo "$dir/$name.tar.gz"
