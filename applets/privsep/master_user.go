package privsep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"postoffice/applets/privsep/birth"
	"postoffice/applets/privsep/creds"
	"postoffice/applets/service"
	"postoffice/deliver/local"
	"postoffice/deliver/local/stalled"
	"postoffice/internal/account"
	"postoffice/internal/maillog"
)

// UserRole is a user's process; the name follows in argv[0].
const UserRole = "postoffice: user "

const (
	// ProgramWait is what users' programs have to end by themselves when the
	// server is told to end.
	ProgramWait = 3 * time.Second
	// userEnd is what a user's process has to end its programs and itself once
	// its link is closed.
	userEnd = 2 * time.Second
)

var errUserEnded = errors.New("the user's process ended")

// userProcess is the master's side of a user's process. What it sends is as little
// trusted as what the server sends: its user may have taken it over.
type userProcess struct {
	users      *users
	account    account.Account
	mail       bool // it writes the account's mailbox, and runs nothing
	generation int  // of the settings
	settings   []byte
	runTime    time.Duration
	started    chan struct{} // closed when the process runs or err is set
	err        error
	conn       *conn
	cmd        *exec.Cmd
	lost       chan struct{} // closed when nothing comes any more

	// Guarded by users.mu.
	busy    [kinds]int
	hung    bool        // it was killed because it hung, and others needed its place
	aside   bool        // it hangs, and has none of the places
	apart   bool        // what it runs takes long, and it has none of the places
	stray   bool        // it hangs in a mailbox, and has none of the places
	slow    int         // runs that it has not answered for users.slow
	stalled int         // lists that it has not answered for stalled.StepWait
	leaving bool        // its link is closed: no new requests
	since   time.Time   // it has been unused, or leaving
	timer   *time.Timer // ends it when it is idle
	killer  *time.Timer // and when it does not end

	mu      sync.Mutex // guards what follows
	serial  uint64
	waiting map[string]chan frame
}

// unused says that the process runs and nobody needs it. The caller holds
// users.mu.
func (p *userProcess) unused() bool { return p.busy == [kinds]int{} && !p.leaving }

// runs says that the process has one of the places of those that run something: it
// does, and neither hangs at its end, nor has it been set aside while all its runs
// take long. The caller holds users.mu.
func (p *userProcess) runs() bool {
	if p.apart || p.aside && !p.leaving {
		return p.busy[forRun] > p.slow
	}
	return p.busy[forRun] > 0 && !p.aside
}

// setApart takes its place from a process of which all runs take long, where no more
// than maxApart do. A new run in it needs one again. The caller holds mu.
func (u *users) setApart(p *userProcess) {
	if p.aside || p.apart || p.leaving || !u.all[p] || p.slow == 0 || p.slow < p.busy[forRun] || u.apart >= maxApart {
		return
	}
	p.apart = true
	u.apart++
	u.wake()
}

// rejoin ends setApart, and another one may take the place among those. The caller
// holds mu.
func (u *users) rejoin(p *userProcess) {
	p.apart = false
	u.apart--
	for q := range u.all {
		u.setApart(q)
	}
	u.wake()
}

// watchRun sets a process apart when what it runs takes long, until the run is over.
func (u *users) watchRun(p *userProcess) (over func()) {
	return u.watch(u.slow, func() {
		p.slow++
		u.setApart(p)
	}, func() {
		if p.slow--; p.slow == 0 && p.apart {
			u.rejoin(p)
			u.setAside(p) // it may hang in a list
		}
	})
}

// startUser starts a process that becomes the user with the account's groups,
// with nothing but /dev/null and its link. It may gain rights by set-id programs,
// as any process of the user's, and with bare only others' ids, no capability. With
// confined it gains nothing.
func startUser(a account.Account, groups []uint32, bare, confined bool) (*birth.Child, error) {
	if a.UID == 0 {
		return nil, fmt.Errorf("user %s has uid 0", a.Name)
	}
	return birth.Start(birth.Options{
		Argv0:      UserRole + title(a.Name),
		Identity:   creds.Identity{UID: a.UID, GID: a.GID, Groups: groups, Bare: bare || confined && creds.MayCut()},
		NoNewPrivs: confined,
	})
}

