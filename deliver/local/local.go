package local

import (
	"io"
	"log/slog"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/smtp"
)

// Status says what became of a delivery.
type Status byte

// The zero Status is Deferred, so that what is forgotten is never lost.
const (
	Deferred  Status = iota // to be tried again
	Delivered               // on disk
	Refused                 // will never work
	Forwarded               // nothing was written: the account has a .forward, which is to be listed
	Changed                 // nothing was done: the item does not stand there any more
)

func (s Status) String() string {
	switch s {
	case Delivered:
		return "delivered"
	case Refused:
		return "refused"
	case Forwarded:
		return "forwarded"
	case Changed:
		return "changed"
	}
	return "deferred"
}

// Result is the outcome of one delivery.
type Result struct {
	Status Status
	Reply  smtp.Reply // for people and for the report to the sender
	Err    error      // the cause, for the log; nil when delivered
}

// Delivery is one message for one account.
type Delivery struct {
	User string    // the account
	Body io.Reader // the finished octets (see Format), read once to its end
	Size int64     // octets in Body at most, -1 if unknown: room that is asked for first

	Final     bool   // into the mailbox whatever .forward says: \user, and a copy kept by one's own name
	Extension string // the detail of user+detail: also a .forward+detail counts; "" none
	Folder    string // "": the mailbox; "~/path" in the home directory; else the mailbox USER:Folder beside it (original.md 2.4)
}

// Options configure Mailboxes.
type Options struct {
	FS       disk.FS
	Dir      string // the mail directory, absolute
	Accounts Accounts
	// As runs f with the effective ids of the account, and with dirGID as its
	// group unless that is -1. nil: f runs as we are.
	As func(a Account, dirGID int, f func() error) error
	// Mailbox says where mail goes that is for no folder: "" into a file of
	// the account's name in Dir, "~/file" or "~/Maildir/" in the home directory.
	Mailbox string
	// Folders are those in the home directory ("~/path") that a Delivery may
	// name: whoever asks for one is not believed to know a good file there.
	Folders  []string
	Hostname string        // in the names of a Maildir's files; "": the machine's
	LockWait time.Duration // for all locks of one mailbox together; 0: 60 s (A46)
	Log      *slog.Logger  // nil: nothing is logged
}

// deferred, refused and delivered make results with words for people.

func delivered(text string) Result {
	return Result{Status: Delivered, Reply: smtp.Reply{Code: 250, Status: "2.0.0", Text: text}}
}

func deferred(status, text string, err error) Result {
	return Result{Status: Deferred, Reply: smtp.Reply{Code: 450, Status: status, Text: text}, Err: err}
}

func refused(status, text string, err error) Result {
	return Result{Status: Refused, Reply: smtp.Reply{Code: 550, Status: status, Text: text}, Err: err}
}
