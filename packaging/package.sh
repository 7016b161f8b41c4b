#!/bin/sh
# Make the packages deb, rpm and apk, or those that are named, in a directory:
#   packaging/package.sh dist [deb|rpm|apk ...]
# BINARY is one that is built already, else it is built here, for GOARCH. VERSION and
# RELEASE are those of the tree unless they are set. The same tree gives the same
# octets: all times are SOURCE_DATE_EPOCH, or that of the last commit.
set -eu
cd "$(dirname "$0")/.."

NFPM=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
out=$1
shift
[ $# -gt 0 ] || set -- deb rpm apk

: "${GO:=go}" "${RELEASE:=1}"
: "${VERSION:=$(sed -n 's/^const Release = "\(.*\)"$/\1/p' applets/cmdline/version.go)}"
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}"
: "${MAINTAINER:=postoffice maintainers <maintainers@postoffice.example>}"
GOARCH=${GOARCH:-$($GO env GOARCH)}
export VERSION RELEASE SOURCE_DATE_EPOCH MAINTAINER GOARCH
umask 022
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -z "${BINARY:-}" ]; then
	BINARY=$work/postoffice
	make -s GO="$GO" OUT="$BINARY"
fi

# page FILE NAME puts a page of the manual where its section says.
page() {
	dir=$STAGE/doc/usr/share/man/man$(echo "$2" | sed 's/.*\.\([1-9]\)[a-z]*$/\1/')
	mkdir -p "$dir"
	gzip -9nc "$1" >"$dir/$2.gz"
}

# stage FORMAT lays out what goes below /usr, and /etc/postoffice.cf.
stage() {
	STAGE=$work/$1
	export STAGE
	usr=$STAGE/usr
	doc=$STAGE/doc/usr/share/doc/postoffice
	mkdir -p "$usr/sbin" "$doc" "$STAGE/etc"
	install -m 755 "$BINARY" "$usr/sbin/postoffice"
	for file in docs/man/*.[1-9]; do
		name=${file##*/}
		case $1:$name in
		*:mailaddr.7) name=mailaddr.7postoffice ;; # the project man-pages has one of this name
		rpm:mailq.1 | rpm:newaliases.1 | rpm:aliases.5 | rpm:sendmail.8)
			name=${name%.*}.postoffice.${name##*.} ;; # alternatives lead there
		esac
		page "$file" "$name"
	done
	install -D -m 644 packaging/completions/postoffice.bash "$usr/share/bash-completion/completions/postoffice"
	case $1 in
	deb) zsh=vendor-completions ;;
	*) zsh=site-functions ;;
	esac
	install -D -m 644 packaging/completions/_postoffice "$usr/share/zsh/$zsh/_postoffice"
	install -D -m 644 packaging/completions/postoffice.fish "$usr/share/fish/vendor_completions.d/postoffice.fish"
	if [ "$1" != apk ]; then
		for unit in packaging/systemd/*; do
			install -D -m 644 "$unit" "$usr/lib/systemd/system/${unit##*/}"
		done
		install -D -m 644 packaging/sysusers/postoffice.conf "$usr/lib/sysusers.d/postoffice.conf"
		install -D -m 644 packaging/tmpfiles/postoffice.conf "$usr/lib/tmpfiles.d/postoffice.conf"
	fi
	gzip -9nc CHANGELOG.md >"$doc/changelog.gz"
	install -m 644 README.md "$doc/README.md"
	install -d "$doc/docs" "$doc/docs/decisions" # which it leads to
	install -m 644 docs/*.md "$doc/docs"
	install -m 644 docs/decisions/*.md "$doc/docs/decisions"
	install -m 644 packaging/copyright "$doc/copyright"
	install -m 644 packaging/postoffice.cf "$STAGE/etc/postoffice.cf"
	if [ "$1" = deb ]; then
		cat packaging/deb/mailname.cf >>"$STAGE/etc/postoffice.cf"
		changelog | gzip -9nc >"$doc/changelog.Debian.gz"
		install -D -m 644 packaging/deb/lintian-overrides "$usr/share/lintian/overrides/postoffice"
	fi
}

# changelog is Debian's, which has nothing of its own to say.
changelog() {
	printf 'postoffice (%s-%s) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- %s  %s\n' \
		"$VERSION" "$RELEASE" "$MAINTAINER" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

(unset GOARCH GOFLAGS; CGO_ENABLED=0 GOBIN="$work" "$GO" install "$NFPM") >&2
for format; do
	stage "$format"
	type= # the other formats leave out what is of this one
	[ "$format" != rpm ] || type='type: doc'
	(cd "$work/$format/doc" && find usr -type f | LC_ALL=C sort) | sed "s|.*|  - {src: $work/$format/doc/&, dst: /&, $type}|" >"$work/docs"
	sed "/# Here package.sh names/r $work/docs" packaging/nfpm.yaml >"$work/nfpm.yaml"
	"$work/nfpm" package --config "$work/nfpm.yaml" --packager "$format" --target "$out"
done
