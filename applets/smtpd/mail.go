package smtpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"postoffice/applets/smtpd/rates"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

// mail opens a transaction.
func (s *session) mail(ctx context.Context, arg string) smtp.Reply {
	path, rest, r := s.path(arg, "FROM:", "5.1.7")
	if !r.IsZero() {
		return r
	}
	params, err := smtp.ParseParams(rest)
	if err != nil {
		return smtp.Reply{Code: 501, Status: "5.5.4", Text: "wrong parameter: " + err.Error() + ", mend it or leave it out"} // see below
	}
	if r := s.checkMailParams(params); !r.IsZero() {
		return r
	}
	_, utf8 := smtp.FindParam(params, smtp.ParamUTF8)
	if !utf8 && !smtp.IsASCII(arg) {
		return needsUTF8()
	}
	if r := s.room(ctx, params); !r.IsZero() {
		return r
	}
	if r = s.tooFast(rates.Messages); r.IsZero() {
		s.tx = Transaction{Client: &s.client, ReversePath: path, Arguments: rest, Arrived: time.Now(), SessionID: s.id, Mark: s.mark, UTF8: utf8}
		if s.tx.ID, err = s.o.Queue.NewID(); err != nil {
			r = s.notQueued(ctx, err)
			s.tx = Transaction{}
			return r
		}
		r = s.ask(ctx, func(ctx context.Context) Verdict { return s.checker.Mail(ctx, &s.tx) }).Reply
	}
	if !r.IsZero() {
		s.tx = Transaction{}
		s.log(ctx, slog.LevelInfo, "sender refused", maillog.From(path), maillog.Reply(r))
		return r
	}
	s.begun = true
	_, s.tx.Queue = smtp.FindParam(params, smtp.ParamQueue)
	_, s.tx.Report = smtp.FindParam(params, smtp.ParamReport)
	s.tx.Params = slices.DeleteFunc(params, func(p smtp.Param) bool {
		return p.Name == smtp.ParamQueue || p.Name == smtp.ParamReport || p.Name == paramAuth
	})
	s.phase = mailed
	return smtp.Reply{Code: 250, Status: "2.1.0", Text: "sender ok"} // MAIL
}

// rcpt adds a recipient.
func (s *session) rcpt(ctx context.Context, arg string) smtp.Reply {
	if r := s.oneMore(len(arg)); !r.IsZero() {
		return r
	}
	path, rest, r := s.path(arg, "TO:", "5.1.3")
	var params []smtp.Param
	switch {
	case !r.IsZero():
	case !s.tx.UTF8 && !smtp.IsASCII(arg):
		r = needsUTF8()
	default:
		params, r = s.checkRecipient(ctx, path, rest)
	}
	if !r.IsZero() {
		s.refused++
		if r.Temporary() {
			s.surplus++
		}
		s.log(ctx, slog.LevelInfo, "recipient refused", maillog.From(s.tx.ReversePath), maillog.To(path), maillog.Reply(r))
		return r
	}
	s.octets += len(arg)
	if n := len(s.tx.Recipients); n > 0 { // what is the same is held once
		last := &s.tx.Recipients[n-1]
		if path.Domain == last.Path.Domain {
			path.Domain = last.Path.Domain
		}
		if slices.Equal(params, last.Params) {
			params = last.Params
		}
	}
	s.tx.Recipients = append(s.tx.Recipients, smtp.Recipient{Path: path, Params: params})
	s.phase = addressed
	return smtp.Reply{Code: 250, Status: "2.1.5", Text: "recipient ok"} // RCPT
}

// oneMore is the answer to a recipient too many, of which octets are to be held,
// else the zero Reply. Programs of this machine may name all that a command line
// holds, as long as there is memory for the long lists of all of them: what
// doesn't fit ends the session, since nobody there sends the rest in another.
func (s *session) oneMore(octets int) smtp.Reply {
	if len(s.tx.Recipients)+len(s.reported) < maxRecipients && s.octets < maxEnvelope {
		return smtp.Reply{}
	}
	if s.client.Kind != Local {
		s.surplus++
		return smtp.Reply{Code: 452, Status: "4.5.3", Text: "too many recipients for one message, send the others in another"} // 1,000 recipients, or 96 KiB of addresses
	}
	cost := octets + recipientCost
	if !s.server.places.Lists.Take(cost) {
		return smtp.Reply{Code: 421, Status: "4.5.3", Text: "too many recipients are being submitted now, try again later"} // 192 MiB for the recipients of all programs
	}
	s.held += cost
	return smtp.Reply{}
}

func (s *session) checkRecipient(ctx context.Context, path smtp.Path, rest string) ([]smtp.Param, smtp.Reply) {
	if path.IsNull() {
		return nil, smtp.Reply{Code: 501, Status: "5.1.3", Text: "the empty address takes no mail, name a recipient"} // RCPT TO:<>
	}
	params, err := smtp.ParseParams(rest)
	if err != nil {
		return nil, smtp.Reply{Code: 501, Status: "5.5.4", Text: "wrong parameter: " + err.Error() + ", mend it or leave it out"} // see below
	}
	for _, p := range params {
		r := unsupported
		if p.Name == "NOTIFY" || p.Name == "ORCPT" {
			r = s.checkDSN(p)
		}
		if !r.IsZero() {
			return nil, r
		}
	}
	r := s.tooFast(rates.Recipients)
	if r.IsZero() {
		r = s.tooFast(rates.Unknown)
	}
	if !r.IsZero() {
		return nil, r
	}
	s.tx.Arguments = rest
	r = s.ask(ctx, func(ctx context.Context) Verdict { return s.checker.Rcpt(ctx, &s.tx, path) }).Reply
	if r.Status == noUser && s.counted() {
		s.server.rates.Count(time.Now(), s.client.Addr.Addr(), rates.Unknown, s.o.Rates)
	}
	if s.tx.Report && smtp.Reported(r) {
		s.octets += len(path.String()) + len(rest)
		s.reported = append(s.reported, smtp.Recipient{Path: path, Params: params})
	}
	return params, r
}

