package logins

import (
	"context"
	"errors"
	"slices"

	"postoffice/applets/smtpd/login"
)

// InOrder asks sources in turn, the next one about whom the ones before don't let in. It
// is asked about a wrong password too: what a refusal takes must not tell where there is
// an account (A66). A source that can't answer makes a refusal of the others one that may
// pass, and that counts as one all the same: else who guesses has free play meanwhile.
// With none of them nobody can log in.
func InOrder(all ...login.Source) login.Source {
	if len(all) == 1 {
		return all[0]
	}
	return inOrder(all)
}

type inOrder []login.Source

// Mechanisms are PLAIN, in which the client says at once what decides, so that one source
// after the other can be asked about it, and of all others those of one source's accounts:
// the first that has one does it. A source that has no such account answers there like one
// that has, so as not to tell, and those behind it can't be asked about theirs.
func (o inOrder) Mechanisms() []login.Mechanism {
	var all []login.Mechanism
	plain := len(o) > 0
	for _, s := range o {
		theirs := s.Mechanisms()
		for _, m := range theirs {
			if !has(all, m.Name) {
				all = append(all, login.Mechanism{Name: m.Name, Some: true})
			}
		}
		plain = plain && slices.Contains(theirs, login.Mechanism{Name: login.Plain})
	}
	for i, m := range all {
		all[i].Some = m.Name != login.Plain || !plain
	}
	return all
}

func has(all []login.Mechanism, name string) bool {
	return slices.ContainsFunc(all, func(m login.Mechanism) bool { return m.Name == name })
}

// Begin begins an exchange.
func (o inOrder) Begin(c login.Client, mechanism string) login.Exchange {
	able := slices.DeleteFunc(slices.Clone(o), func(s login.Source) bool { return !has(s.Mechanisms(), mechanism) })
	if mechanism != login.Plain && len(able) > 0 {
		return able[0].Begin(c, mechanism)
	}
	return &exchange{client: c, mechanism: mechanism, asked: able}
}

// exchange is one login by PLAIN.
type exchange struct {
	client    login.Client
	mechanism string
	asked     inOrder
}

var errAway = errors.New("no source of option auth can do that mechanism now")

// Step asks all, up to the one that says yes.
func (e *exchange) Step(ctx context.Context, response []byte) ([]byte, login.Result) {
	r := login.Result{Answer: login.Unknown}
	if len(e.asked) == 0 {
		r = login.Result{Answer: login.Later, Err: errAway}
	}
	refused := false
	for i, s := range e.asked {
		e.client.Among = i < len(e.asked)-1
		one := e.ask(ctx, s, response)
		switch one.Answer {
		case login.Yes:
			return nil, one
		case login.Later:
			refused = refused || one.Refused
		default:
			refused = true
		}
		if weight(one.Answer) >= weight(r.Answer) {
			r = one
		}
	}
	r.Refused = refused && r.Answer == login.Later
	return nil, r
}

func (e *exchange) ask(ctx context.Context, s login.Source, response []byte) login.Result {
	x := s.Begin(e.client, e.mechanism)
	defer x.Close()
	_, r := x.Step(ctx, response)
	if r.Answer == login.Asks {
		return login.Result{Answer: login.Later, Err: errors.New("a source of option auth asks for more than a name and a password")}
	}
	return r
}

// weight says which of two refusals counts: that it isn't known, then what is known of an
// account, then that there is none.
func weight(a login.Answer) int {
	switch a {
	case login.Later:
		return 2
	case login.No:
		return 1
	}
	return 0
}

// Close has nothing to end.
func (*exchange) Close() {}
