// Package user does what is done with one user's rights, in a process of that
// user: it reads .forward files and lists, runs programs and appends to files.
//
// It never does anything as root, and never takes what is to be run from who
// asks: the item is named, and found in the file where it stands by the hash of
// its text (A18, A71).
//
// Invariants:
//   - A file counts if the user or root alone can have written it, as its open
//     descriptor says (A49).
//   - Nothing is read or run with uid 0 (A43).
//   - What comes from mail is never part of a command, and harmless in the
//     environment of a program (A20).
//   - A program that got a part of a message is ended before its input is.
//   - A program inherits none of our descriptors, nothing of our environment
//     and no ignored signal.
//
// Files:
//
//	user.go          User, and one job from the beginning to the end
//	item.go          finding an item where it stands
//	list.go          reading a list that an alias names
//	forward.go       reading a .forward
//	usermap.go       reading what option usermap says
//	ownfile.go       a file that only the user can have written
//	program.go       running a program
//	launch_linux.go, launch_other.go
//	                 starting it with nothing of ours
//	command.go       its words, and whether it needs a shell
//	environment.go   what it is told
//	exit.go          what its exit code means
//	mailer.go        the command of option mailer
//	scanner.go       that of option av
//	startable.go     whether a program would be started
package user
