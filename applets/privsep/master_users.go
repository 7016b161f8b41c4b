package privsep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"postoffice/deliver/local/stalled"
	"postoffice/internal/account"
	"postoffice/internal/maillog"
)

// UserOptions say what is done with users' rights.
type UserOptions struct {
	Settings    []byte        // for each user's process; at most MaxSettings
	DefaultUser string        // who alone runs what aliases name
	ScanUser    string        // who alone runs the program that looks at mail; "" nobody
	RunTime     time.Duration // what a program may take; its process is ended a minute later
}

const (
	maxUsers   = 48               // users' processes alive at one time
	maxRunning = 32               // of them that run something: the others are for lists
	maxAside   = 32               // users' processes beside these that hang: in a list, or when they are to end
	perAside   = 2                // of them, of one user
	maxApart   = 96               // users' processes beside these of which all runs take long: as many as there are such programs, see deliver/schedule
	slowRun    = 30 * time.Second // a run that takes longer takes long, as for deliver
	perUser    = 4                // runs, and as many lists, at one time in each
	perDefault = 24               // the same in that of default-user, who runs and reads what all aliases name: six times what one alias may have
	placeWait  = time.Minute      // for a process or a place in one
	idleTime   = 10 * time.Second // after which a process is ended
	runSpare   = time.Minute      // beyond RunTime, before a process is taken for dead
)

// kind tells runs, which take long, from lists.
type kind int

const (
	forRun kind = iota
	forList
	forMail // mailboxes: deliveries, and questions after a .forward
	kinds
)

var (
	errPlaces  = errors.New("too many users' processes are busy")
	errStarted = errors.New("the user's process could not be started")
	errAside   = errors.New("the user's processes hang: a file that they read may be on a file system that does not answer")
	errEnding  = errors.New("postoffice is ending")
)

// users are the processes of users: each is started when somebody
// needs it and ended when nobody did for a while.
type users struct {
	system  *account.System
	log     *slog.Logger
	idle    time.Duration
	wait    time.Duration
	spare   time.Duration
	slow    time.Duration
	bare    bool                             // none of them may have a capability
	server  int                              // uid of the server
	mailDir string                           // whose group its mailboxes may be made in; "": they are in homes
	moves   func(a account.Account, f frame) // hears what processes that write mailboxes say of themselves

	watching sync.WaitGroup // one for each process, until it is gone

	mu         sync.Mutex // guards what follows, and the fields of processes that say so
	options    UserOptions
	former     string                // the default-user of older options
	generation int                   // of the options
	all        map[*userProcess]bool // those that are alive, from start to end
	aside      int                   // of them that hang, and have none of the places
	apart      int                   // of them whose runs take long, which have none either
	strays     int                   // of them that write mailboxes and hang, as many as stalled.MaxLeft, which have none either
	changed    chan struct{}         // closed, and a new one made, when a place may be free
	ending     bool                  // no more is started
}

func newUsers(o MasterOptions, s *account.System) *users {
	return &users{
		system: s, log: o.Log, options: o.Users, bare: o.Bare, server: o.Server.UID,
		idle: cmp.Or(o.idleTime, idleTime), wait: cmp.Or(o.placeWait, placeWait), spare: cmp.Or(o.runSpare, runSpare), slow: cmp.Or(o.slowRun, slowRun),
		mailDir: mailDirOf(o.Mailboxes), all: map[*userProcess]bool{}, changed: make(chan struct{}),
	}
}

// reload changes the options. Processes with the old ones end after their work.
func (u *users) reload(o UserOptions) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if o.DefaultUser != u.options.DefaultUser {
		u.former = u.options.DefaultUser
	}
	u.options = o
	u.generation++
	for p := range u.all {
		if p.unused() {
			u.end(p)
		}
	}
}

// stop ends all processes and starts no more: their links close, and each ends
// its programs and itself.
func (u *users) stop() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ending = true
	for p := range u.all {
		u.end(p)
	}
	u.wake()
}

// ask has the process of an account do what f asks for, and hands it the file,
// which it closes. The context is that of waiting for a process: what has begun,
// as begun is told, takes its course.
func (u *users) ask(ctx context.Context, a account.Account, k kind, f frame, file *os.File, begun func()) (frame, error) {
	p, err := u.enter(ctx, a, k)
	if err != nil {
		return frame{}, err
	}
	defer u.leave(p, k)
	begun()
	limit := listTime
	if k != forList {
		limit = p.runTime + u.spare
	}
	return p.ask(limit, f, file)
}

// enter waits for a place in a process of the account.
func (u *users) enter(ctx context.Context, a account.Account, k kind) (*userProcess, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, u.wait, errPlaces)
	defer cancel()
	for {
		p, isNew, changed, err := u.slot(a, k)
		switch {
		case err != nil:
			return nil, err
		case isNew:
			u.start(ctx, p)
		}
		if p == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		<-p.started
		if p.err != nil {
			u.leave(p, k)
			return nil, p.err
		}
		return p, nil
	}
}

