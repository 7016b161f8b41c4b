package smtpd

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"postoffice/applets/smtpd/login"
	"postoffice/applets/smtpd/rates"
	"postoffice/applets/smtpd/wire"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

const (
	maxFailedLogins = 3                     // refused logins of a session, at the last of which it ends (A66)
	failedLoginWait = 2 * time.Second       // before the reply to the first of them, and so much more before each further
	challengeStep   = 10 * time.Millisecond // the time before a challenge is a whole number of these (A66)
	maxLaterLogins  = 3                     // logins of a session that can't be checked now, at the last of which it ends
	outageLog       = 5 * time.Minute       // between two log lines that logins can't be checked for the same cause
	maxOutages      = 100                   // such causes that are told apart; all others are one
)

// mayLogin says who has the verb AUTH.
func (s *session) mayLogin() bool {
	if s.o.Logins == nil || s.client.Kind == Local {
		return false
	}
	return s.client.Kind != Relay || s.o.LoginsOnRelay
}

func (s *session) offer() login.Offer {
	return login.Offer{Source: s.o.Logins, Only: s.o.Mechanisms, Bound: len(s.wire.Bindings()) > 0}
}

// loginLimits are how often strangers' logins may be refused.
func (o *Options) loginLimits() rates.Limits {
	l := rates.Limits{Per: time.Hour}
	l.Most[rates.Logins] = o.RefusedLogins
	return l
}

// secret reports whether nobody on the way hears what is said, or the option names the
// client's network.
func (s *session) secret() bool { return s.client.TLS != nil || s.o.ClearLogins(s.client.Addr.Addr()) }

// logins is the line of EHLO's reply that offers AUTH, where it can be done. The form
// AUTH=LOGIN that programs before RFC 2554 looked for isn't said.
func (s *session) logins() string {
	if !s.mayLogin() || !s.secret() || s.client.Account != "" {
		return ""
	}
	names := s.offer().Names()
	if len(names) == 0 {
		return ""
	}
	return "\nAUTH " + strings.Join(names, " ")
}

// auth is AUTH (RFC 4954): a login begins, which loop goes on with where the answer is
// 334.
func (s *session) auth(ctx context.Context, arg string) smtp.Reply {
	switch {
	case s.client.Account != "":
		return smtp.Reply{Code: 503, Status: "5.5.1", Text: "you are logged in already, send the next command"} // a second AUTH
	case !s.secret():
		return smtp.Reply{Code: 538, Status: "5.7.11", Text: "a password is not for everybody to read, send STARTTLS first"} // AUTH in the clear; option auth-without-tls doesn't name the client
	}
	if r := s.tooFast(rates.Logins); !r.IsZero() {
		return s.loginLater(r)
	}
	c := login.Client{Addr: s.client.Addr, Server: s.client.Server, Session: s.id, TLS: s.client.TLS != nil, Bindings: s.wire.Bindings()}
	var r smtp.Reply
	s.asked = time.Now()
	s.dialogue, r = login.Begin(ctx, s.offer(), c, arg)
	if r.Code != 334 {
		return s.concludeLogin(ctx, r)
	}
	return r
}

// exchange goes on with a login from its first 334 to its last reply. An error is the
// connection's.
func (s *session) exchange(ctx context.Context, r smtp.Reply) (smtp.Reply, error) {
	until := time.Now().Add(s.o.Timeout)
	for r.Code == 334 {
		if r.Text != "" && s.dialogue.Mechanism() != login.Login { // a source has looked somebody up
			s.pause(ctx, roundUp(challengeStep, challengeStep, time.Since(s.asked)), nil)
		}
		s.wire.Put(r)
		line, err := s.wire.ReadLine(s.strict(), time.Until(until), s.longest(), nil)
		switch err {
		case nil:
			s.asked = time.Now()
			r = s.dialogue.Line(ctx, line)
		case wire.ErrTooLong:
			r = smtp.Reply{Code: 500, Status: "5.5.6", Text: "what you say for a login is too long, send it by another mechanism"} // a line of more than 12,288 octets within AUTH
		default:
			s.dialogue.Close()
			s.dialogue = nil
			return r, err
		}
	}
	return s.concludeLogin(ctx, r), nil
}

// longest is how many octets the next line may have.
func (s *session) longest() int {
	if s.mayLogin() && s.client.Account == "" {
		return login.MaxLine
	}
	return wire.MaxLine
}

