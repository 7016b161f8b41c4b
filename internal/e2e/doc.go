// Package e2e holds the end-to-end suite: real clients and servers from Debian
// packages against the real binary, each host in a network namespace of its own
// with its own passwd, hosts and resolv.conf.
//
// The tests carry the build tag e2e and run as root; `make test` installs what
// they need. Peers that conflict as packages are unpacked, never installed.
// Everything they send goes to addresses of namespaces that they made, and they
// end only processes that they started.
package e2e
