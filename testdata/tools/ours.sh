#!/bin/sh
# Another mail server's sendmail, mailq and manual pages have the names of ours.
#   ours.sh check NAME...   fail where one is there that isn't ours, saying what to do
#   ours.sh remove NAME...  remove those that are ours, keep the others
# Ours is a link to postoffice, or a page that speaks of it.
set -eu

what=$1
shift
foreign=
for name; do
	if [ ! -e "$name" ] && [ ! -L "$name" ]; then
		continue
	elif [ "$(basename "$(readlink "$name" || echo -)")" = postoffice ] || case $name in *.[1-9]) grep -q postoffice "$name" ;; *) false ;; esac; then
		[ "$what" = check ] || rm -f "$name"
	elif [ "$what" = check ]; then
		foreign="$foreign $name"
	else
		echo "kept, since it isn't postoffice's: $name"
	fi
done
[ -z "$foreign" ] && exit
cat >&2 <<EOF
not installed: these belong to another mail server:$foreign
hint: stop and remove that server's package first, or keep it and move them aside, each by
hint: dpkg-divert --local --rename --add NAME; a PREFIX of its own, as /usr/local, needs neither
EOF
exit 1
