#!/bin/bash
# Show the whole of it on this machine, as an ordinary user and below a
# temporary folder: two private servers on high ports of 127.0.0.1; a message
# by sendmail, one over SMTP, one from the first server to the second, and one
# that has to wait in the queue.
set -eu

binary=$1
if [ "$(id -u)" = 0 ] && [ $# -lt 2 ]; then
	# A server of root's would be the machine's own; nobody serves as well.
	dir=$(mktemp -d)
	cp "$binary" "$0" "$dir"
	chown -R nobody "$dir"
	trap 'rm -rf "$dir"' EXIT
	setpriv --reuid nobody --regid "$(id -g nobody)" --clear-groups \
		env TMPDIR="$dir" bash "$dir/${0##*/}" "$dir/${binary##*/}" again
	exit
fi

me=$(id -un)
work=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
mkdir "$work/bin"
for name in postoffice sendmail mailq smtpd; do ln -s "$(realpath "$binary")" "$work/bin/$name"; done
PATH=$work/bin:$PATH

title() { printf '\n\033[1m%s\033[0m\n' "$*"; }
free() { # a free port from $1 on
	local port=$1
	while answers "$port" 2>/dev/null; do port=$((port + 1)); done
	echo "$port"
}
until_true() { # wait up to 20 s for a command to succeed
	for _ in $(seq 200); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
	echo "waited in vain for: $*" >&2
	cat "$work"/*/log >&2
	exit 1
}

# make NAME PORT OPTION …: a server's folder and configuration.
make() {
	local name=$1 port=$2 home=$work/$1
	shift 2
	mkdir -p "$home/mail"
	echo "postmaster: $me" >"$home/aliases"
	printf '%s\n' "listen=127.0.0.1:$port" "hostname=$name.example" "queue-dir=$home/queue" "mail-dir=$home/mail" \
		"run-dir=$home/run" "db-dir=$home/db" "aliases=$home/aliases" "log=file:$home/log" local-by-dns=no "$@" >"$home/cf"
}
start() { # start NAME PORT
	smtpd -C "$work/$1/cf" -bD 2>>"$work/$1/err" &
	servers+=($!)
	until_true answers "$2"
}
answers() { (exec 3<>/dev/tcp/127.0.0.1/"$1"); }
message() { printf 'Subject: %s\n\n%s\n' "$1" "$2"; }

one=$(free 2525)
two=$(free $((one + 1)))
make first "$one" "relay-host=[127.0.0.1]:$two"
make second "$two"
title "two servers start, on ports $one and $two"
start first "$one"
start second "$two"
second=${servers[1]}
first=$work/first/cf
echo "done; their folders are below $work"

title 'a message by sendmail'
message 'by sendmail' 'From a local program, over a socket.' | sendmail -C "$first" "$me"
echo 'sendmail says: 0, the message is on disk'

title 'a message over SMTP'
exec 3<>/dev/tcp/127.0.0.1/"$one"
smtp() { # wait for a whole reply, then send a line
	local line
	while IFS= read -r line <&3; do
		printf 'S: %s\n' "${line%$'\r'}"
		[ "${line:3:1}" = - ] || break
	done
	if [ $# -gt 0 ]; then
		printf 'C: %s\n' "$@"
		printf '%s\r\n' "$@" >&3
	fi
}
smtp 'EHLO client.example'
smtp 'MAIL FROM:<someone@client.example>'
smtp "RCPT TO:<$me@first.example>"
smtp DATA
smtp 'Subject: over SMTP' '' 'From another machine.' .
smtp QUIT
smtp
exec 3>&-

title 'a message from the first server to the second'
message 'from first to second' 'Through two servers.' | sendmail -C "$first" "$me@second.example"
until_true grep -q '^Subject: by sendmail' "$work/first/mail/$me"
until_true grep -q '^Subject: over SMTP' "$work/first/mail/$me"
until_true grep -q '^Subject: from first' "$work/second/mail/$me"
echo delivered

title 'a message that has to wait: the second server is down'
kill "$second"
wait "$second" || true
message 'it waits' 'It will be tried again.' | sendmail -C "$first" "$me@second.example"
until_true grep -q 'delivery deferred' "$work/first/log"
mailq -C "$first"

title "the mailbox of $me at the first server"
cat "$work/first/mail/$me"
title "the mailbox of $me at the second server"
cat "$work/second/mail/$me"
title 'the log of the first server'
cat "$work/first/log"
title 'the log of the second server'
cat "$work/second/log"
