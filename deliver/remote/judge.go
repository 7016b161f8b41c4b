package remote

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"postoffice/deliver/outcome"
	"postoffice/internal/smarthost"
	"postoffice/internal/smtp"
)

// verdict is a recipient's result, or again: to be sent in a transaction of
// its own.
type verdict struct {
	outcome.Outcome
	again bool
}

// asker says whose replies are judged.
type asker uint8

const (
	anybody    asker = iota // a server that takes mail for its own
	relaying                // relay-host
	submission              // relay-host at a port for those who log in, and we don't
)

// asker says who a session is with.
func (o Options) asker() asker {
	switch {
	case o.relay == nil:
		return anybody
	case o.relay.Scheme != smarthost.SMTP && o.relay.User == "":
		return submission
	}
	return relaying
}

// judge gives each recipient of a transaction its verdict. err is what ended
// the connection, if anything did; what had been said before stands. by is who
// was asked.
func judge(res smtp.TransactionResult, err error, by asker) []verdict {
	list := make([]verdict, len(res.Rcpt))
	accepted := 0
	for i, rcpt := range res.Rcpt {
		switch {
		case !res.Mail.IsZero() && res.Mail.Class() != 2:
			list[i].Outcome = byReply("MAIL", res.Mail, by)
		case rcpt.Class() == 2:
			accepted++
			list[i].Outcome = byData(res, i, err, by)
		case rcpt.IsZero():
			list[i].Outcome = outcome.Outcome{Err: err}
		case accepted > 0 && err == nil && full(rcpt):
			list[i].again = true
		default:
			list[i].Outcome = byReply("RCPT", rcpt, by)
		}
	}
	return list
}

// byData is the result of recipient i, who was accepted.
func byData(res smtp.TransactionResult, i int, err error, by asker) outcome.Outcome {
	final := res.FinalFor(i)
	switch {
	case final.Class() == 2:
		return outcome.Outcome{Action: outcome.Delivered, Reply: final}
	case !final.IsZero():
		return byReply("the end of the message", final, by)
	case res.Data.IsZero() || res.Data.Code == 354:
		return outcome.Outcome{Err: err}
	}
	return byReply("DATA", res.Data, by)
}

// byReply judges a reply that is no success: 5xx is final, but relay-host's
// wish for a login; all else is not.
func byReply(step string, r smtp.Reply, by asker) outcome.Outcome {
	switch {
	case by != anybody && r.Permanent() && wantsLogin(step, r, by == submission):
		return outcome.Outcome{Reply: r, Err: ErrLogin}
	case by != anybody && r.Permanent() && aboutSender(step, r):
		return outcome.Outcome{Action: outcome.Bounced, Reply: r, Err: ErrSender}
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
var ErrLogin = errors.New("relay-host takes mail only from whoever logs in: write relay-host=submissions://user@host and the password into the file relay-passwords, or ask that it takes mail from this machine's address")

// ErrSender is why a relay-host refused a message for good: it says so of the message and
// not of us, it would say so again, and whoever sent it hears of it. What it rests on is
// told beside the reply.
const ErrSender = outcome.Advice("The smarthost takes no mail of that sender from this machine. Send as an address that it knows, or have the postmaster name one: masquerade and sender-map in postoffice.cf say what senders are called elsewhere, and a line from:ADDRESS of routes sends theirs by another login.")

// aboutSender reports whether a refusal for good is about the envelope's sender, or the
// message's: at MAIL it is about nothing else but its size. It decides what is told, never
// what becomes of the message.
func aboutSender(step string, r smtp.Reply) bool {
	switch r.Status {
	case "5.1.7", "5.1.8", "5.7.60", "5.2.252": // RFC 3463; the last two are Microsoft's
		return true
	case "5.2.3", "5.3.4":
		return false
	}
	switch r.Code {
	case 550, 551, 553, 554:
	default:
		return false
	}
	text := smtp.Fold(r.Text)
	return step == "MAIL" || holdsAny(text, "sender", "from address", "from header", "send as", "sendasdenied", "not owned by user") &&
		holdsAny(text, "reject", "denied", "not allow", "not permit", "permission", "not verified", "unauthor", "not own", "not owned", "refused", "does not match", "must be")
}

// wantsLogin reports whether a refusal means that the client is to log in, or
// to encrypt first, or that its login is not good enough (RFC 4954 section 6).
// step is what was refused: "MAIL", "RCPT" and so on. Of a message that was
// read 5.7.0 says that it is refused, not its client. whoever: at this port nobody may
// send without, so that a policy against the envelope means that.
func wantsLogin(step string, r smtp.Reply, whoever bool) bool {
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
		return envelope && (r.Code == 550 || r.Code == 553 || r.Code == 554) && (whoever && r.Status == "5.7.1" || speaksOfLogin(r.Text))
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
