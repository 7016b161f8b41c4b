package policy

import (
	"fmt"

	"postoffice/applets/smtpd"
)

// maxShown bounds the recipients that DEBUG shows.
const maxShown = 20

// Shown is a session as DEBUG shows it: the sender and the recipients of the open
// transaction, if there is one, and what the client may do. Nothing is expanded before
// delivery, so no alias, program or file is in it (B93). isLocal says of a domain what
// is known without a question.
func Shown(c *smtpd.Client, t *smtpd.Transaction, isLocal func(domain string) bool) []string {
	var lines []string
	if t != nil {
		from := t.ReversePath
		lines = append(lines, fmt.Sprintf("from: <%s> user: %s domain: %s local: %s", from, from.Local, from.Domain, flag(!from.IsNull() && isLocal(from.Domain))))
		lines = append(lines, shownRecipients(t, isLocal)...)
	}
	if c.Local {
		lines = append(lines, "Peer flag: T")
	}
	return append(lines, "Relay-ok: "+flag((c.Local || c.Trusted) && !c.NoRelay))
}

// flag is a switch in Lisp, as the first postoffice showed it.
func flag(on bool) string {
	if on {
		return "T"
	}
	return "NIL"
}

func shownRecipients(t *smtpd.Transaction, isLocal func(domain string) bool) []string {
	var lines []string
	for i, rcpt := range t.Recipients {
		if i == maxShown {
			return append(lines, fmt.Sprintf("to: %d others", len(t.Recipients)-i))
		}
		where := "remote"
		if isLocal(rcpt.Path.Domain) {
			where = "local"
		}
		mark := ""
		if t.Mark.Reason != "" {
			mark = " DENY"
		}
		lines = append(lines, fmt.Sprintf("to: <%s>%s %s", rcpt.Path, mark, where))
	}
	return lines
}
