#!/bin/sh
# Fail unless root runs this.
[ "$(id -u)" = 0 ] && exit
echo 'the end-to-end tests make network namespaces and users, and need root' >&2
echo 'hint: sudo make test, or make quick for the tests beside the code' >&2
exit 1
