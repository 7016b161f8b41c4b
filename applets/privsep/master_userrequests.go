package privsep

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/local/stalled"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/maillog"
)

// maxLists bounds the lists that a server has read at once; Link keeps below.
const maxLists = 4 * linkLists

// maxPasswords bounds the passwords that a server may ask for at once; Link keeps below.
const maxPasswords = 2 * linkPasswords

// password asks for a password at a smarthost: what root wrote for these two names, and
// nothing else.
func (s *serverLife) password(f []string) error {
	if err := checkSerial(f[0]); err != nil {
		return fmt.Errorf("password: %w", err)
	}
	if f[3] != "" && f[3] != passwordAgain {
		return fmt.Errorf("password: %q, want %q or nothing", f[3], passwordAgain)
	}
	if s.m.o.Password == nil {
		return errors.New("a password is asked for, and there is nobody who has one")
	}
	if !s.begin(&s.secrets, maxPasswords) {
		return fmt.Errorf("more than %d passwords at once", maxPasswords)
	}
	s.m.running.Go(func() {
		defer s.end(&s.secrets)
		password, err := s.m.o.Password(s.ctx, f[1], f[2], f[3] == passwordAgain)
		outcome := passwordFound
		if err == nil && len(password) > maxSecret {
			err = fmt.Errorf("a password of %d octets, want at most %d", len(password), maxSecret)
		}
		if err != nil {
			outcome, password = passwordNone, clip(err.Error())
		}
		s.reply(frame{opSecret, []string{f[0], outcome, password}})
	})
	return nil
}

// errForbidden is a request that no server of ours makes, unless the
// configuration has just changed.
var errForbidden = errors.New("not allowed")

// checkItem looks at the user and the item of a request (runFields, listFields)
// as far as that needs no file. A .forward is its user's own affair.
func checkItem(f []string) error {
	user, source, name := f[1], local.Source(f[2]), f[3]
	if err := account.CheckName(user); err != nil {
		return fmt.Errorf("item of %q: %w", user, err)
	}
	if len(f[4]) != sha256.Size {
		return fmt.Errorf("hash of %d octets, want %d", len(f[4]), sha256.Size)
	}
	switch source {
	case local.FromAlias, local.FromUsermap:
		return nil
	case local.FromForward, local.FromMailer, local.FromScanner:
		if name != user {
			return fmt.Errorf("%s of %q for user %q", source, name, user)
		}
		return nil
	}
	return fmt.Errorf("item of a source %q", source)
}

