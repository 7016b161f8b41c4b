package smtpd

import (
	"context"
	"log/slog"
	"strconv"
	"strings"

	"postoffice/applets/smtpd/proxy"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

// A verb is one row of the table that drives dispatch, the order of commands,
// HELP, and the check of pipelining. do never writes to the connection.
type verb struct {
	name  string
	in    phase                 // where it is allowed
	order string                // told where it isn't, after 503
	last  bool                  // a client waits for its reply (RFC 2920 section 3.1)
	many  bool                  // a message may need any number of it
	usage string                // its arguments, for HELP; "" means that it takes none
	only  func(s *session) bool // who has it; nil: everybody
	do    func(s *session, ctx context.Context, arg string) smtp.Reply
}

var verbs = []verb{
	{name: "HELO", in: always, last: true, usage: "hostname", do: (*session).helo},
	{name: "EHLO", in: always, last: true, usage: "hostname", do: (*session).ehlo},
	{name: "STARTTLS", in: always &^ chunked, order: "a message that has begun is ended before", last: true, only: (*session).offersTLS, do: (*session).startTLS},
	{name: "AUTH", in: greeted, order: "HELO or EHLO comes first, and a login before a message", last: true, usage: "mechanism [initial-response]", only: (*session).mayLogin, do: (*session).auth},
	{name: "MAIL", in: greeted, order: "a transaction is open, RSET ends it", usage: "FROM:<address> [SIZE=octets] [BODY=7BIT|8BITMIME] [SMTPUTF8] [REQUIRETLS]", do: (*session).mail},
	{name: "RCPT", in: envelope, order: "MAIL comes first, and all recipients before the message", many: true, usage: "TO:<address>", do: (*session).rcpt},
	{name: "DATA", in: envelope, order: "MAIL comes first, and a message that came with BDAT goes on with that", last: true, do: (*session).data},
	{name: "BDAT", in: opened, order: "MAIL comes first", many: true, usage: "octets [LAST]", do: (*session).bdat},
	{name: "RSET", in: always, do: (*session).rset},
	{name: "NOOP", in: always, last: true, usage: "[text]", do: (*session).noop},
	{name: "VRFY", in: always, last: true, usage: "address", do: (*session).vrfy},
	{name: "EXPN", in: always, last: true, usage: "list", do: (*session).expn},
	{name: "HELP", in: always, usage: "[command]", do: (*session).help},
	{name: "QUIT", in: always, last: true, do: (*session).quit},
	{name: "XCLIENT", in: fresh | greeted, order: "a transaction is open, RSET ends it", last: true, usage: "attribute=value ...", only: (*session).isFront, do: (*session).xclient},
	{name: "DEBUG", in: always, only: (*session).mayDebug, do: (*session).debug},
	{name: smtp.VerbNoRelay, in: always, only: (*session).isProgram, do: (*session).noRelay},
}

// foreign are words that begin a line of other protocols (A13).
var foreign = []string{"GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH", "TRACE", "PRI", "RTSP", "SIP"}

func isForeign(name string) bool {
	for _, f := range foreign {
		if smtp.EqualFold(name, f) {
			return true
		}
	}
	return strings.HasPrefix(name, "SSH-")
}

// find returns the table's row for name, nil if there is none for this client.
func (s *session) find(name string) *verb {
	for i := range s.server.verbs {
		if v := &s.server.verbs[i]; smtp.EqualFold(v.name, name) && (v.only == nil || v.only(s)) {
			return v
		}
	}
	return nil
}

// command runs one line and returns its reply.
func (s *session) command(ctx context.Context, line string) smtp.Reply {
	for i := range len(line) {
		if c := line[i]; c < ' ' || c == 0x7f {
			return s.judge(nil, smtp.Reply{Code: 500, Status: "5.5.2", Text: "a control character in a command, send printable ASCII and CR LF"}) // nothing of the line was done
		}
	}
	name, arg, _ := strings.Cut(strings.TrimRight(line, " "), " ")
	v := s.find(name)
	s.heard = v
	if v == nil {
		switch {
		case isForeign(name):
			return notSMTP()
		case smtp.EqualFold(name, "XCLIENT"):
			return s.judge(nil, smtp.Reply{Code: 550, Status: "5.7.0", Text: "who you are is known by your connection, leave XCLIENT out"}) // option xclient-from doesn't name the client
		}
		return s.judge(nil, s.unknownCommand(ctx, line))
	}
	if s.worn() && v.name != "QUIT" {
		return tooMuch()
	}
	r := s.run(ctx, v, strings.TrimLeft(arg, " "))
	if v.name == "MAIL" {
		s.hurried = r.Class() != 2 && !s.client.Local && !s.client.Trusted
	}
	return s.judge(v, r)
}

// unknownCommand is the answer to a command that is none. The Checker isn't asked about
// what may be a password.
func (s *session) unknownCommand(ctx context.Context, line string) smtp.Reply {
	if shown := s.discreet(line); shown == line {
		if v := s.ask(ctx, func(ctx context.Context) Verdict { return s.checker.Unknown(ctx, line) }); !v.Accepted() {
			return v.Reply
		}
	}
	return smtp.Reply{Code: 500, Status: "5.5.1", Text: "no such command, try HELP"} // an unknown word
}

// run checks order and arguments of v, and does it.
func (s *session) run(ctx context.Context, v *verb, arg string) smtp.Reply {
	switch {
	case v.usage == "" && arg != "":
		return smtp.Reply{Code: 501, Status: "5.5.4", Text: v.name + " takes no argument, send it alone"} // something stands behind the command
	case v.usage != "" && v.usage[0] != '[' && arg == "":
		return smtp.Reply{Code: 501, Status: "5.5.4", Text: "usage: " + v.name + " " + v.usage} // the argument is missing
	case v.in&s.phase == 0 && s.phase == fresh:
		return smtp.Reply{Code: 503, Status: "5.5.1", Text: "HELO or EHLO comes first"} // the order of commands
	case v.in&s.phase == 0:
		return smtp.Reply{Code: 503, Status: "5.5.1", Text: v.order} // the order of commands: "MAIL comes first", "a transaction is open, RSET ends it"
	}
	return v.do(s, ctx, arg)
}

// worn reports whether the client has used up what it may say without sending
// a message (A14).
func (s *session) worn() bool {
	return s.o.HardErrors > 0 && s.refusals >= s.o.HardErrors || s.commands >= maxCommands || s.surplus >= maxSurplus
}

func tooMuch() smtp.Reply {
	return smtp.Reply{Code: 421, Status: "4.7.0", Text: "too many commands or errors without a message, mend what was refused and come again"} // option hard-errors, or 100 commands
}

// judge counts a command and its reply, and answers 421 instead of r where the
// session has to end: a client that has sent on behind a command whose refusal
// it had to wait for would have its data run as commands (B13).
func (s *session) judge(v *verb, r smtp.Reply) smtp.Reply {
	if v == nil && s.worn() {
		return tooMuch()
	}
	if v == nil || !v.many {
		s.commands++
	}
	if r.Permanent() && !(v != nil && v.name == "RCPT" && s.client.Trusted) {
		s.refusals++ // our own may have long lists with names long gone
	}
	if v == nil || !v.last || s.wire.Waiting() == 0 {
		return r
	}
	if !s.hasty {
		s.hasty = true
		s.log(s.server.ctx, slog.LevelDebug, "client did not wait", maillog.Reason(v.name))
	}
	if r.Code >= 400 {
		return smtp.Reply{Code: 421, Status: "4.5.0", Text: v.name + " was refused and you sent on before that, wait for each reply"} // pipelining where RFC 2920 forbids it
	}
	return r
}

func (s *session) helo(ctx context.Context, arg string) smtp.Reply {
	r := s.hello(ctx, arg, false)
	if r.IsZero() {
		r = smtp.Reply{Code: 250, Text: s.o.Hostname + " greets " + s.greeted()} // HELO
	}
	return r
}

func (s *session) ehlo(ctx context.Context, arg string) smtp.Reply {
	if r := s.hello(ctx, arg, true); !r.IsZero() {
		return r
	}
	size := "SIZE"
	if s.o.Size > 0 {
		size += " " + strconv.FormatInt(s.o.Size, 10)
	}
	return smtp.Reply{Code: 250, Text: s.o.Hostname + " greets " + s.greeted() +
		"\nPIPELINING\n" + size + "\n8BITMIME\nCHUNKING\nSMTPUTF8\nENHANCEDSTATUSCODES" + s.bounds() + s.starts() + s.logins() + s.requires() + s.you()} // EHLO; a program of this machine hears whose it is
}

// bounds is the line that tells of the recipients of one message (RFC 9422): programs of
// this machine may name more. Messages and domains have no bound of that kind.
func (s *session) bounds() string {
	if s.client.Kind == Local {
		return ""
	}
	return "\nLIMITS RCPTMAX=" + strconv.Itoa(maxRecipients)
}

// you are the lines of EHLO's reply for a program of this machine: what we know
// of its own, and whose it is, which it can't know by itself in a chroot or a
// user namespace; and what we know of those who pass clients on.
func (s *session) you() string {
	switch {
	case s.isFront():
		return "\nXCLIENT " + proxy.XClientNames
	case s.client.Kind != Local:
		return ""
	}
	return "\n" + smtp.ParamReport + "\n" + smtp.KeywordUser + " " + asName(s.client.User)
}

// hello takes the name that the client gives itself. It is shown and never
// believed (A17).
func (s *session) hello(ctx context.Context, arg string, esmtp bool) smtp.Reply {
	if len(arg) > maxHello || !isASCII(arg) {
		return smtp.Reply{Code: 501, Status: "5.5.4", Text: "say your host name, in ASCII and with at most 255 octets"} // the argument is none
	}
	s.phase = greeted
	s.reset()
	s.client.Hello, s.client.ESMTP = strings.Clone(arg), esmtp
	v := s.ask(ctx, s.checker.Helo)
	if !v.Accepted() {
		s.phase = fresh
		if !s.bar(v) {
			s.log(ctx, slog.LevelInfo, "client refused", maillog.Reply(v.Reply))
		}
	}
	return v.Reply
}

// greeted is the client's name in our greeting.
func (s *session) greeted() string {
	c := &s.client
	switch {
	case c.Kind == Local:
		return asName(c.User)
	case c.Name != "":
		return c.Name
	}
	return smtp.FormatLiteral(c.Addr.Addr())
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func (s *session) rset(context.Context, string) smtp.Reply {
	s.reset()
	return smtp.Reply{Code: 250, Status: "2.0.0", Text: "forgotten"} // RSET
}

func (s *session) noop(context.Context, string) smtp.Reply {
	return smtp.Reply{Code: 250, Status: "2.0.0", Text: "ok"} // NOOP
}

// vrfy tells nothing (A21, B21).
func (s *session) vrfy(context.Context, string) smtp.Reply {
	return smtp.Reply{Code: 252, Status: "2.5.0", Text: "send mail and see"} // VRFY: nothing is told of who exists
}

func (s *session) expn(context.Context, string) smtp.Reply {
	return smtp.Reply{Code: 502, Status: "5.5.1", Text: "lists are not told, send mail to one instead"} // EXPN
}

// help shows the table.
func (s *session) help(_ context.Context, arg string) smtp.Reply {
	if arg != "" {
		v := s.find(arg)
		if v == nil {
			return smtp.Reply{Code: 504, Status: "5.5.4", Text: "no such command, HELP alone lists them"} // HELP with an unknown word
		}
		return smtp.Reply{Code: 214, Status: "2.0.0", Text: v.String()} // HELP with a command
	}
	text := "commands:"
	for i := range s.server.verbs {
		if v := &s.server.verbs[i]; v.only == nil || v.only(s) {
			text += "\n" + v.String()
		}
	}
	return smtp.Reply{Code: 214, Status: "2.0.0", Text: text} // HELP
}

// String returns the command as HELP shows it.
func (v *verb) String() string {
	if v.usage == "" {
		return v.name
	}
	return v.name + " " + v.usage
}

func (s *session) quit(context.Context, string) smtp.Reply {
	return smtp.Reply{Code: 221, Status: "2.0.0", Text: s.o.Hostname + " closes the connection"} // QUIT
}

// mayDebug says who may ask what the server is set to do: this machine's programs
// and connections, and trusted clients, where the option is on (A21, B93).
func (s *session) mayDebug() bool {
	return s.o.Debug != nil && (s.client.Local || s.client.Trusted)
}

// debug shows the transaction and the settings.
func (s *session) debug(context.Context, string) smtp.Reply {
	t := &s.tx
	if s.phase&opened == 0 {
		t = nil
	}
	return smtp.Reply{Code: 250, Text: strings.Join(s.o.Debug(&s.client, t), "\n")}
}

func (s *session) isProgram() bool { return s.client.Kind == Local }

// noRelay gives up the right of a program of this machine to send elsewhere: sendmail
// -bs does, for whoever speaks through it.
func (s *session) noRelay(context.Context, string) smtp.Reply {
	s.client.NoRelay = true
	return smtp.Reply{Code: 250, Status: "2.0.0", Text: "to this machine alone"}
}
