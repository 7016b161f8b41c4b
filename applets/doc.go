// Package applets is the programs of the binary: each is a cmdline.Applet, a
// value that describes it and a Run that reads top down: flags, open, work.
// Main picks it by argv[0], or by argv[1] after postoffice.
//
// It opens no queue and speaks no protocol: client reaches the server, server
// is one, and cmdline has what all programs share.
//
// Invariants:
//   - No os.Exit and no globals: a test runs a program with its own Env.
//   - What is printed is for people; with --json it is for programs, one object
//     a line.
//
// Files:
//   - applets.go: the list of programs, and Main
//   - sendmail.go, smtpd.go, mailq.go, runq.go, queue.go, route.go, sessions.go, newaliases.go, config.go, checkrelay.go, milter.go: a program each
//   - aliascheck.go: what is wrong or odd in an alias file
//   - messagetext.go: a message in sentences
//   - queuefilter.go: queue's --to, --from and the like, and how what became of each
//     message is told
package applets