// probe says at the start, and not with the first message that waits for it, that
// no process of a user can be started.
func (u *users) probe() {
	b, err := startUser(account.Account{Name: "probe", UID: account.Unused, GID: account.Unused}, nil, u.bare, false)
	if err == nil {
		var link *net.UnixConn
		if link, err = b.Link(birthTime); err == nil {
			err = link.Close()
		}
		b.Cmd.Process.Kill()
		b.Cmd.Wait()
	}
	if err != nil {
		u.log.LogAttrs(context.Background(), slog.LevelError, "users' processes can't be started", maillog.Err(err), maillog.Reason("mail for programs, files, lists and .forwards waits"))
	}
}

// title is a user's name as ps(1) may show it.
func title(name string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?'
		}
		return r
	}, name[:min(len(name), 32)])
}

// handOver sends a new process what it is to know.
func (p *userProcess) handOver() error {
	if err := sendPieces(p.conn, p.settings); err != nil {
		return err
	}
	return p.conn.send(accountFrame("0", lookupFound, p.account, ""))
}

// ask sends a request, whose first field becomes its serial, and returns the
// answer to it. It closes the file.
func (p *userProcess) ask(limit time.Duration, f frame, file *os.File) (frame, error) {
	answer := make(chan frame, 1)
	p.mu.Lock()
	p.serial++
	serial := strconv.FormatUint(p.serial, 10)
	p.waiting[serial] = answer
	p.mu.Unlock()
	defer p.forget(serial)
	err := p.send(serial, f, file)
	if err != nil {
		p.fail(fmt.Errorf("ask a user's process: %w", err))
		return frame{}, errUserEnded
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	switch f.op {
	case opList:
		defer p.users.watchList(p)()
	case opRun:
		defer p.users.watchRun(p)()
	}
	select {
	case a := <-answer:
		return p.fitting(f, a)
	case <-timer.C:
		p.fail(fmt.Errorf("no answer in %v", limit))
		return frame{}, fmt.Errorf("%w: it gave no answer in %v", errUserEnded, limit)
	case <-p.lost:
	}
	select {
	case a := <-answer: // it came before the end
		return p.fitting(f, a)
	default:
		return frame{}, p.ended()
	}
}

// ended says why a process gives no answer any more.
func (p *userProcess) ended() error {
	p.users.mu.Lock()
	defer p.users.mu.Unlock()
	if p.hung {
		return fmt.Errorf("%w, since it hung and others needed its place: %w", errUserEnded, stalled.ErrStalled)
	}
	return errUserEnded
}

// fitting returns the answer if it is of the kind that was asked for: the
// server would wait for ever for any other.
func (p *userProcess) fitting(asked, a frame) (frame, error) {
	if a.op != answerTo(asked.op) {
		p.fail(fmt.Errorf("%w: op %d in answer to op %d", errFrame, a.op, asked.op))
		return frame{}, errUserEnded
	}
	if owner, ok := errors.AsType[*local.OwnerError](parseOwner(a)); ok && owner.User != "" {
		return p.owner(a, owner)
	}
	return a, nil
}

// parseOwner is the error of an answer that names a list's owner.
func parseOwner(f frame) error {
	if f.op != opListed {
		return nil
	}
	return parseListed(f)
}

// owner returns the answer if the list's owner has the uid that it names: the
// server asks that user next, and would answer for one that it may not ask.
func (p *userProcess) owner(answer frame, owner *local.OwnerError) (frame, error) {
	ctx, cancel := context.WithTimeout(context.Background(), listTime)
	defer cancel()
	a, err := p.users.system.Lookup(ctx, owner.User)
	if err != nil {
		return frame{}, fmt.Errorf("%s belongs to %s: %w", owner.File, owner.User, err)
	}
	if a.UID != owner.UID {
		p.fail(fmt.Errorf("%w: a list of %s, who has uid %d, not %d", errFrame, owner.User, a.UID, owner.UID))
		return frame{}, errUserEnded
	}
	return answer, nil
}

func (p *userProcess) forget(serial string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, serial)
}

