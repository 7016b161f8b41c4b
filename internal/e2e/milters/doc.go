//go:build e2e

// Package milters holds end-to-end tests with mail filters of Debian's, unchanged.
//
//	opendkim_test.go  OpenDKIM signs and verifies, and dkimpy agrees
//	waiting_test.go   mail of sendmail waits for a filter, and for the program of av; each
//	                  recipient is judged by itself
//	beside_test.go    the same filter beside Postfix: what goes on, and what it hears
//	secure_test.go    the same in sessions with TLS and a login
//	poison_test.go    filters that one client's letters break, and others' letters
//	hostile_test.go   filters as an enemy would write them, and the running server
//	judges_test.go    clamav-milter, opendmarc, spamass-milter, rspamd: good, bad and odd letters
//	recorder_test.go  what a filter hears, written down
//	sink_test.go      a mail server that keeps what comes
//	python_test.go    pymilter and Sendmail::PMilter: each edit, and refusals
package milters
