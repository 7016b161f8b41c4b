package local

import (
	"context"

	"postoffice/internal/disk"
	"postoffice/internal/smtp"
)

// lookout tells which messages for an account go where a .forward says. It
// looks once for each extension, with the account's ids.
type lookout struct {
	fs disk.FS
	a  Account

	home    disk.Dir // nil: there is none, or it was not opened yet
	homeErr error
	opened  bool
	seen    map[string]*Result // by extension: what answers for it; nil: it stays here
}

// elsewhere is the answer to a message that goes to no mailbox, or that can't
// go to one now; nil for any other.
func (l *lookout) elsewhere(d Delivery) *Result {
	if d.Final || l.a.UID == 0 {
		return nil
	}
	if res, ok := l.seen[d.Extension]; ok {
		return res
	}
	res := l.find(d.Extension)
	if l.seen == nil {
		l.seen = map[string]*Result{}
	}
	l.seen[d.Extension] = res
	return res
}

func (l *lookout) find(extension string) *Result {
	yes, err := l.forwards(extension)
	var res Result
	switch {
	case err != nil:
		res = deferred("4.2.0", "it is not known now whether this user's mail is forwarded", err)
	case yes:
		res = Result{Status: Forwarded, Reply: smtp.Reply{Code: 250, Status: "2.0.0", Text: "this user's mail is forwarded"}}
	default:
		return nil
	}
	return &res
}

func (l *lookout) forwards(extension string) (bool, error) {
	home, err := l.openHome()
	if home == nil {
		return false, err
	}
	return forwarded(home, extension)
}

// openHome opens the home directory once; see the function of that name.
func (l *lookout) openHome() (disk.Dir, error) {
	if !l.opened {
		l.home, l.homeErr = openHome(l.fs, l.a)
		l.opened = true
	}
	return l.home, l.homeErr
}

func (l *lookout) close() {
	if l.home != nil {
		l.home.Close() // it was only looked into
	}
}

// all looks for each of the jobs and returns which jobs are known to go
// elsewhere, a question that needs no file any more.
func (l *lookout) all(jobs []*job) func(*job) bool {
	for _, j := range jobs {
		l.elsewhere(j.d)
	}
	return func(j *job) bool { return !j.d.Final && l.seen[j.d.Extension] != nil }
}

// answerElsewhere answers the jobs that are not for this mailbox and returns
// the others.
func (t *turn) answerElsewhere(jobs []*job) (stay []*job) {
	for _, j := range jobs {
		if res := t.look.elsewhere(j.d); res != nil {
			t.answer(j, *res)
		} else {
			stay = append(stay, j)
		}
	}
	return stay
}

// Forwards says whether mail for the account, or for the detail behind its
// name, goes where a .forward of its says. An error means that it is not known
// now; ErrNoUser that there is no such account.
func (m *Mailboxes) Forwards(ctx context.Context, user, extension string) (yes bool, err error) {
	a, err := m.o.Accounts.Lookup(ctx, user)
	if err != nil || a.UID == 0 {
		return false, err
	}
	select {
	case m.busy <- struct{}{}:
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	defer func() { <-m.busy }()
	err = m.o.As(a, -1, func() error {
		l := lookout{fs: m.o.FS, a: a}
		defer l.close()
		yes, err = l.forwards(extension)
		return err
	})
	return yes && err == nil, err
}
