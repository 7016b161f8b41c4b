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
		return smtp.Reply{Code: 501, Status: "5.5.4", Text: err.Error()}
	}
	if r := s.checkMailParams(params); !r.IsZero() {
		return r
	}
	if err := s.o.Queue.Room(ctx); err != nil {
		s.log(ctx, slog.LevelWarn, "no room for mail", maillog.Err(err),
			maillog.Reason("clients are told to come again: make room on the queue's file system"))
		return smtp.Reply{Code: 452, Status: "4.3.1", Text: "no room for mail now, try again later"}
	}
	if r := s.ask(ctx, s.o.Policy.Sender, path); !r.IsZero() {
		s.log(ctx, slog.LevelInfo, "sender refused", maillog.From(path), maillog.Reply(r))
		return r
	}
	id, err := s.o.Queue.NewID()
	if err != nil {
		return s.notQueued(ctx, err)
	}
	s.tx = Transaction{ID: id, Client: &s.client, ReversePath: path, Arrived: time.Now(), SessionID: s.id}
	isQueue := func(p smtp.Param) bool { return p.Name == ParamQueue }
	s.tx.Queue = slices.ContainsFunc(params, isQueue)
	s.tx.Params = slices.DeleteFunc(params, isQueue)
	s.phase = mailed
	return smtp.Reply{Code: 250, Status: "2.1.0", Text: "sender ok"}
}

// rcpt adds a recipient.
func (s *session) rcpt(ctx context.Context, arg string) smtp.Reply {
	if len(s.tx.Recipients) >= maxRecipients || s.octets >= maxEnvelope {
		s.surplus++
		return smtp.Reply{Code: 452, Status: "4.5.3", Text: "too many recipients for one message, send the others in another"}
	}
	path, rest, r := s.path(arg, "TO:", "5.1.3")
	var params []smtp.Param
	if r.IsZero() {
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
	s.tx.Recipients = append(s.tx.Recipients, smtp.Recipient{Path: path, Params: params})
	s.phase = addressed
	return smtp.Reply{Code: 250, Status: "2.1.5", Text: "recipient ok"}
}

func (s *session) checkRecipient(ctx context.Context, path smtp.Path, rest string) ([]smtp.Param, smtp.Reply) {
	if path.IsNull() {
		return nil, smtp.Reply{Code: 501, Status: "5.1.3", Text: "empty address"}
	}
	params, err := smtp.ParseParams(rest)
	if err != nil {
		return nil, smtp.Reply{Code: 501, Status: "5.5.4", Text: err.Error()}
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
	return params, s.ask(ctx, s.o.Policy.Recipient, path)
}

var unsupported = smtp.Reply{Code: 555, Status: "5.5.4", Text: "parameter not supported"}

// checkDSN takes a parameter of RFC 3461 from this machine, whose programs give
// what they were told by flags. DSN is not offered, since a server that offers
// it promises to act upon all of it (section 4), and strangers are refused: they
// would rely on that.
func (s *session) checkDSN(p smtp.Param) smtp.Reply {
	if !s.client.Local {
		return unsupported
	}
	if err := smtp.CheckDSN(p); err != nil {
		return smtp.Reply{Code: 501, Status: "5.5.4", Text: err.Error()}
	}
	return smtp.Reply{}
}

// path reads the address of MAIL or RCPT behind its keyword; blanks may stand
// between the two. A program of this machine may leave out the domain.
func (s *session) path(arg, keyword, status string) (p smtp.Path, rest string, r smtp.Reply) {
	if len(arg) < len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) {
		return p, "", smtp.Reply{Code: 501, Status: "5.5.4", Text: "want " + keyword + "<address>"}
	}
	p, rest, err := smtp.ParsePath(strings.TrimLeft(arg[len(keyword):], " "))
	switch {
	case errors.Is(err, smtp.ErrNonASCII):
		return p, "", smtp.Reply{Code: 553, Status: "5.6.7", Text: err.Error()}
	case err != nil:
		return p, "", smtp.Reply{Code: 501, Status: status, Text: err.Error()}
	}
	if s.client.Local && p.Domain == "" && !p.IsNull() {
		p.Domain = s.o.Hostname
	}
	return p, rest, smtp.Reply{}
}

// checkMailParams takes SIZE (RFC 1870) and BODY (RFC 6152), and from this
// machine RET and ENVID.
func (s *session) checkMailParams(params []smtp.Param) smtp.Reply {
	for _, p := range params {
		switch p.Name {
		case "SIZE":
			size, err := strconv.ParseUint(p.Value, 10, 64)
			switch {
			case err != nil && !errors.Is(err, strconv.ErrRange) || len(p.Value) > 20:
				return smtp.Reply{Code: 501, Status: "5.5.4", Text: "SIZE is no number of octets"}
			case s.o.Size > 0 && size > uint64(s.o.Size):
				return s.tooBig()
			}
		case "BODY":
			if !strings.EqualFold(p.Value, "7BIT") && !strings.EqualFold(p.Value, "8BITMIME") {
				return smtp.Reply{Code: 501, Status: "5.5.4", Text: "BODY is 7BIT or 8BITMIME"}
			}
		case "RET", "ENVID":
			if r := s.checkDSN(p); !r.IsZero() {
				return r
			}
		case ParamQueue:
			if s.client.Kind != Submission || p.Value != "" {
				return unsupported
			}
		default:
			return unsupported
		}
	}
	return smtp.Reply{}
}

func (s *session) tooBig() smtp.Reply {
	return smtp.Reply{Code: 552, Status: "5.3.4", Text: fmt.Sprintf("message is bigger than %d octets", s.o.Size)}
}

// ask asks the policy, for a stranger with a limit on its time: only then may
// the answer depend on other machines.
func (s *session) ask(ctx context.Context, policy func(context.Context, *Client, smtp.Path) smtp.Reply, p smtp.Path) smtp.Reply {
	if !s.client.Local {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, policyWait)
		defer cancel()
	}
	return policy(ctx, &s.client, p)
}
