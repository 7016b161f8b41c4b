// Package peers holds end-to-end tests against other programs that speak SMTP or
// read mailboxes, unpacked from Debian's packages.
//
//	exchange_test.go    Postfix and Exim, both ways
//	messages_test.go    a collection of messages, each way through all of them
//	text_test.go        what may differ between sent and arrived
//	load_test.go        ten thousand messages
//	onesession_test.go  a host that takes one session at a time
//	sink_test.go        smtp-sink in its moods
//	swaks_test.go       dialogues with swaks
//	front_test.go       HAProxy in front, and XCLIENT
//	tls_test.go         TLS to peers
//	starttls_test.go    TLS from peers and clients, and a renewed certificate
//	tlsagain_test.go    TLS once more: resumed sessions, renegotiation, early data
//	return_test.go      bounces from and to others
//	readers_test.go     mutt and Dovecot while mail arrives
package peers