// slot takes a place in a process. If there is none it makes one, which
// is to be started, or else ends an idle one, and returns what to wait for.
func (u *users) slot(a account.Account, k kind) (p *userProcess, isNew bool, changed <-chan struct{}, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ending {
		return nil, false, nil, errEnding
	}
	hang, running := 0, u.running()
	for p := range u.all {
		if p.account != a || p.mail != (k == forMail) || p.generation != u.generation || p.leaving {
			if p.aside && p.account.UID == a.UID {
				hang++
			}
			continue
		}
		if p.busy[k] == u.most(a, k) || k == forRun && !p.runs() && running >= maxRunning {
			return nil, false, u.changed, nil
		}
		p.busy[k]++
		return p, false, nil, nil
	}
	if hang >= perAside {
		return nil, false, nil, errAside
	}
	if k == forRun && running >= maxRunning {
		return nil, false, u.changed, nil
	}
	if len(u.all)-u.aside-u.apart-u.strays < maxUsers {
		p := &userProcess{
			users: u, account: a, mail: k == forMail, generation: u.generation, runTime: u.options.RunTime, settings: u.options.Settings,
			started: make(chan struct{}), lost: make(chan struct{}), waiting: map[string]chan frame{},
		}
		p.busy[k]++
		u.all[p] = true
		return p, true, nil, nil
	}
	u.makeRoom()
	return nil, false, u.changed, nil
}

// most returns how much of a kind a process of the account does at one time. The
// caller holds mu.
func (u *users) most(a account.Account, k kind) int {
	switch {
	case k == forMail:
		return perMail
	case a.Name == u.options.DefaultUser:
		return perDefault
	}
	return perUser
}

// running counts the processes that run something: see runs. The caller holds mu.
func (u *users) running() (n int) {
	for p := range u.all {
		if p.runs() {
			n++
		}
	}
	return n
}

// makeRoom ends the process that has been idle longest, and where none is, one
// that has a place and does nothing but hang in lists.
func (u *users) makeRoom() {
	var oldest, hung *userProcess
	for p := range u.all {
		if p.leaving && time.Since(p.since) < userEnd {
			return // one is on its way out
		}
		if p.unused() && (oldest == nil || p.since.Before(oldest.since)) {
			oldest = p
		}
		if p.stalled > 0 && p.stalled == p.busy[forList] && p.busy[forRun] == 0 && !p.aside && !p.leaving {
			hung = p
		}
	}
	switch {
	case oldest != nil:
		u.end(oldest)
	case hung != nil:
		u.end(hung)
		hung.hung = true
		hung.kill()
	}
}

// leave gives a place back.
func (u *users) leave(p *userProcess, k kind) {
	u.mu.Lock()
	defer u.mu.Unlock()
	p.busy[k]--
	u.setApart(p) // what it still runs may all take long
	u.wake()
	if !p.unused() {
		return
	}
	if p.generation != u.generation || u.ending {
		u.end(p)
		return
	}
	p.since = time.Now()
	if p.timer == nil {
		p.timer = time.AfterFunc(u.idle, func() { u.expire(p) })
	} else {
		p.timer.Reset(u.idle)
	}
}

// expire ends a process that has been idle for long enough.
func (u *users) expire(p *userProcess) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if p.unused() && time.Since(p.since) >= u.idle {
		u.end(p)
	}
}

// end closes a process's link; the process is killed if that does not end it.
// The caller holds mu.
func (u *users) end(p *userProcess) {
	if p.leaving {
		return
	}
	p.leaving, p.since = true, time.Now()
	switch {
	case p.conn != nil:
		p.conn.close()
		p.killer = time.AfterFunc(userEnd, func() {
			p.kill()
			u.mu.Lock()
			defer u.mu.Unlock()
			u.setAside(p)
		})
	case p.cmd != nil: // it has nothing to do yet
		p.kill()
	}
}

// setAside takes its place from a process that hangs, where no more than
// maxAside do. The caller holds mu.
func (u *users) setAside(p *userProcess) {
	if p.aside || p.apart || p.stray || !u.all[p] || p.stalled == 0 && !p.leaving || u.aside >= maxAside {
		return
	}
	p.aside = true
	u.aside++
	u.wake()
}

// watchList sets a process aside if it does not answer a list for a while, until
// the list is over.
func (u *users) watchList(p *userProcess) (over func()) {
	return u.watch(stalled.StepWait, func() {
		p.stalled++
		u.setAside(p) // before anybody who needs its place may end it
	}, func() {
		if p.stalled--; p.stalled == 0 && p.aside && !p.leaving {
			p.aside = false
			u.aside--
			u.setApart(p)
		}
	})
}

// watch calls late once something has taken so long, and over then when that is over after
// all. Both are called with mu held.
func (u *users) watch(long time.Duration, late, over func()) (end func()) {
	var counted, ended bool // guarded by mu
	slow := time.AfterFunc(long, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if counted = !ended; counted {
			late()
			u.wake()
		}
	})
	return func() {
		slow.Stop()
		u.mu.Lock()
		defer u.mu.Unlock()
		if ended = true; counted {
			over()
		}
	}
}

// wake wakes those who wait for a place. The caller holds mu.
func (u *users) wake() {
	close(u.changed)
	u.changed = make(chan struct{})
}

// gone is called when a process has ended, or was never there.
func (u *users) gone(p *userProcess) {
	u.mu.Lock()
	defer u.mu.Unlock()
	p.leaving = true
	delete(u.all, p)
	if p.aside {
		p.aside = false
		u.aside--
	}
	if p.apart {
		u.rejoin(p)
	}
	if p.stray {
		p.stray = false
		u.strays--
	}
	for _, t := range []*time.Timer{p.timer, p.killer} {
		if t != nil {
			t.Stop()
		}
	}
	u.wake()
}

// failed says that there is no process for these who wait for it.
func (u *users) failed(ctx context.Context, p *userProcess, err error) {
	u.mu.Lock()
	p.leaving = true
	u.mu.Unlock()
	p.err = fmt.Errorf("%w: %w", errStarted, err)
	u.log.LogAttrs(ctx, slog.LevelWarn, "user's process not started", maillog.User(p.account.Name), maillog.Err(err))
}
