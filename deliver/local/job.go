package local

import (
	"io"

	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// Item names what is to be run or read without its text: whoever does it takes
// the text from the file itself (A18, A71). Its hash is zero in a Listing of a
// whole .forward or usermap entry, with FromMailer and with FromScanner.
type Item = envelope.Agent

// Source is the kind of file that an item stands in.
type Source = envelope.AgentSource

const (
	FromAlias   = envelope.FromAlias   // the alias file
	FromForward = envelope.FromForward // a user's .forward
	FromUsermap = envelope.FromUsermap // option usermap, or the personal alias file that it names

	FromMailer  Source = "mailer" // option mailer, which has one program for all
	FromScanner Source = "av"     // option av, which looks at a message: see user.Options
)

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
