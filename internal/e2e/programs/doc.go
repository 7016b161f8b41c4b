// Package programs holds end-to-end tests of Debian's programs that call
// /usr/sbin/sendmail, unchanged, on a root file system of their own.
//
//	root_test.go    the root file system
//	send_test.go    programs that send what they are given
//	daemon_test.go  programs that report by mail
//	alias_test.go   list managers, vacation and filters behind aliases
//	box_test.go     Dovecot, procmail and maildrop as the last hop
//	virtual_test.go virtual domains whose mail Dovecot shows
//	logins_test.go  logins of others' programs; Dovecot, and shadow(5), as who knows the
//	                passwords
//	smarthost_test.go
//	                Postfix and Dovecot as a smarthost that demands a login
//	smarthost_routes_test.go
//	                the same by lines of routes, with a password that a command prints
//	cyrus_test.go   the same with Cyrus SASL
//	token_test.go   the same with tokens, which Dovecot has looked at elsewhere
//	containers_test.go
//	                podman, and the page about containers
//	embedded_test.go
//	                a small root of busybox, and the page about it
//	proxy_test.go   Dovecot's submission service in front of us
package programs
