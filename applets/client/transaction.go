package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/server"
	"postoffice/applets/sysexits"
	"postoffice/internal/smtp"
)

// A server that stops, or starts again, may be met at any moment: what it did
// not acknowledge is submitted again for restartWait.
const (
	restartWait = 30 * time.Second      // from the first try to the last
	firstPause  = 50 * time.Millisecond // before the second try; each next pause is twice as long
	lastPause   = 2 * time.Second
)

// errBroken is a session that ended before the message was answered for.
var errBroken = errors.New("the message was not taken")

// sessions are where a letter gets further ones from.
type sessions struct {
	more func(limit time.Time) (net.Conn, error) // to the same server, or the next one
	last func(why error) (net.Conn, error)       // when none greets until the limit
}

// submit submits the message over conn and, while sessions break or end with
// 421, over others. An answer that got lost may make a second copy:
// that is preferred to none (RFC 5321 section 4.5.3.2.6). A session that lasted, as
// where the message came slowly, gives the next ones their time again. Where no
// session greets until greeted, for as long as that takes again with each that has,
// the last one is taken.
func (l letter) submit(ctx context.Context, env *cmdline.Env, conn net.Conn, greeted time.Time, s sessions) (*submitted, error) {
	broken := time.Now().Add(restartWait)
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		begun := time.Now()
		sent, err := l.transact(env, conn, greeted)
		unheard := errors.Is(err, server.ErrNoSession)
		if !unheard && time.Since(begun) > restartWait {
			broken = time.Now().Add(restartWait)
		}
		limit := broken
		if unheard {
			limit = greeted
		} else {
			greeted = time.Now().Add(greetWait)
		}
		if !errors.Is(err, errBroken) || ctx.Err() != nil {
			return sent, err
		}
		if time.Until(limit) < wait || !pause(ctx, wait) {
			if !unheard || ctx.Err() != nil {
				return sent, err
			}
			if conn, err = s.last(err); err != nil {
				return nil, err
			}
			return l.transact(env, conn, time.Now().Add(greetWait))
		}
		if conn, err = s.more(greeted); err != nil {
			return nil, err
		}
	}
}

// pause waits and says whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// transact does the transaction and turns its replies into an error. A message
// goes to all its recipients or to none: those that are refused for good beside
// good ones are told on standard error, and by a report of the server's; where
// one is refused for now, or the server makes no such reports, nothing is sent.
func (l letter) transact(env *cmdline.Env, conn net.Conn, greeted time.Time) (*submitted, error) {
	client, err := server.NewSession(conn, greeted)
	if err != nil {
		if errors.Is(err, server.ErrNoSession) {
			err = broken(err)
		}
		return nil, err
	}
	defer client.Close()
	if name, ok := client.Has(smtp.KeywordUser); ok && l.o.own() {
		l.from = smtp.Path{Local: name}
	}
	text, err := l.text()
	if err != nil {
		return nil, cmdline.ExitWith(sysexits.TempFail, err)
	}
	params := l.params
	if _, reports := client.Has(smtp.ParamReport); reports {
		params = append(slices.Clip(params), smtp.Param{Name: smtp.ParamReport})
	}
	res, err := client.Send(smtp.Transaction{ReversePath: l.from, Params: params, Recipients: l.to, Body: text, Exact: true, Whole: true})
	source := (*smtp.SourceError)(nil)
	switch ended := res.Final.IsZero() || res.Final.Code == 421; {
	case err != nil && errors.As(err, &source):
		return nil, cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("the message was not taken: %w", err))
	case err != nil && ended:
		return nil, broken(err)
	}
	sent, err := l.replies(env, res)
	if err == nil {
		client.Quit()
	}
	return sent, err
}

// broken is the error for a session that ended with err.
func broken(err error) error {
	return cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("%w: %w", errBroken, err))
}

// replies says what became of the message by the replies to it. Where it was
// taken, it is in the queue for those who were refused too.
func (l letter) replies(env *cmdline.Env, res smtp.TransactionResult) (*submitted, error) {
	var sent submitted
	bad := false
	for i, reply := range res.Rcpt {
		if reply.IsZero() {
			continue
		}
		sent.to = append(sent.to, l.to[i].Path)
		if reply.Class() != 2 {
			bad = true
			env.Say(fmt.Sprintf("%s: %s", l.to[i].Path, reply))
		}
	}
	if bad && l.o.Refused != nil { // as one may be whose alias is not in the database yet
		l.o.Refused()
	}
	switch {
	case res.Final.Class() == 2:
		sent.ids = queueIDs(res.Final.Text)
		return &sent, nil
	case !res.Final.IsZero():
		return nil, server.Refused("the message was refused", res.Final, sysexits.Unavailable)
	case res.Mail.Class() != 2:
		return nil, server.Refused(fmt.Sprintf("sender %s", l.from), res.Mail, sysexits.Unavailable)
	case !res.Data.IsZero():
		return nil, server.Refused("the message was refused", res.Data, sysexits.Unavailable)
	}
	return nil, unsent(res.Rcpt)
}

// queueIDs are the messages that a server of ours says it has queued, a line each;
// none where it says something else.
func queueIDs(text string) (ids []string) {
	for line := range strings.SplitSeq(text, "\n") {
		for _, before := range []string{"queued as ", "and as "} {
			if id, ok := strings.CutPrefix(line, before); ok {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// unsent is the error where recipients kept a message from being sent, of whom
// standard error has told one by one: later if that may mend one of them.
func unsent(replies []smtp.Reply) error {
	good, late := 0, 0
	for _, reply := range replies {
		switch reply.Class() {
		case 2:
			good++
		case 5:
		default:
			late++
		}
	}
	switch {
	case late > 0 && good > 0:
		return cmdline.ExitWith(sysexits.TempFail, errors.New("not every recipient could be accepted now; nothing was sent"))
	case late > 0:
		return cmdline.ExitWith(sysexits.TempFail, errors.New("no recipient could be accepted now; nothing was sent"))
	case good > 0:
		return cmdline.ExitWith(sysexits.NoUser, errors.New("not every recipient is good; nothing was sent"))
	}
	return cmdline.ExitWith(sysexits.NoUser, errors.New("no recipient is good; nothing was sent"))
}

// DSN are sendmail's flags for the parameters of RFC 3461.
type DSN struct {
	Notify cmdline.Text // -N: never, or failure, delay and success with commas
	Return cmdline.Text // -R: full or hdrs
	EnvID  cmdline.Text // -V
}

// params are those of MAIL and those of each RCPT.
func (o DSN) params() (ofMail, ofRcpt []smtp.Param, err error) {
	add := func(to *[]smtp.Param, flag, value string, p smtp.Param, err error) error {
		if err == nil {
			err = smtp.CheckDSN(p)
		}
		if err != nil {
			return cmdline.Usagef("-%s %q: %v", flag, value, err)
		}
		*to = append(*to, p)
		return nil
	}
	if o.Return.Given {
		err = add(&ofMail, "R", o.Return.Value, smtp.Param{Name: "RET", Value: strings.ToUpper(o.Return.Value)}, nil)
	}
	if o.EnvID.Given && err == nil {
		p, bad := smtp.ENVID(o.EnvID.Value)
		err = add(&ofMail, "V", o.EnvID.Value, p, bad)
	}
	if o.Notify.Given && err == nil {
		err = add(&ofRcpt, "N", o.Notify.Value, smtp.Param{Name: "NOTIFY", Value: strings.ToUpper(o.Notify.Value)}, nil)
	}
	return ofMail, ofRcpt, err
}