// concludeLogin ends a login with its last reply, and keeps a client waiting that was
// refused.
func (s *session) concludeLogin(ctx context.Context, r smtp.Reply) smtp.Reply {
	d := s.dialogue
	s.dialogue = nil
	d.Close()
	result, mechanism := d.Result(), slog.String("mechanism", d.Mechanism())
	switch r.Code {
	case 235:
		s.client.Account, s.client.Mechanism, s.client.Trusted = result.User, d.Mechanism(), true
		s.refusals, s.commands = 0, 0
		s.log(ctx, slog.LevelInfo, "client logged in", maillog.User(result.User), mechanism)
		return r
	case 454:
		s.logLater(ctx, result, mechanism)
		if !result.Refused {
			return s.loginLater(r)
		}
	case 535:
		s.logRefused(ctx, r, result, mechanism)
	default:
		return r
	}
	s.server.refusedLogin.Store(time.Now().UnixNano())
	if s.counted() {
		s.server.rates.Count(time.Now(), s.client.Addr.Addr(), rates.Logins, s.o.loginLimits())
	}
	s.failed++
	s.pause(ctx, roundUp(failedLoginWait, time.Duration(s.failed)*failedLoginWait, time.Since(s.asked)), nil)
	if s.failed >= maxFailedLogins {
		return smtp.Reply{Code: 421, Status: "4.7.0", Text: "too many logins were refused, look at name and password and come again"} // the third refused login of a session
	}
	return r
}

// loginLater ends the session at the last of the logins that it may try in vain: a program
// that goes on at once holds a place and asks for nothing. Nothing of it counts for the
// client or the account, whose password may be right.
func (s *session) loginLater(r smtp.Reply) smtp.Reply {
	s.later++
	if s.later < maxLaterLogins {
		return r
	}
	return smtp.Reply{Code: 421, Status: "4.7.0", Text: "logins can't be checked for you now, keep your settings and try again later"} // the third login of a session that got 454
}

// logLater writes down that a login can't be checked, once for each cause in some time:
// whoever tries meanwhile meets the same one.
func (s *session) logLater(ctx context.Context, result login.Result, mechanism slog.Attr) {
	more, tell := s.server.outages.met(time.Now(), result.Err)
	if !tell {
		return
	}
	attrs := []slog.Attr{mechanism, maillog.Err(result.Err)}
	if more > 0 {
		attrs = append(attrs, slog.Int("logins", more))
	}
	s.log(ctx, slog.LevelWarn, "login not possible now", attrs...)
}

// outages are the causes for which logins can't be checked now.
type outages struct {
	mu  sync.Mutex // guards what follows
	all map[string]outage
}

// outage is one of them.
type outage struct {
	told time.Time // by the log, the last time
	more int       // logins that met it since
}

// met notes that a login met a cause. tell says that the log is to have it, and more how
// many have met it since the log had it last. Causes of long ago are forgotten.
func (o *outages) met(now time.Time, cause error) (more int, tell bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := fmt.Sprint(cause)
	if _, ok := o.all[key]; !ok && len(o.all) >= maxOutages {
		maps.DeleteFunc(o.all, func(_ string, one outage) bool { return now.Sub(one.told) >= outageLog })
		if len(o.all) >= maxOutages {
			key = ""
		}
	}
	one, ok := o.all[key]
	if ok && now.Sub(one.told) < outageLog {
		one.more++
		o.all[key] = one
		return 0, false
	}
	if o.all == nil {
		o.all = map[string]outage{}
	}
	o.all[key] = outage{told: now}
	return one.more, true
}

// logRefused writes down that a login was refused.
func (s *session) logRefused(ctx context.Context, r smtp.Reply, result login.Result, mechanism slog.Attr) {
	attrs := []slog.Attr{mechanism, maillog.Reply(r)}
	if result.User != "" {
		attrs = append(attrs, maillog.User(result.User))
	}
	if result.Err != nil {
		attrs = append(attrs, maillog.Err(result.Err))
	}
	s.log(ctx, slog.LevelInfo, "login refused", attrs...)
}

// tell tells the Checker of an answer.
func (s *session) tell(line string, r smtp.Reply) {
	line = s.discreet(line)
	verb, _, _ := strings.Cut(line, " ")
	v := s.heard
	if v == nil {
		v = s.find(verb)
	}
	if v != nil {
		verb = v.name
	}
	s.replied(verb, line, r)
}

// roundUp is how much of a wait is left after some time of it, or of as many steps more
// as that has taken: how long an answer took must not tell what was looked up (A66).
func roundUp(step, wait, taken time.Duration) time.Duration {
	for wait < taken {
		wait += step
	}
	return wait - taken
}

// discreet is a command as others may see it: what may hold a password is left out (A26).
// A client whose AUTH is refused at once may send on what it has prepared, as if it were
// commands. What only looks like AUTH, as with a blank before it, holds one as well.
func (s *session) discreet(line string) string {
	const verb = "AUTH"
	name, arg, _ := strings.Cut(line, " ")
	like := strings.TrimLeft(line, " \t\x00")
	switch {
	case smtp.EqualFold(name, verb):
		mechanism, _, _ := strings.Cut(strings.TrimLeft(arg, " "), " ")
		s.confides = true
		return verb + " " + asName(mechanism[:min(len(mechanism), 20)]) + " ***"
	case len(like) >= len(verb) && smtp.EqualFold(like[:len(verb)], verb):
		s.confides = true
		return verb + " ***"
	case s.confides && s.find(name) == nil:
		return "***"
	}
	return line
}
