// Package vhost knows the virtual domains of this machine: domains whose users have
// no account, only a line in a file.
//
// It never delivers, decides no route and switches no ids: who calls it has the
// rights to read the files, which is a process of the vhost-user's where there is a
// server of root's (decisions/0026).
//
// Invariants:
//   - Only a definite answer is "no". A file that can't be read, is somebody else's
//     or changes while it is read, and a line that can't be understood, mean later.
//   - A broken line costs its own domain or user, and nobody else.
//   - A question waits for the files of its own domain alone; large passwd files are
//     read two at a time.
//   - What is kept of files is bounded by maxIndexed and maxKept in memory, and by
//     vhost/index on disk, whatever they hold.
//   - An index that was kept makes nobody unknown: it is of the very file that is there,
//     or isn't used, and so where it is damaged.
//   - Nothing of a passwd file leaves the package but the spelling of a name, and what
//     Login returns to the process that checks logins.
//
// Files:
//
//	domains.go  domains.cf, the list of domains
//	passwd.go   the lines of a domain's passwd file
//	logins.go   what a user has for logins
//	quota.go    how much their mailbox may have
//	index.go    where each user stands in a passwd file
//	kept.go     keeping that in a file, for large ones
//	scan.go     making that, in parts beside each other
//	lines.go    reading lines
//	place.go    who waits for the reading of a passwd file
//	way.go      whose directories and files they must be
//	directory.go  the domains as mail is routed by them
//	edit.go     changing a file as a whole
//	editdomains.go, editusers.go
//	            what may be changed of domains.cf and of a passwd file
//	store.go    a domain's users and aliases
package vhost
