package route

import (
	"errors"

	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// A Viewer is somebody who is told of messages and of where addresses lead. What
// they may see is decided here, for mailq, sendmail -v and -bv, and reports.
type Viewer struct {
	UID   int    // -1: none of this machine
	User  string // the account; "" has none
	All   bool   // every message: Admin, and with queue-view=all everybody
	Admin bool   // root, the server-user, trusted users
}

// Submitted reports whether the viewer may see more of a message than that it is
// there: whoever submitted it may. client is the envelope's.
func (v Viewer) Submitted(client string) bool {
	uid, ok := envelope.ClientUID(client)
	return v.All || ok && uid == v.UID
}

// SeesSession reports whether the viewer may see, and end, an SMTP session of a program of
// this user; -1 is a machine's, which administrators alone see.
func (v Viewer) SeesSession(uid int) bool { return v.Admin || uid >= 0 && uid == v.UID }

// Quoted reports whether the viewer is shown a line that can't be understood, of a
// file of owner's.
func (v Viewer) Quoted(owner string) bool { return v.UID == 0 || owner != "" && owner == v.User }

// A File is a file that recipients were found in, and whose it is.
type File struct {
	envelope.Via
	Owner string // "" nobody's, or not known
}

// File returns the file that s was, or could not be, read from.
func (s Step) File() File { return fileOf(s.Via, s.Owner) }

func fileOf(v envelope.Via, owner string) File {
	if v.Source == envelope.FromForward {
		owner = v.Name
	}
	return File{v, owner}
}

// Private says that what stands in a file is its owner's to see: a .forward, a
// list, what option usermap says. The alias file is for everybody.
func (f File) Private() bool {
	return f.Source == envelope.FromForward || f.Source == envelope.FromList || f.Source == envelope.FromUsermap
}

// Sees reports whether the viewer is shown what stands in a file.
func (v Viewer) Sees(f File) bool {
	return v.All || !f.Private() || f.Owner != "" && f.Owner == v.User
}

// Behind is what recipients from a file are called for those who don't see it.
func (f File) Behind() string {
	name := smtp.Printable(f.Name, 100)
	if f.Source == envelope.FromForward {
		return "recipient of .forward of " + name
	}
	return "recipient of " + string(f.Source) + " " + name
}

// A Screen is the private files that led to a recipient, the one next to the
// envelope first. Most recipients have none.
type Screen []Screened

// Screened is a file, and the recipient that it was read for.
type Screened struct {
	File
	For envelope.Recipient
}

// ScreenOf returns the screen before a recipient; at finds others of its message.
func ScreenOf(rc envelope.Recipient, at func(envelope.Key) envelope.Recipient) Screen {
	var all Screen
	for rc.Parent != envelope.NoKey {
		f := fileOf(rc.Via, rc.Owner)
		rc = at(rc.Parent)
		if f.Private() {
			all = append(Screen{{f, rc}}, all...)
		}
	}
	return all
}

// Hides returns the first file that the viewer does not see; ok is false if the
// recipient is to be shown.
func (s Screen) Hides(v Viewer) (first Screened, ok bool) {
	for _, x := range s {
		if !v.Sees(x.File) {
			return x, true
		}
	}
	return first, false
}

// Hidden is an outcome for those who don't see the recipient: code and status,
// and no words, which may name it.
func Hidden(o outcome.Outcome) outcome.Outcome {
	words := "where it leads, it is not taken now"
	switch o.Action {
	case outcome.Delivered:
		words = "delivered where it leads"
	case outcome.Bounced:
		words = "where it leads, it was refused"
	}
	hidden := outcome.Outcome{Action: o.Action, Reply: o.Reply}
	if o.Reply.IsZero() {
		hidden.Err = errors.New(words)
		return hidden
	}
	hidden.Reply.Text = words
	return hidden
}
