// Package programs holds end-to-end tests of Debian's programs that call
// /usr/sbin/sendmail, unchanged, on a root file system of their own.
//
//	root_test.go    the root file system
//	send_test.go    programs that send what they are given
//	daemon_test.go  programs that report by mail
//	alias_test.go   list managers, vacation and filters behind aliases
//	box_test.go     Dovecot, procmail and maildrop as the last hop
package programs
