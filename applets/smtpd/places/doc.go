// Package places counts who has a session with the SMTP server, whose it is, and
// what of the server's memory it holds: nobody has more than a share.
//
// It answers nobody and waits for nobody: see applets/smtpd. Its only look outside
// is at the load of the system.
//
// Files:
//
//	places.go places for sessions
//	lists.go  memory for long lists of recipients
//	load.go   the load of the system
package places