// read takes answers until the link closes.
func (p *userProcess) read() {
	defer close(p.lost)
	for {
		f, _, err := p.conn.recv()
		if err == nil {
			err = p.answer(f)
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, io.EOF):
			p.users.mu.Lock()
			p.users.end(p)
			p.users.mu.Unlock()
		default:
			p.fail(err)
		}
		return
	}
}

// answer hands an answer on, once, if it is one that a process of ours gives.
func (p *userProcess) answer(f frame) error {
	if err := checkAnswer(f); err != nil {
		return err
	}
	if p.mail {
		p.users.moves(p.account, f)
	}
	if f.op == opMoves {
		return nil
	}
	p.mu.Lock()
	c := p.waiting[f.fields[0]]
	delete(p.waiting, f.fields[0])
	p.mu.Unlock()
	if c == nil {
		return fmt.Errorf("%w: an answer to %q, which nobody asked", errFrame, f.fields[0])
	}
	c <- f
	return nil
}

// fail kills a process that does not do what ours do.
func (p *userProcess) fail(err error) {
	p.users.mu.Lock()
	told := p.leaving
	p.users.end(p)
	p.users.mu.Unlock()
	if told {
		return
	}
	p.users.log.LogAttrs(context.Background(), slog.LevelError, "user's process killed", maillog.User(p.account.Name), maillog.Err(err))
	p.kill()
}

func (p *userProcess) kill() { p.cmd.Process.Kill() }

// watch waits for the end of the process.
func (p *userProcess) watch() {
	err := p.cmd.Wait()
	p.users.mu.Lock()
	told := p.leaving
	p.users.mu.Unlock()
	<-p.started
	if p.err == nil && (!told || err != nil) {
		text := service.Exit(UserRole+title(p.account.Name), err).Text
		p.users.log.LogAttrs(context.Background(), slog.LevelWarn, "user's process ended", maillog.User(p.account.Name), maillog.Reason(text))
	}
	if p.err == nil {
		p.conn.close()
		<-p.lost
	}
	p.users.gone(p)
}

// start starts the process. The groups may have to be asked for.
func (u *users) start(ctx context.Context, p *userProcess) {
	defer close(p.started)
	groups, err := u.system.Groups(ctx, p.account)
	var b *birth.Child
	switch {
	case err != nil:
	case p.mail:
		b, err = u.startMailer(p.account)
	default:
		// Whoever has taken over the server may write a .forward for the server's user.
		b, err = startUser(p.account, groups, u.bare, p.account.UID == u.server)
	}
	if err != nil {
		u.failed(ctx, p, err)
		u.gone(p)
		return
	}
	u.mu.Lock()
	p.cmd = b.Cmd
	late := p.leaving // it was ended before it was there
	u.mu.Unlock()
	if late {
		p.kill()
	}
	u.watching.Go(p.watch) // for whom p.started, and then p.err, say how this went
	link, err := b.Link(birthTime)
	if err != nil {
		p.kill()
		u.failed(ctx, p, err)
		return
	}
	c := newConn(link, fromUser(), toUser())
	u.mu.Lock()
	p.conn = c
	late = p.leaving
	u.mu.Unlock()
	if late {
		c.close()
		p.kill()
	}
	go p.read()
	if err := p.handOver(); err != nil {
		p.fail(fmt.Errorf("hand over to a user's process: %w", err))
	}
}
