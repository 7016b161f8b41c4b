package privsep

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"postoffice/deliver/local"
	"postoffice/internal/maillog"
)

// maxLists bounds the lists that a server has read at once; Link keeps below.
const maxLists = 64

// errForbidden is a request that no server of ours makes, unless the
// configuration has just changed.
var errForbidden = errors.New("not allowed")

// checkItem looks at the user and the item of a request (runFields, listFields)
// as far as that needs no file. A .forward is its user's own affair.
func checkItem(f []string) error {
	user, source, name := f[1], f[2], f[3]
	if err := local.CheckName(user); err != nil {
		return fmt.Errorf("item of %q: %w", user, err)
	}
	if len(f[4]) != sha256.Size {
		return fmt.Errorf("hash of %d octets, want %d", len(f[4]), sha256.Size)
	}
	switch source {
	case local.FromAlias, local.FromUsermap:
		return nil
	case local.FromForward, local.FromMailer:
		if name != user {
			return fmt.Errorf("%s of %q for user %q", source, name, user)
		}
		return nil
	}
	return fmt.Errorf("item of a source %q", source)
}

// run has a user's process run or write one item.
func (s *session) run(f frame, from *os.File) error {
	if err := errors.Join(checkPipe(from), checkItem(f.fields), checkFinal(f.fields[5])); err != nil {
		return err
	}
	token, user := f.fields[0], f.fields[1]
	return s.once(token, user, from, func() { s.conclude(token, user, s.runAs(f, from)) })
}

func (s *session) runAs(f frame, from *os.File) local.Result {
	a, err := s.person(f.fields[1])
	if err == nil && f.fields[2] == local.FromAlias {
		err = s.m.people.checkDefault(a.Name)
	}
	if source := f.fields[2]; errors.Is(err, local.ErrNoUser) && (source == local.FromForward || source == local.FromMailer) {
		res := failed("no such user here", err)
		res.Status, res.Reply.Code, res.Reply.Status = local.Refused, 550, "5.1.1"
		return res
	}
	if err != nil {
		return failed("this user's process can't be started now", err)
	}
	answer, err := s.m.people.ask(s.ctx, a, forRun, f, from)
	if err != nil {
		return failed("the address's program or file can't be used now", err)
	}
	t, _ := parseResult(answer.fields) // it was looked at when it came
	return t.Result
}

// person is the account whose process is asked for: never one with uid 0 (A43).
func (s *session) person(user string) (local.Account, error) {
	a, err := s.m.accounts.Lookup(s.ctx, user)
	if err != nil {
		return a, err
	}
	if a.UID == 0 {
		return a, fmt.Errorf("%w: %s has uid 0", errForbidden, a.Name)
	}
	return a, nil
}

// list has a user's process read a list, which it writes into the pipe.
func (s *session) list(f frame, into *os.File) error {
	err := errors.Join(checkSerial(f.fields[0]), checkPipe(into), checkItem(f.fields))
	if err != nil {
		return err
	}
	if !s.begin(&s.lists, maxLists) {
		return fmt.Errorf("more than %d lists at once", maxLists)
	}
	s.m.running.Go(func() {
		defer s.end(&s.lists)
		defer into.Close()
		answer, err := s.listAs(f, into)
		if err != nil {
			answer = listedFrame("", err)
		}
		into.Close() // before the answer: its reader sees the end
		answer.fields[0] = f.fields[0]
		s.reply(answer)
	})
	return nil
}

func (s *session) listAs(f frame, into *os.File) (frame, error) {
	user := f.fields[1]
	a, err := s.person(user)
	switch {
	case err == nil:
	case f.fields[2] == local.FromUsermap: // a stranger can make the server ask, with a name that leads to root
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "list not read", maillog.User(user), maillog.Err(err))
	case errors.Is(err, local.ErrNoUser), errors.Is(err, errForbidden):
		s.refused(user, err)
	}
	if err != nil {
		return frame{}, err
	}
	return s.m.people.ask(s.ctx, a, forList, f, into)
}

// forwards looks for a .forward with the user's ids.
func (s *session) forwards(serial, user, extension string) error {
	if err := errors.Join(checkSerial(serial), local.CheckName(user)); err != nil {
		return fmt.Errorf("forwards of %q: %w", user, err)
	}
	if !s.begin(&s.lookups, maxLookups) {
		return fmt.Errorf("more than %d lookups at once", maxLookups)
	}
	s.m.running.Go(func() {
		defer s.end(&s.lookups)
		ctx, cancel := context.WithTimeout(s.ctx, listTime)
		defer cancel()
		yes, err := s.m.boxes.Forwards(ctx, user, extension)
		f := frame{opForwarded, []string{serial, forwardsNo, ""}}
		switch {
		case err != nil:
			f.fields[1], f.fields[2] = forwardsLater, clip(err.Error())
		case yes:
			f.fields[1] = forwardsYes
		}
		s.reply(f)
	})
	return nil
}