// checkOwner says why the items of aliases, or the program that looks at mail, are not
// for this user. A server may not know yet that this is the default-user no longer.
func (u *users) checkOwner(source local.Source, user string) error {
	if source == local.FromForward || source == local.FromMailer || source == local.FromUsermap {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if source == local.FromScanner {
		if user != u.options.ScanUser {
			return fmt.Errorf("%s does not look at mail", user)
		}
		return nil
	}
	switch user {
	case u.options.DefaultUser:
		return nil
	case u.former:
		return fmt.Errorf("%s is the default-user no longer", user)
	}
	return fmt.Errorf("%w: items of aliases for %s", errForbidden, user)
}

// run has a user's process run or write one item.
func (s *serverLife) run(f frame, from *os.File) error {
	if err := errors.Join(checkPipe(from), checkItem(f.fields), checkFinal(f.fields[5])); err != nil {
		return err
	}
	token, user := f.fields[0], f.fields[1]
	source := local.Source(f.fields[2])
	// What a .forward or mailer runs may have waited in the queue for an account that
	// was removed since.
	counts := source != local.FromForward && source != local.FromMailer
	return s.once(token, user, from, func(func()) { s.conclude(token, user, s.runAs(f, from), counts) })
}

func (s *serverLife) runAs(f frame, from *os.File) local.Result {
	a, err := s.person(f.fields[1])
	source := local.Source(f.fields[2])
	if err == nil {
		err = s.m.users.checkOwner(source, a.Name)
	}
	if errors.Is(err, account.ErrNoUser) && (source == local.FromForward || source == local.FromMailer) {
		return local.Result{Outcome: outcome.Refusal("5.1.1", "no such user here", err)}
	}
	if err != nil {
		return failed("this user's process can't be started now", err)
	}
	if source != local.FromAlias && source != local.FromScanner { // those are not in a home
		if err := s.answers(a); err != nil {
			return local.Settle(outcome.Deferral("4.2.0", "the file system of this user's home directory does not answer", err))
		}
	}
	answer, err := s.m.users.ask(s.ctx, a, forRun, f, from, func() {})
	if err != nil {
		return failed("the address's program or file can't be used now", err)
	}
	t, _ := parseResult(answer.fields) // it was looked at when it came
	return t.Result
}

// person is the account whose process is asked for: never one with uid 0 (A43).
func (s *serverLife) person(user string) (account.Account, error) {
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
func (s *serverLife) list(f frame, into *os.File) error {
	err := errors.Join(checkSerial(f.fields[0]), checkPipe(into), checkItem(f.fields))
	if err != nil {
		return err
	}
	if !s.begin(&s.lists, maxLists) {
		return fmt.Errorf("more than %d lists at once", maxLists)
	}
	answers, begun := make(chan frame, 1), make(chan struct{})
	s.m.running.Go(func() {
		answer, err := s.listAs(f, into, func() { close(begun) })
		if err != nil {
			answer = listedFrame("", err)
		}
		into.Close() // before the answer: its reader sees the end
		answers <- answer
	})
	s.m.running.Go(func() {
		key := listKey(f.fields[1], local.Source(f.fields[2]), f.fields[3])
		leave := s.counts.enter(key)
		answer, ok := s.counts.await(key, f.fields[1], begun, answers)
		leave(ok)
		s.end(&s.lists)
		answer.fields[0] = f.fields[0]
		s.reply(answer)
	})
	return nil
}

func (s *serverLife) listAs(f frame, into *os.File, begun func()) (frame, error) {
	user := f.fields[1]
	a, err := s.person(user)
	switch {
	case err == nil:
	case local.Source(f.fields[2]) == local.FromUsermap: // a stranger can make the server ask, with a name that leads to root
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "list not read", maillog.User(user), maillog.Err(err))
	case errors.Is(err, account.ErrNoUser), errors.Is(err, errForbidden):
		s.refused(user, err)
	}
	if err != nil {
		return frame{}, err
	}
	if err := s.answers(a); err != nil {
		return frame{}, err
	}
	return s.m.users.ask(s.ctx, a, forList, f, into, begun)
}

// forwards looks for a .forward with the user's ids.
func (s *serverLife) forwards(serial, user, extension string) error {
	if err := errors.Join(checkSerial(serial), account.CheckName(user)); err != nil {
		return fmt.Errorf("forwards of %q: %w", user, err)
	}
	if !s.begin(&s.lookups, maxLookups) {
		return fmt.Errorf("more than %d lookups at once", maxLookups)
	}
	s.m.running.Go(func() {
		defer s.end(&s.lookups)
		ctx, cancel := context.WithTimeout(s.ctx, listTime)
		defer cancel()
		yes, err := s.m.forwards(ctx, user, extension)
		s.reply(forwardedFrame(serial, yes, err))
	})
	return nil
}

const (
	maxQuietLists = linkLists / 2                    // lists under way, from which those that hang may hold up others
	listWait      = stalled.StepWait + time.Second/4 // for a list, if others may need the room and none is answered
)

// listCounts knows which lists a server has under way. One that hangs is answered
// as soon as it may hold up others, though its reader goes on.
type listCounts struct {
	wait time.Duration

	mu  sync.Mutex // guards what follows
	all listTally
	of  map[string]*listTally // by listKey
}

// listTally are lists under way, and when one of them was read last.
type listTally struct {
	n    int
	last time.Time
}

// enter counts a list. leave is told whether it was read.
func (l *listCounts) enter(key string) (leave func(read bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[key] == nil {
		l.of[key] = &listTally{}
	}
	mine := l.of[key]
	mine.n++
	l.all.n++
	return func(read bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, t := range []*listTally{&l.all, mine} {
			t.n--
			if read {
				t.last = time.Now()
			}
		}
		if mine.n == 0 {
			delete(l.of, key)
		}
	}
}

// hangs says that lists with this key hold up others.
func (l *listCounts) hangs(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	quiet := func(t *listTally) bool { return time.Since(t.last) >= l.wait }
	mine := l.of[key]
	return l.all.n >= maxQuietLists && quiet(&l.all) || mine.n >= perGate && quiet(mine)
}

// await waits for the answer; false: the list has begun, and nobody waits longer.
func (l *listCounts) await(key, user string, begun <-chan struct{}, answers <-chan frame) (frame, bool) {
	select {
	case f := <-answers:
		return f, true
	case <-begun:
	}
	tick, since := time.NewTicker(l.wait), time.Now()
	defer tick.Stop()
	for {
		select {
		case f := <-answers:
			return f, true
		case <-tick.C:
			if waited := time.Since(since); l.hangs(key) || waited >= stalled.LongWait {
				return listedFrame("", fmt.Errorf("the process of %s has not read it for %v: %w", user, waited.Round(time.Second), stalled.ErrStalled)), false
			}
			tick.Reset(time.Second / 4)
		}
	}
}

// help is how a server comes to one Helper's process.
type help struct {
	helper     *Helper
	proc       string    // in the log
	link, none op        // what the server hears
	asked      int       // questions under way
	began      time.Time // when the last process was begun; of who starts it, as what follows
	leave      func()    // ends that process where it hasn't ended; nil: there was none
}

// giveHelper starts a process and gives the server its links, or says why there is none. A
// server asks for one at a time, when it has none, or that has ended or answers nobody; one
// that ends at once is started once in firstPause.
func (s *serverLife) giveHelper(h *help) error {
	if !s.begin(&h.asked, 1) {
		return fmt.Errorf("%s was asked for twice", h.proc)
	}
	s.running.Go(func() {
		p, err := s.startHelper(h)
		s.end(&h.asked) // the next question comes when this is answered
		if err != nil {
			s.reply(frame{h.none, []string{clip(err.Error())}})
			return
		}
		defer closeAll(p.Links)
		if err := s.send(h.link, p.Links...); err != nil {
			s.failed(err)
		}
	})
	return nil
}

func (s *serverLife) startHelper(h *help) (p Helping, err error) {
	if h.helper.Missing == nil {
		return p, errors.New("this master starts no such process")
	}
	if why := h.helper.Missing(); why != "" {
		return p, errors.New(why)
	}
	wait := time.NewTimer(time.Until(h.began.Add(s.m.o.firstPause)))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-s.ctx.Done():
		return p, errors.New("the server ends")
	}
	if h.leave != nil {
		h.leave()
		h.leave = nil
	}
	h.began = time.Now()
	if p, err = h.helper.Start(s.ctx); err != nil {
		s.m.o.Log.LogAttrs(context.Background(), slog.LevelError, "auth not started", maillog.Proc(h.proc), maillog.Err(err), maillog.Reason(h.helper.Waits))
		return p, err
	}
	left := make(chan struct{})
	h.leave = func() { close(left) }
	go s.minds(h.proc, p, left)
	return p, nil
}

// errLeft is why a process was killed.
var errLeft = errors.New("it answered nobody, or what it must not, and was killed")

// minds waits for the end of a process, and kills one that its server has left, or that is
// still there when its server has ended. It logs the end where the process did not end with
// its server.
func (s *serverLife) minds(proc string, p Helping, left <-chan struct{}) {
	var err error
	select {
	case err = <-p.Ended:
	case <-left:
		p.Kill()
		<-p.Ended
		err = errLeft
	case <-s.ctx.Done():
		p.Kill()
		<-p.Ended
	}
	if err != nil {
		s.m.o.Log.LogAttrs(context.Background(), slog.LevelError, "auth ended", maillog.Proc(proc), slog.Int("auth_pid", p.PID), maillog.Err(err))
	}
}
