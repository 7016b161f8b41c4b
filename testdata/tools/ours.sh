#!/bin/sh
# Another mail server's manual pages have the names of ours.
#   ours.sh check NAME...   fail where one is there that isn't ours, saying what to do
#   ours.sh remove NAME...  remove those that are ours, keep the others
# Ours is a page that speaks of postoffice.
set -eu

what=$1
shift
foreign=
for name; do
	if [ ! -e "$name" ] && [ ! -L "$name" ]; then
		continue
	elif grep -q postoffice "$name"; then
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
hint: remove that server's package first, or install below a PREFIX of its own, as /usr/local
EOF
exit 1
