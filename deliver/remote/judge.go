package remote

import (
	"fmt"
	"strings"

	"postoffice/internal/smtp"
)

// verdict is a recipient's result, or again: to be sent in a transaction of
// its own.
type verdict struct {
	Result
	again bool
}

// judge gives each recipient of a transaction its verdict. err is what ended
// the connection, if anything did; what had been said before stands.
func judge(res smtp.TransactionResult, err error) []verdict {
	list := make([]verdict, len(res.Rcpt))
	accepted := 0
	for i, rcpt := range res.Rcpt {
		switch {
		case !res.Mail.IsZero() && res.Mail.Class() != 2:
			list[i].Result = byReply("MAIL", res.Mail)
		case rcpt.Class() == 2:
			accepted++
			list[i].Result = byData(res, i, err)
		case rcpt.IsZero():
			list[i].Result = Result{Err: err}
		case accepted > 0 && err == nil && full(rcpt):
			list[i].again = true
		default:
			list[i].Result = byReply("RCPT", rcpt)
		}
	}
	return list
}

// byData is the result of recipient i, who was accepted.
func byData(res smtp.TransactionResult, i int, err error) Result {
	final := res.FinalFor(i)
	switch {
	case final.Class() == 2:
		return Result{Outcome: Delivered, Reply: final}
	case !final.IsZero():
		return byReply("the end of the message", final)
	case res.Data.IsZero() || res.Data.Code == 354:
		return Result{Err: err}
	}
	return byReply("DATA", res.Data)
}

// byReply judges a reply that is no success: 5xx is final, all else is not.
func byReply(command string, r smtp.Reply) Result {
	switch r.Class() {
	case 5:
		return Result{Outcome: Bounced, Reply: r}
	case 4:
		return Result{Reply: r}
	}
	return Result{Reply: r, Err: fmt.Errorf("odd reply to %s: %v", command, r)}
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
