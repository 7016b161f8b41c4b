// Package flow holds end-to-end tests of a message's way: from swaks and sendmail
// through the queue to mailboxes, programs, files and the next server, as a root
// tree and as a user's own server.
//
//	demo_test.go            what README tells a newcomer to run first
//	flow_test.go            mailbox and next server, aliases, relay-host
//	agents_test.go          programs, files and lists, and whose they are
//	agents_odd_test.go      a machine as administrators and users leave it
//	forwardloop_test.go     .forward files that lead round between two servers
//	pauses_test.go          logins that failed, where no server stays
//	mended_test.go          a configuration that is wrong, and mended
//	modes_test.go           sendmail's modes, super-server, --wait, -bv
//	maildrop_test.go        what waits without a server
//	shares_test.go          what waits in a small spool, and whose it is
//	queue_test.go           the queue command
//	descriptors_test.go     a server without descriptors
//	restart_test.go         servers that stop or restart while mail comes
//	submit_forms_test.go    sendmail where no set-id bit is of use
//	submit_inherit_test.go  what a caller hands down to sendmail
//	many_test.go            messages for more recipients than a stranger may name
//	loop_test.go            a .forward that sends bounces on
//	limits_test.go          limits at work, clients that leave, queue times
//	coal_test.go            clients that are kept out by the packet filter
//	authexpire_test.go      the greylist as its administrator sees it
//	crowd_test.go           users who want all connections
//	processes_test.go       the processes, as ps and pgrep see them
//	rights_test.go          ids and capabilities of each of them
//	virtual_test.go         virtual domains
//	virtual_login_test.go   their users log in
//	virtual_mail_test.go    aliases of theirs that lead round, and what their users send
//	activate_test.go        sockets from a service manager
package flow
