package mailbox

import (
	"context"

	"postoffice/deliver/local"
	"postoffice/deliver/local/stalled"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/disk"
)

// forwardProbe tells which messages for an account go where a .forward says. It
// looks once for each extension, with the account's ids.
type forwardProbe struct {
	fs    disk.FS
	homes Homes
	a     account.Account
	place *stalled.Place // told of each step

	home    disk.Dir // nil: there is none, or it was not opened yet
	homeErr error
	opened  bool
	seen    map[string]*local.Result // by extension: what answers for it; nil: it stays here
}

// Elsewhere returns the answer to a delivery that a .forward of the account
// takes elsewhere, or of which that is not known now; nil for any other. It
// looks with our ids.
func Elsewhere(fsys disk.FS, homes Homes, a account.Account, d local.Delivery) *local.Result {
	l := forwardProbe{fs: fsys, homes: homes, a: a}
	defer l.close()
	return l.elsewhere(d)
}

// elsewhere is the answer to a message that goes to no mailbox, or that can't
// go to one now; nil for any other.
func (l *forwardProbe) elsewhere(d local.Delivery) *local.Result {
	if _, _, virtual := account.SplitVirtual(l.a.Name); d.Final || virtual || l.a.UID == 0 {
		return nil
	}
	if res, ok := l.seen[d.Extension]; ok {
		return res
	}
	res := l.find(d.Extension)
	if l.seen == nil {
		l.seen = map[string]*local.Result{}
	}
	l.seen[d.Extension] = res
	return res
}

func (l *forwardProbe) find(extension string) *local.Result {
	yes, err := l.forwards(extension)
	var res local.Result
	switch {
	case err != nil:
		res = local.Settle(outcome.Deferral("4.2.0", "it is not known now whether this user's mail is forwarded", err))
	case yes:
		res = local.Result{Answer: local.Forwarded}
	default:
		return nil
	}
	return &res
}

func (l *forwardProbe) forwards(extension string) (bool, error) {
	l.place.Go(inHome)
	defer l.place.Step()
	home, err := l.openHome()
	if home == nil {
		return false, err
	}
	return forwarded(home, extension)
}

// openHome is Homes.Open, once.
func (l *forwardProbe) openHome() (disk.Dir, error) {
	if !l.opened {
		l.home, l.homeErr = l.homes.Open(l.fs, l.a)
		l.opened = true
	}
	return l.home, l.homeErr
}

func (l *forwardProbe) close() {
	if l.home != nil {
		l.home.Close() // it was only looked into
	}
}

// all looks for each of the jobs and returns which jobs are known to go
// elsewhere, a question that needs no file any more.
func (l *forwardProbe) all(jobs []*job) func(*job) bool {
	for _, j := range jobs {
		l.elsewhere(j.d)
	}
	return func(j *job) bool { return !j.d.Final && l.seen[j.d.Extension] != nil }
}

// answerElsewhere answers the jobs that are not for this mailbox and returns
// the others.
func (t *task) answerElsewhere(jobs []*job) (stay []*job) {
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
	m.questions.Add(1)
	defer m.questions.Add(-1)
	crowded := func() bool { return m.questions.Load() >= maxQuietQuestions }
	return stalled.Ask(ctx, m.busy, []string{inHome: a.Home}, crowded, func(p *stalled.Place) (yes bool, err error) {
		err = m.o.As(a, -1, func() (err error) {
			l := forwardProbe{fs: m.o.FS, homes: m.o.Homes, a: a, place: p}
			defer l.close()
			yes, err = l.forwards(extension)
			return err
		})
		return yes && err == nil, err
	})
}
