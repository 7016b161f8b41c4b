// Package mailbox writes finished messages into the mailboxes of this machine's
// accounts: files of messages (mbox) and Maildirs, in the mail directory, in
// home directories and where a user's file says.
//
// It never reads the network or the queue, and never looks into what it writes:
// what it is given is the name of an account and a stream of octets. Under the
// root tree the master calls it (see applets/privsep), with a function that
// lends a thread the account's ids; an ordinary user's single process, and a
// user's process for that user's own files, call it as it is.
//
// Invariants:
//   - Delivered means that the mailbox was synced with the whole message in
//     it, and the mail directory too where the mailbox's name may be new.
//   - What a .forward takes elsewhere is known before anything of a mailbox is
//     opened, by lstat with the account's ids.
//   - Octets that were in a mailbox before are never written again or cut.
//     After any error the mailbox is as long as it was before the message (or
//     the batch) that failed; a failed sync is never tried again (A45).
//   - A mailbox is written only if it is a regular file with one link that
//     belongs to the account and is not executable, looked at once more after
//     it is locked (A44). Everything else defers, and says why.
//   - Messages for one mailbox that wait at the same time are one batch: one
//     open, one lock, one sync, and a result for each.
//   - A file system that does not answer holds up nothing but what is to be
//     written there, which is deferred; what was begun may be written yet (A39).
//   - Only a definite answer refuses: the account does not exist. All else is
//     temporary (A41).
//
// Mail goes to one of five places (see place): a file of the account's name in
// the mail directory, a file beside it for a folder, a file in the home
// directory, a Maildir there, or, for a user of a virtual domain, a file or a Maildir
// in the domain's directory, as the one account that has all of these. Files of all five are written by the same
// batch; what is below a home directory is opened with the account's ids, one
// directory after the other, through no link, and all of them must belong to
// the account or to root.
//
// What a crash of this process or a power cut leaves: messages reported as
// delivered are whole; of the batch that was being written each message may
// be there or not, and the last one may be there in part. The queue still has
// them all and delivers them again; the next append begins after an empty
// line, so that a part never runs into another message.
//
// In a Maildir a message is a file of its own: written and synced in tmp/, then
// renamed into new/, whose names are synced before anything is reported. A
// crash leaves files in tmp/, which go after 36 hours.
//
// Locks of files, in the order they are taken: a mutex for the mailbox in this
// process, MAILBOX.lock where the account may create it (with mode 2775
// root:mail, or a directory of its own; else the dot lock is left out), and an
// open-file-description lock (fcntl) on the mailbox.
//
// Files:
//
//	options.go       what the configuration says
//	mailboxes.go     who waits for which mailbox, and the threads that write
//	place.go         where a mailbox is
//	virtual.go       where a mailbox of a virtual domain is, and what it has
//	bound.go         what a mailbox may have
//	home.go          home directories, and the names of .forward files
//	forwardprobe.go  whether a .forward takes a message elsewhere
//	write.go         one thread's work: a batch, and the directories of a place
//	mbox.go          a file of messages
//	maildir.go       a Maildir
//	stream.go        copying a message
//	dotlock.go       MAILBOX.lock
//	draft.go         what becomes MAILBOX.lock by a rename
//	lockowner.go     who made a dot lock, and whether they still run
package mailbox