// noUser is the status of a recipient that there isn't (RFC 3463).
const noUser = "5.1.1"

var unsupported = smtp.Reply{Code: 555, Status: "5.5.4", Text: "a parameter that is not supported, leave it out"} // of MAIL or RCPT

// checkDSN takes a parameter of RFC 3461 from this machine, whose programs give
// what they were told by flags. DSN is not offered, since a server that offers
// it promises to act upon all of it (section 4), and strangers are refused: they
// would rely on that.
func (s *session) checkDSN(p smtp.Param) smtp.Reply {
	if !s.client.Local {
		return unsupported
	}
	if err := smtp.CheckDSN(p); err != nil {
		return smtp.Reply{Code: 501, Status: "5.5.4", Text: "wrong parameter: " + err.Error() + ", mend it or leave it out"} // see below
	}
	return smtp.Reply{}
}

// path reads the address of MAIL or RCPT behind its keyword; blanks may stand
// between the two. A program of this machine may leave out the domain, and it
// and a trusted client the brackets.
func (s *session) path(arg, keyword, status string) (p smtp.Path, rest string, r smtp.Reply) {
	if len(arg) < len(keyword) || !smtp.EqualFold(arg[:len(keyword)], keyword) {
		return p, "", smtp.Reply{Code: 501, Status: "5.5.4", Text: "want " + keyword + "<address>"} // FROM: or TO: is missing
	}
	arg = strings.TrimLeft(arg[len(keyword):], " ")
	read := smtp.ParsePath
	if (s.client.Local || s.client.Trusted) && !strings.HasPrefix(arg, "<") {
		read = smtp.ParseBarePath
	}
	p, rest, err := read(arg)
	if err != nil {
		return p, "", smtp.Reply{Code: 501, Status: status, Text: "wrong address: " + err.Error() + ", mend it"} // 5.1.7 for a sender, 5.1.3 for a recipient; see below
	}
	if s.client.Local && p.Domain == "" && !p.IsNull() {
		p.Domain = s.o.Hostname
	}
	return p, rest, smtp.Reply{}
}

func needsUTF8() smtp.Reply {
	return smtp.Reply{Code: 553, Status: "5.6.7", Text: "an address outside ASCII needs the parameter SMTPUTF8 of MAIL, give that or use an address in ASCII"} // RFC 6531 section 3.5
}

// paramAuth is a parameter of MAIL that tells as whom a message's author had logged in
// elsewhere. Whoever offers AUTH has to take it (RFC 4954 section 5), in whatever form:
// clients write <>, an address, or a name in brackets. Nothing follows from it and it goes
// no further, which says what <> says.
const paramAuth = "AUTH"

// checkMailParams takes SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531) and REQUIRETLS
// (RFC 8689), AUTH where clients may log in, and from this machine RET and ENVID.
func (s *session) checkMailParams(params []smtp.Param) smtp.Reply {
	for _, p := range params {
		switch p.Name {
		case "SIZE":
			size, err := strconv.ParseUint(p.Value, 10, 64)
			switch {
			case err != nil && !errors.Is(err, strconv.ErrRange) || len(p.Value) > 20:
				return smtp.Reply{Code: 501, Status: "5.5.4", Text: "SIZE is a number of octets, give that or leave it out"} // RFC 1870
			case s.o.Size > 0 && size > uint64(s.o.Size):
				return s.tooBig()
			}
		case "BODY":
			if !smtp.EqualFold(p.Value, "7BIT") && !smtp.EqualFold(p.Value, "8BITMIME") {
				return smtp.Reply{Code: 501, Status: "5.5.4", Text: "BODY is 7BIT or 8BITMIME, give one of them or leave it out"} // RFC 6152
			}
		case smtp.ParamUTF8:
			if p.Value != "" {
				return smtp.Reply{Code: 501, Status: "5.5.4", Text: "SMTPUTF8 takes no value, send it alone"} // RFC 6531 section 3.4
			}
		case smtp.ParamTLS:
			if r := s.checkRequireTLS(p); !r.IsZero() {
				return r
			}
		case paramAuth:
			if !s.mayLogin() {
				return unsupported
			}
		case "RET", "ENVID":
			if r := s.checkDSN(p); !r.IsZero() {
				return r
			}
		case smtp.ParamQueue, smtp.ParamReport:
			if s.client.Kind != Local || p.Value != "" {
				return unsupported
			}
		default:
			return unsupported
		}
	}
	return smtp.Reply{}
}

func (s *session) tooBig() smtp.Reply {
	return smtp.Reply{Code: 552, Status: "5.3.4", Text: fmt.Sprintf("a message has at most %d octets here, send it in parts or by another way", s.o.Size)} // option size
}

// ask asks the Checker, about a stranger with a limit on its time: only then may
// the answer depend on other machines.
func (s *session) ask(ctx context.Context, stage func(context.Context) Verdict) Verdict {
	if !s.client.Local {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, policyWait)
		defer cancel()
	}
	return stage(ctx)
}
