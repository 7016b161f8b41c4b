// Package places counts who has a session with the SMTP server, whose it is, and
// what of the server's disk and memory it holds: nobody has more than a share.
//
// It answers nobody and waits for nobody: see applets/smtpd. Its only look outside
// is at the load of the system.
//
// Files:
//
//	places.go     places for sessions
//	unfinished.go room for what is being received
//	lists.go      memory for long lists of recipients
//	load.go       the load of the system
package places
