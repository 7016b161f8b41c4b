package local

import (
	"fmt"
	"io"

	"postoffice/internal/alias"
	"postoffice/internal/smtp"
)

// The kinds of files that items stand in, as Item.Source has them.
const (
	FromAlias   = "alias"   // the alias file
	FromForward = "forward" // a user's .forward
	FromUsermap = "usermap" // option usermap, or the personal alias file that it names
	FromMailer  = "mailer"  // option mailer, which has one program for all
)

// Item names what is to be run or read without its text: whoever does it takes
// the text from the file itself (A18, A71).
type Item struct {
	Source string // FromAlias, FromForward, FromUsermap or FromMailer
	Name   string // the alias, the user whose .forward it is, or the local name that usermap was asked for
	// Hash of the target; zero in a Listing of a whole .forward or usermap
	// entry, and with FromMailer.
	Hash alias.Hash
}

// Job is a program to be run, or a file to be appended to, for one message.
type Job struct {
	User     string // whose ids it runs with
	Item     Item
	Envelope Envelope
	Body     io.Reader // the finished octets, in FormProgram: a file gets an empty line behind them

	// Final, with FromMailer: the mailer runs whatever .forward says. Without
	// it a .forward that is there makes the result Forwarded.
	Final bool
}

// Envelope is what a program is told of the message, in its environment.
type Envelope struct {
	Sender    smtp.Path // the reverse-path; null for reports
	Recipient smtp.Path // as the message's envelope has it
	Extension string    // the detail of user+detail, "" none
	QueueID   string
}

// Listing asks what a .forward, the list in a file that an alias names with
// :include:, or a personal alias file stands for; or whether a program could be
// started.
type Listing struct {
	User      string // who reads the file
	Item      Item
	Extension string // a .forward+detail is looked for first
}

// Line is one target of a list and where it stands.
type Line struct {
	alias.Target
	File string
	Line int // counted from 1
}

// OwnerError says that a list belongs to another user, who alone may read it.
type OwnerError struct {
	File string
	User string // "" has no account
	UID  int
}

func (e *OwnerError) Error() string {
	if e.User == "" {
		return fmt.Sprintf("%s belongs to uid %d, which has no account", e.File, e.UID)
	}
	return fmt.Sprintf("%s belongs to %s and is to be read by him", e.File, e.User)
}
