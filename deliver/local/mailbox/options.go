package mailbox

import (
	"log/slog"
	"time"

	"postoffice/internal/account"
	"postoffice/internal/disk"
)

// Options configure Mailboxes.
type Options struct {
	FS       disk.FS
	Dir      string // the mail directory, absolute
	Accounts account.Accounts
	// As runs f with the effective ids of the account, and with dirGID as its
	// group unless that is -1. nil: f runs as we are.
	As func(a account.Account, dirGID int, f func() error) error
	// Mailbox says where mail goes that is for no folder: "" into a file of
	// the account's name in Dir, "~/file" or "~/Maildir/" in the home directory.
	Mailbox string
	// Folders are those in the home directory ("~/path") that a Delivery may
	// name: whoever asks for one is not believed to know a good file there.
	Folders []string
	// Homes says what a home directory that isn't there means.
	Homes Homes
	// Virtual has the mailboxes of virtual domains.
	Virtual  Virtual
	Hostname string        // in the names of a Maildir's files; "": the machine's
	Mounts   func() string // the text of mountinfo; nil: this process's
	LockWait time.Duration // for all locks of one mailbox together; 0: 60 s (A46)
	Log      *slog.Logger  // nil: nothing is logged
}
