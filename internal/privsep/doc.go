// Package privsep is the border between three kinds of processes: the master,
// which is root and touches nothing that a stranger or a user wrote; the
// server, which has no rights and does the work; and one for each user whose
// programs, files or lists are wanted, which has his rights.
//
// It starts and restarts the server, hands it its settings and listening
// sockets, and carries its requests: deliver to a local user, look a local
// name up, run what an alias or a .forward names, read a list. The last two go
// on to the user's process, which is started for them. It does not know what
// SMTP, a queue or a configuration file is.
//
// Invariants:
//   - A request names, it never describes: it holds the name of a local user,
//     a token, and an item by its place and hash, never a uid or a command.
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
//   - A message whose stream ends without its last frame is not delivered: the
//     server may die at any instant.
//   - Ids are switched for one thread, never for the process: the goroutine is
//     locked to it, only the effective ids change (a user must not be able to
//     signal the master), and a thread that can't be switched back ends. No
//     function of package syscall that changes ids for all threads is called.
//   - Children are /proc/self/exe with their role in argv[0] and get the
//     descriptors that are named here, no other. The server is started with
//     no_new_privs, can't be traced by processes of its own user, leaves no
//     core, and ends when its link to the master closes. A user's process has
//     his groups and may gain rights by set-id programs, as whatever he starts.
//
// A run directory belongs to the one process that holds the lock on its file
// "lock". That lock, and nothing else, says that a daemon runs.
package privsep
