package remote

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
)

// verdict is a recipient's result, or again: to be sent in a transaction of
// its own.
type verdict struct {
	outcome.Outcome
	again bool
}

// judge gives each recipient of a transaction its verdict. err is what ended
// the connection, if anything did; what had been said before stands. relay is
// whether it was relay-host's.
func judge(res smtp.TransactionResult, err error, relay bool) []verdict {
	list := make([]verdict, len(res.Rcpt))
	accepted := 0
	for i, rcpt := range res.Rcpt {
		switch {
		case !res.Mail.IsZero() && res.Mail.Class() != 2:
			list[i].Outcome = byReply("MAIL", res.Mail, relay)
		case rcpt.Class() == 2:
			accepted++
			list[i].Outcome = byData(res, i, err, relay)
		case rcpt.IsZero():
			list[i].Outcome = outcome.Outcome{Err: err}
		case accepted > 0 && err == nil && full(rcpt):
			list[i].again = true
		default:
			list[i].Outcome = byReply("RCPT", rcpt, relay)
		}
	}
	return list
}

// byData is the result of recipient i, who was accepted.
func byData(res smtp.TransactionResult, i int, err error, relay bool) outcome.Outcome {
	final := res.FinalFor(i)
	switch {
	case final.Class() == 2:
		return outcome.Outcome{Action: outcome.Delivered, Reply: final}
	case !final.IsZero():
		return byReply("the end of the message", final, relay)
	case res.Data.IsZero() || res.Data.Code == 354:
		return outcome.Outcome{Err: err}
	}
	return byReply("DATA", res.Data, relay)
}

// byReply judges a reply that is no success: 5xx is final, but relay-host's
// wish for a login; all else is not.
func byReply(step string, r smtp.Reply, relay bool) outcome.Outcome {
	switch {
	case relay && r.Permanent() && wantsLogin(step, r):
		return outcome.Outcome{Reply: r, Err: ErrLogin}
	case r.Permanent():
		return outcome.Outcome{Action: outcome.Bounced, Reply: r}
	case r.Temporary():
		return outcome.Outcome{Reply: r}
	}
	return outcome.Outcome{Reply: r, Err: fmt.Errorf("odd reply to %s: %v", step, r)}
}

// full reports a refusal that means "too many recipients", of 452 and, from
// older servers, 552 (RFC 5321 section 4.5.3.1.10); not one about the mailbox,
// as "552 5.2.2 mailbox full".
func full(r smtp.Reply) bool {
	if r.Code != 452 && r.Code != 552 {
		return false
	}
	_, subject, _ := strings.Cut(r.Status, ".")
	return !strings.HasPrefix(subject, "2.")
}

// ErrLogin is why a relay-host took nothing that would take it from another:
// the administrator can mend that, so no message comes back for it.
var ErrLogin = errors.New("relay-host takes mail only from whoever logs in, which postoffice doesn't: ask that it takes mail from this machine's address, or name another relay-host")

// wantsLogin reports whether a refusal means that the client is to log in, or
// to encrypt first, or that its login is not good enough (RFC 4954 section 6).
// step is what was refused: "MAIL", "RCPT" and so on. Of a message that was
// read 5.7.0 says that it is refused, not its client.
func wantsLogin(step string, r smtp.Reply) bool {
	envelope := step == "MAIL" || step == "RCPT"
	switch r.Code {
	case 530, 534, 535, 538:
		return true
	}
	switch r.Status {
	case "5.7.8", "5.7.9", "5.7.11":
		return true
	case "5.7.0":
		return envelope || step == "DATA"
	case "5.7.1", "5.0.0", "5.1.0", "": // of servers that know no better
		return envelope && (r.Code == 550 || r.Code == 553 || r.Code == 554) && speaksOfLogin(r.Text)
	}
	return false
}

// speaksOfLogin looks for words about the client's login. SPF, DKIM and DMARC
// authenticate too, but a message. Addresses and names of hosts are no words:
// servers tell again what they were told, and whoever chose that is not to choose
// what a refusal means.
func speaksOfLogin(text string) bool {
	var said, pages []string
	for _, word := range strings.Fields(smtp.Fold(text)) {
		switch {
		case strings.Contains(word, "://"):
			pages = append(pages, word)
		case !strings.Contains(strings.Trim(word, `.,:;!?"'()<>[]`), ".") && !strings.Contains(word, "@"):
			said = append(said, word)
		}
	}
	words := strings.Join(said, " ")
	return !holdsAny(words+" "+strings.Join(pages, " "), "spf", "dkim", "dmarc") &&
		holdsAny(words, "authent", "smtp auth", "smtp-auth", "auth first", "logged in", "log in", "login", "sasl", "password", "credential", "pop before", "check for new mail",
			"client host rejected: access denied") // what Postfix says at port 587
}

func holdsAny(text string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}
