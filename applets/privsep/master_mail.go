package privsep

import (
	"context"
	"errors"
	"io"
	"os"

	"postoffice/applets/privsep/birth"
	"postoffice/deliver/local"
	"postoffice/deliver/local/mailbox"
	"postoffice/deliver/local/stalled"
	"postoffice/internal/account"
)

// perMail is how many deliveries and questions a process that writes mailboxes has at one
// time: more than one batch.
const perMail = 128

// deliverAs makes a delivery as this system can: on a thread of ours with the user's ids,
// or in a process of the user's. root's own mailbox is ours to write.
func (s *serverLife) deliverAs(f []string, d local.Delivery, from io.ReadCloser, over func()) {
	token := f[0]
	if !s.m.o.ByUsers {
		s.write(token, d, from, over)
		return
	}
	switch a, o, ok := s.m.boxes.Owner(s.ctx, d.User); {
	case !ok:
		s.conclude(token, d.User, local.Settle(o), true)
	case a.UID == 0:
		s.write(token, d, from, over)
	default:
		s.conclude(token, d.User, s.mailAs(a, f, from), true)
	}
}

// mailAs has a process of the account write what came with a request.
func (s *serverLife) mailAs(a account.Account, f []string, from io.ReadCloser) local.Result {
	request := frame{opSmall, f}
	pipe, isPipe := from.(*os.File)
	if isPipe {
		request.op = opDeliver
	}
	answer, err := s.m.users.ask(s.ctx, a, forMail, request, pipe, func() {})
	if err != nil {
		return failed("this user's mailbox can't be written now", err)
	}
	t, _ := parseResult(answer.fields) // it was looked at when it came
	return t.Result
}

// forwards looks for a .forward with the user's ids.
func (m *master) forwards(ctx context.Context, user, extension string) (bool, error) {
	if !m.o.ByUsers {
		return m.boxes.Forwards(ctx, user, extension)
	}
	a, err := m.accounts.Lookup(ctx, user)
	if err != nil || a.UID == 0 {
		return false, err
	}
	answer, err := m.users.ask(ctx, a, forMail, frame{opForwards, []string{"", a.Name, extension}}, nil, func() {})
	if err != nil {
		return false, err
	}
	return parseForwarded(answer.fields)
}

// parseForwarded reads the fields of an opForwarded.
func parseForwarded(f []string) (bool, error) {
	switch f[1] {
	case forwardsYes, forwardsNo:
		return f[1] == forwardsYes, nil
	case forwardsLater:
		return false, errors.New(f[2])
	}
	return false, errFrame
}

// answers says that the file system of a home directory does not answer: a thread of
// ours that hangs there is counted with the others of that file system, and a
// process would be one for each user.
func (s *serverLife) answers(a account.Account) error {
	if s.m.o.ByUsers {
		return nil // it would be a process of the user's too
	}
	if _, err := s.m.boxes.Forwards(s.ctx, a.Name, ""); errors.Is(err, stalled.ErrStalled) {
		return err
	}
	return nil
}

// mailDirOf is the mail directory where mailboxes are in it.
func mailDirOf(o mailbox.Options) string {
	if o.Mailbox != "" {
		return ""
	}
	return o.Dir
}

// startMailer starts a process that writes an account's mailbox: with the group of the
// mail directory where that may make files there, as a thread would have it, and no
// rights but these.
func (u *users) startMailer(a account.Account) (*birth.Child, error) {
	group := a.GID
	if info, err := os.Stat(u.mailDir); err == nil {
		if gid, ok := mailbox.MadeIn(info); ok {
			group = gid
		}
	}
	own := a.GID
	a.GID = group
	return startUser(a, []uint32{uint32(own)}, u.bare, true)
}

// send sends a request, with what is the user's own in its place, and closes the file, if
// there is one.
func (p *userProcess) send(serial string, f frame, file *os.File) error {
	f = frame{f.op, append([]string{serial}, f.fields[1:]...)}
	if !p.mail {
		f.fields[1] = p.account.Name
		if source := local.Source(f.fields[2]); source == local.FromForward || source == local.FromMailer {
			f.fields[3] = p.account.Name // it is the user's own, however it was spelt
		}
	}
	if file == nil {
		return p.conn.send(f)
	}
	defer file.Close()
	return p.conn.send(f, file)
}
