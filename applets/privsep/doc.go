// Package privsep is the border between three kinds of processes: the master,
// which is root and touches nothing that a stranger or a user wrote; the
// server, which has no rights and does the work; and one for each user whose
// programs, files or lists are wanted, which has that user's rights.
//
// It starts and restarts the server, hands it its settings and listening
// sockets, and carries its requests: deliver to a local user, look a local
// name up, run what an alias or a .forward names, read a list. The last two go
// on to the user's process, which is started for them. It does not know what
// SMTP, a queue or a configuration file is.
//
// Invariants:
//   - A request names, it never describes: it holds the name of a local user,
//     a token, and an item by its place and hash, never a uid or a command; one
//     to keep a client out holds its address and nothing else.
//     The octets of a message come through a pipe of their own and are copied,
//     not read; the lines of a list go through a pipe that the master passes
//     on and never reads (A71).
//   - What the server sends is decoded by one function with a limit for every
//     field. Whatever a server of ours can't have sent ends it: the master
//     logs the reason, kills it, and starts a new one after 1 to 60 seconds.
//   - The master keeps the result of every delivery until the server says that
//     it is recorded, and gives what it kept to the next server first. A
//     delivery that is asked for again while its result is kept is not done
//     again. So it is with programs.
//   - No process is ever started for uid 0, nor for an alias's program as
//     anybody but the default-user (A43). What a user's process sends is
//     checked as what the server sends: its user may have taken it over.
//   - What hangs on a file system that does not answer has none of the places
//     that others need: it is counted by itself, and answered with a deferral.
//   - A message whose stream ends without its last frame is not delivered: the
//     server may die at any instant.
//   - Ids are switched for one thread, never for the process (privsep/creds). Where a
//     thread can't have ids, mailboxes are written by processes of their users, which
//     run nothing.
//   - Children are this program again (service.Program) with their role in argv[0], and get standard
//     error or /dev/null and their link, nothing else. They can't be traced by
//     other processes of their user, from their first instruction on
//     (privsep/birth), leave no core, have no capability, and end when their link
//     closes. The server has no_new_privs. A user's process has the user's groups
//     and may gain rights by set-id programs, as whatever it starts, but for
//     MasterOptions.Bare.
//   - All threads of the master have the capabilities that it uses and no others,
//     in their permitted, effective and inheritable sets (Prepare).
//
// Files, by the end of the link that they are:
//
//	master_run.go           the master: servers one after the other
//	master_server.go        the master's side of one server's life: its start, what it is
//	                        handed, and clients that it wants kept out
//	master_requests.go      what the server asks for: mailboxes and accounts; results
//	                        that are not recorded yet
//	master_userrequests.go  the same: programs, files and lists of users; the process
//	                        of virtual domains
//	master_users.go         users' processes, as many as are needed
//	master_user.go          the master's side of one of them
//	master_mail.go          mailboxes that users' processes write, where threads have no ids
//	server_link.go          the server's end
//	server_read.go          what the master says
//	server_ask.go           questions, and the link to the process of virtual domains
//	server_deliver.go       deliveries
//	user_link.go            the end of a user's process
//	wire_conn.go            a link: frames and descriptors; one frame as octets
//	wire_ops.go             what a frame can say, and to whom; results as frames
//	wire_stream.go          the octets of a message or a list
package privsep
