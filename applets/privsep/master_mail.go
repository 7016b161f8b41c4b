package privsep

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"postoffice/applets/privsep/birth"
	"postoffice/deliver/local"
	"postoffice/deliver/local/mailbox"
	"postoffice/deliver/local/stalled"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
)

// perMail is how many deliveries and questions a process that writes mailboxes has at one
// time: more than one batch.
const perMail = 128

const (
	maxQuietMail      = linkDeliveries / 2 // deliveries under way in processes, from which one that hangs may hold up others: half of what a server asks for
	maxQuietQuestions = 8                  // the same for questions after a .forward
)

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
		s.mailAs(a, f, d.User, from, over)
	}
}

// mailAs has a process of the account write what came with a request, and answers. As with
// write, the server hears of one that hangs that it is deferred, and what became of it when
// it asks again.
func (s *serverLife) mailAs(a account.Account, f []string, user string, from io.ReadCloser, over func()) {
	request := frame{opSmall, f}
	pipe, isPipe := from.(*os.File)
	if isPipe {
		request.op = opDeliver
	}
	told := false
	answer, err := s.m.mailing.ask(s.ctx, a, request, pipe, func(err error) {
		told = true
		s.answer(f[0], stuck(err))
		over()
	})
	res := stuck(err)
	if err == nil {
		t, _ := parseResult(answer.fields) // it was looked at when it came
		res = t.Result
	}
	if told {
		s.m.results.end(f[0], res)
		return
	}
	s.conclude(f[0], user, res, true)
}

// stuck says why a process of a user's has written nothing.
func stuck(err error) local.Result {
	if errors.Is(err, stalled.ErrStalled) {
		return local.Settle(outcome.Deferral("4.2.0", "the file system of this user's mailbox or home directory does not answer", err))
	}
	return failed("this user's mailbox can't be written now", err)
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
	type answer struct {
		f   frame
		err error
	}
	answers := make(chan answer, 2)
	m.running.Go(func() {
		f, err := m.mailing.ask(ctx, a, frame{opForwards, []string{"", a.Name, extension}}, nil, func(err error) { answers <- answer{err: err} })
		answers <- answer{f, err}
	})
	got := <-answers
	if got.err != nil {
		return false, got.err
	}
	return parseForwarded(got.f.fields)
}

// mailing is what users' processes that write mailboxes have under way. A process that
// doesn't come a step further is as a thread of ours that doesn't, where threads have ids:
// it is left behind, with the same bounds for each file system and for all of them.
type mailing struct {
	users     *users
	places    *stalled.Places
	ways      func(account.Account) []string
	mail      atomic.Int64 // deliveries under way that nobody was told of
	questions atomic.Int64 // the same of questions

	mu  sync.Mutex // guards what follows
	all map[account.Account]*visit
}

// visit is what one process does from its first request until it has none. mailing.mu
// guards it.
type visit struct {
	asked    map[*asking]bool
	place    *stalled.Place // nil: it may not begin yet
	begun    int            // requests that the process has, which is started for the first of them
	admitted chan struct{}
	over     chan struct{} // closed with the last request
}

// asking is one request.
type asking struct {
	since time.Time
	hangs chan error // buffered: why it is not waited for any longer
}

func newMailing(u *users, boxes *mailbox.Mailboxes, mounts func() string) *mailing {
	g := &mailing{users: u, places: stalled.New(mounts), ways: boxes.Ways, all: map[account.Account]*visit{}}
	u.moves = g.moves
	return g
}

// ask is users.ask, once the account's file systems may be entered. hangs is called, once,
// if that is not waited for; what has begun goes on.
func (g *mailing) ask(ctx context.Context, a account.Account, f frame, file *os.File, hangs func(error)) (frame, error) {
	under := &g.mail
	if f.op == opForwards {
		under = &g.questions
	}
	under.Add(1)
	leave := sync.OnceFunc(func() { under.Add(-1) })
	defer leave()
	q := &asking{time.Now(), make(chan error, 1)}
	v := g.join(a, q)
	defer g.part(a, v, q)
	select {
	case <-v.admitted:
	case err := <-q.hangs:
		return frame{}, err
	case <-ctx.Done():
		return frame{}, context.Cause(ctx)
	}
	type answer struct {
		f   frame
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		f, err := g.users.ask(ctx, a, forMail, f, file, func() { g.begin(v) })
		answers <- answer{f, err}
	}()
	select {
	case got := <-answers:
		return got.f, got.err
	case err := <-q.hangs:
		leave() // it is nobody's room any more
		hangs(err)
	}
	got := <-answers
	return got.f, got.err
}

