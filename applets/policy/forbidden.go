package policy

import (
	"fmt"

	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
)

// Forbidden is what becomes of clients that are denied (option forbidden).
type Forbidden struct {
	Take   bool   // their mail is taken, and marked
	Folder string // and goes into this folder of local recipients; "" is their mailbox
	Why    string // what they are told; "" is a sentence of ours
}

// deny is the verdict on a client that may not connect, for a reason.
func (s *session) deny(reason string) smtpd.Verdict {
	why := s.who() + ": " + smtp.Printable(reason, 300)
	if s.o.Forbidden.Take {
		text := "mail is taken, and marked as unwanted, from " + why
		return smtpd.Verdict{Greeting: "\n" + text, Mark: smtpd.Mark{Reason: reason, Folder: s.o.Forbidden.Folder}}
	}
	text := "no mail is taken from " + why
	return smtpd.Verdict{Reply: smtp.Reply{Code: 554, Status: "5.7.1", Text: text}, Refuse: true} // options hosts-deny and forbidden: "no mail is taken from NAME [ADDRESS]: WHY"; 521 (RFC 7504) where a rule cuts the client off
}

// who names the client to itself.
func (s *session) who() string {
	if s.client.Name != "" {
		return fmt.Sprintf("%s [%s]", s.client.Name, s.client.Addr.Addr())
	}
	return fmt.Sprintf("[%s]", s.client.Addr.Addr())
}
