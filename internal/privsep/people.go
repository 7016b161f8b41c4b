package privsep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/maillog"
)

// UserOptions say what is done with users' rights.
type UserOptions struct {
	Settings    []byte        // for each user's process; at most MaxSettings
	DefaultUser string        // who alone runs what aliases name
	RunTime     time.Duration // what a program may take; its process is ended a minute later
}

const (
	maxHelpers = 32               // users' processes alive at one time
	perHelper  = 4                // runs, and as many lists, at one time in each
	placeWait  = time.Minute      // for a process or a place in one
	idleTime   = 10 * time.Second // after which a process is ended
	runSpare   = time.Minute      // beyond RunTime, before a process is taken for dead
)

// kind tells runs, which take long, from lists.
type kind int

const (
	forRun kind = iota
	forList
	kinds
)

var (
	errPlaces  = errors.New("too many users' processes are busy")
	errStarted = errors.New("the user's process could not be started")
	errEnding  = errors.New("postoffice is ending")
)

// people are the users' processes: each is a helper, started when somebody
// needs it and ended when nobody did for a while.
type people struct {
	names  Names
	getent *getent
	log    *slog.Logger
	idle   time.Duration
	wait   time.Duration
	spare  time.Duration

	watching sync.WaitGroup // one for each helper, until its process is gone

	mu         sync.Mutex // guards what follows, and the fields of helpers that say so
	options    UserOptions
	former     string           // the default-user of older options
	generation int              // of the options
	all        map[*helper]bool // those that are alive, from start to end
	changed    chan struct{}    // closed, and a new one made, when a place may be free
	ending     bool             // no more is started
}

func newPeople(o MasterOptions, g *getent) *people {
	return &people{
		names: o.Names, getent: g, log: o.Log, options: o.Users,
		idle: cmp.Or(o.idleTime, idleTime), wait: cmp.Or(o.placeWait, placeWait), spare: cmp.Or(o.runSpare, runSpare),
		all: map[*helper]bool{}, changed: make(chan struct{}),
	}
}

// checkDefault says why the items of aliases are not for this user. A server
// may not know yet that he is the default-user no longer.
func (p *people) checkDefault(user string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch user {
	case p.options.DefaultUser:
		return nil
	case p.former:
		return fmt.Errorf("%s is the default-user no longer", user)
	}
	return fmt.Errorf("%w: items of aliases for %s", errForbidden, user)
}

// reload changes the options. Helpers with the old ones end after their work.
func (p *people) reload(o UserOptions) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.DefaultUser != p.options.DefaultUser {
		p.former = p.options.DefaultUser
	}
	p.options = o
	p.generation++
	for h := range p.all {
		if h.unused() {
			p.end(h)
		}
	}
}

// stop ends all helpers and starts no more: their links close, and each ends
// its programs and itself.
func (p *people) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending = true
	for h := range p.all {
		p.end(h)
	}
	p.tell()
}

// ask has the helper of an account do what f asks for, and hands it the file,
// which it closes. The context is that of waiting for a helper: what has begun
// takes its course.
func (p *people) ask(ctx context.Context, a local.Account, k kind, f frame, file *os.File) (frame, error) {
	h, err := p.enter(ctx, a, k)
	if err != nil {
		return frame{}, err
	}
	defer p.leave(h, k)
	limit := listTime
	if k == forRun {
		limit = h.runTime + p.spare
	}
	return h.ask(limit, f, file)
}

// enter waits for a place in a helper of the account.
func (p *people) enter(ctx context.Context, a local.Account, k kind) (*helper, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.wait, errPlaces)
	defer cancel()
	for {
		h, isNew, changed, err := p.place(a, k)
		switch {
		case err != nil:
			return nil, err
		case isNew:
			p.start(ctx, h)
		}
		if h == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		<-h.started
		if h.err != nil {
			p.leave(h, k)
			return nil, h.err
		}
		return h, nil
	}
}

// place takes a place in a helper. If there is none it makes a helper, which
// is to be started, or else ends an idle one, and returns what to wait for.
func (p *people) place(a local.Account, k kind) (h *helper, isNew bool, changed <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ending {
		return nil, false, nil, errEnding
	}
	for h := range p.all {
		if h.account != a || h.generation != p.generation || h.leaving {
			continue
		}
		if h.busy[k] == perHelper {
			return nil, false, p.changed, nil
		}
		h.busy[k]++
		return h, false, nil, nil
	}
	if len(p.all) < maxHelpers {
		h := &helper{
			people: p, account: a, generation: p.generation, runTime: p.options.RunTime, settings: p.options.Settings,
			started: make(chan struct{}), lost: make(chan struct{}), waiting: map[string]chan frame{},
		}
		h.busy[k]++
		p.all[h] = true
		return h, true, nil, nil
	}
	p.makeRoom()
	return nil, false, p.changed, nil
}

// makeRoom ends the helper that has been idle longest.
func (p *people) makeRoom() {
	var oldest *helper
	for h := range p.all {
		if h.leaving && time.Since(h.since) < helperEnd {
			return // one is on its way out
		}
		if h.unused() && (oldest == nil || h.since.Before(oldest.since)) {
			oldest = h
		}
	}
	if oldest != nil {
		p.end(oldest)
	}
}

// leave gives a place back.
func (p *people) leave(h *helper, k kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.busy[k]--
	p.tell()
	if !h.unused() {
		return
	}
	if h.generation != p.generation || p.ending {
		p.end(h)
		return
	}
	h.since = time.Now()
	if h.timer == nil {
		h.timer = time.AfterFunc(p.idle, func() { p.expire(h) })
	} else {
		h.timer.Reset(p.idle)
	}
}

// expire ends a helper that has been idle for long enough.
func (p *people) expire(h *helper) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.unused() && time.Since(h.since) >= p.idle {
		p.end(h)
	}
}

// end closes a helper's link; the process is killed if that does not end it.
// The caller holds mu.
func (p *people) end(h *helper) {
	if h.leaving {
		return
	}
	h.leaving, h.since = true, time.Now()
	if h.conn != nil {
		h.conn.close()
		h.killer = time.AfterFunc(helperEnd, h.kill)
	}
}

// tell wakes those who wait for a place. The caller holds mu.
func (p *people) tell() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// gone is called when a helper's process has ended, or was never there.
func (p *people) gone(h *helper) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.leaving = true
	delete(p.all, h)
	for _, t := range []*time.Timer{h.timer, h.killer} {
		if t != nil {
			t.Stop()
		}
	}
	p.tell()
}

// start starts the helper's process. The groups may have to be asked for.
func (p *people) start(ctx context.Context, h *helper) {
	defer close(h.started)
	groups, err := p.names.groups(ctx, h.account, p.getent)
	var c *conn
	var cmd *exec.Cmd
	if err == nil {
		c, cmd, err = startHelper(h.account, groups)
	}
	if err != nil {
		h.err = fmt.Errorf("%w: %w", errStarted, err)
		p.log.LogAttrs(ctx, slog.LevelWarn, "user's process not started", maillog.User(h.account.Name), maillog.Err(err))
		p.gone(h)
		return
	}
	p.mu.Lock()
	h.conn, h.cmd = c, cmd
	late := h.leaving // it was ended before it had a link
	p.mu.Unlock()
	if late {
		c.close()
		h.kill()
	}
	p.watching.Go(h.watch)
	go h.read()
	if err := h.handOver(); err != nil {
		h.fail(fmt.Errorf("hand over to a user's process: %w", err))
	}
}