// join has a request take part in the visit to its user, and begins that where there is none.
func (g *mailing) join(a account.Account, q *asking) *visit {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.all[a]
	if v == nil {
		v = &visit{asked: map[*asking]bool{}, admitted: make(chan struct{}), over: make(chan struct{})}
		g.all[a] = v
		go g.visit(a, v)
	}
	v.asked[q] = true
	return v
}

// part ends that.
func (g *mailing) part(a account.Account, v *visit, q *asking) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(v.asked, q)
	if len(v.asked) == 0 && g.all[a] == v {
		delete(g.all, a)
		close(v.over)
	}
}

// visit waits for a place, and has it as long as the visit takes.
func (g *mailing) visit(a account.Account, v *visit) {
	var refused error
	g.places.Do(stalled.Work{
		Ways:    g.ways(a),
		Crowded: func() bool { return g.mail.Load() >= maxQuietMail || g.questions.Load() >= maxQuietQuestions },
		Refuse:  func(err error) bool { refused = err; return g.refuse(v, err) },
		Left:    func() { g.users.stray(a, true) },
		Do: func(at *stalled.Place) error {
			defer g.users.stray(a, false)
			g.mu.Lock()
			v.place = at
			g.mu.Unlock()
			close(v.admitted)
			tick := time.NewTicker(movesWait)
			defer tick.Stop()
			for {
				select {
				case <-v.over:
					return nil
				case <-tick.C:
					g.waits(v, at)
				}
			}
		},
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	if v.place == nil { // it was dropped, and whoever came meanwhile with it
		if g.all[a] == v {
			delete(g.all, a)
		}
		v.tell(refused, time.Now())
	}
}

// waits says that nothing hangs as long as the process is not there yet.
func (g *mailing) waits(v *visit, at *stalled.Place) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v.begun == 0 {
		at.Go(0)
	}
}

// begin says that a process has a request.
func (g *mailing) begin(v *visit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v.begun++; v.begun == 1 {
		v.place.Go(0)
	}
}

// refuse tells those requests that they hang which have waited long enough to know, and
// whether the visit need not begin.
func (g *mailing) refuse(v *visit, err error) (drop bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v.place == nil {
		v.tell(err, time.Now())
		return true
	}
	v.tell(err, time.Now().Add(-stalled.StepWait))
	return false
}

// tell tells those who have asked before some time. The caller holds mailing.mu.
func (v *visit) tell(err error, before time.Time) {
	for q := range v.asked {
		if q.since.After(before) {
			continue
		}
		select {
		case q.hangs <- err:
		default: // it was told
		}
	}
}

// moves hears what the process of an account says: that it has come a step further, by an
// answer too, or which way hangs.
func (g *mailing) moves(a account.Account, f frame) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.all[a]
	switch {
	case v == nil || v.place == nil:
	case f.op != opMoves || f.fields[0] == "":
		v.place.Step()
	case f.fields[0] == "1":
		v.place.At(1)
	default:
		v.place.At(0)
	}
}

// stray takes their places from the processes that write an account's mailbox, since they
// hang, or gives these back.
func (u *users) stray(a account.Account, hang bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for p := range u.all {
		if p.account != a || !p.mail || p.stray == hang || p.aside {
			continue
		}
		p.stray = hang
		if hang {
			u.strays++
		} else {
			u.strays--
		}
	}
	u.wake()
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
// ours that hangs there, or the process that writes the mailbox, is counted with the others
// of that file system, and a process that reads a list would be one for each user.
func (s *serverLife) answers(a account.Account) error {
	if _, err := s.m.forwards(s.ctx, a.Name, ""); errors.Is(err, stalled.ErrStalled) {
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
