package privsep

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/account"
)

// The outcomes that answers name.
const (
	lookupFound = "found"
	lookupNone  = "none"
	lookupLater = "later"

	listRead    = "read"    // the lines came through the pipe
	listOwner   = "owner"   // another user is to be asked
	listChanged = "changed" // the item does not stand there any more
	listLine    = "line"    // a line can't be understood
	listLater   = "later"

	forwardsYes   = "yes"
	forwardsNo    = "no"
	forwardsLater = "later"

	passwordFound = "found"
	passwordNone  = "none"
	passwordAgain = "again" // of a question: the last one was refused
)

// listTime is what reading a list may take, once somebody reads it.
const listTime = 2 * time.Minute

// ask sends a question, whose first field is its serial, and waits for the
// answer. It closes the files. The user is the one whose process or home may
// never answer; "" there is none.
func (l *Link) ask(ctx context.Context, places chan struct{}, user string, f frame, files ...*os.File) (frame, error) {
	defer closeAll(files)
	leave, err := l.enter(ctx, places, user)
	if err != nil {
		return frame{}, err
	}
	l.mu.Lock()
	l.serial++
	serial, q := strconv.FormatUint(l.serial, 10), question{make(chan frame, 1), leave}
	l.answers[serial] = q
	l.mu.Unlock()
	f.fields[0] = serial
	if err := l.conn.send(f, files...); err != nil {
		l.answered(serial)
		return frame{}, err
	}
	closeAll(files)
	select {
	case a := <-q.reply:
		return a, nil
	case <-ctx.Done():
		return frame{}, context.Cause(ctx)
	case <-l.closed:
		return frame{}, errClosed
	}
}

// question is what the master was asked and has not answered. It keeps its
// place until then, though nobody may wait any more: the master counts it.
type question struct {
	reply chan frame // buffered
	leave func()
}

// answered takes a question off the list; its places are free.
func (l *Link) answered(serial string) (question, bool) {
	l.mu.Lock()
	q, ok := l.answers[serial]
	delete(l.answers, serial)
	l.mu.Unlock()
	if ok {
		q.leave()
	}
	return q, ok
}

// userGate is where the questions about one user wait for each other: who does not
// answer takes no more than these places.
type userGate struct {
	places chan struct{}
	n      int // questions that have a place or wait for one
}

// enter takes a place, and one at the user's gate first.
func (l *Link) enter(ctx context.Context, places chan struct{}, user string) (leave func(), err error) {
	if user == "" {
		return l.take(ctx, places, func() {})
	}
	ctx, cancel := context.WithTimeoutCause(ctx, placeWait, errPlaces)
	defer cancel()
	l.mu.Lock()
	way := l.gates[user]
	if way == nil {
		way = &userGate{places: make(chan struct{}, perGate)}
		l.gates[user] = way
	}
	way.n++
	l.mu.Unlock()
	gone := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if way.n--; way.n == 0 {
			delete(l.gates, user)
		}
	}
	if leave, err = l.take(ctx, way.places, gone); err != nil {
		return nil, err
	}
	return l.take(ctx, places, leave)
}

// take takes a place. then is called when it is given back, or not got.
func (l *Link) take(ctx context.Context, places chan struct{}, then func()) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places; then() }, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-l.closed:
		err = errClosed
	}
	then()
	return nil, err
}

// Lookup asks the master for an account.
func (l *Link) Lookup(ctx context.Context, name string) (account.Account, error) {
	if err := account.CheckName(name); err != nil {
		return account.Account{}, fmt.Errorf("%w: %w", account.ErrNoUser, err)
	}
	a, err := l.ask(ctx, l.lookups, "", frame{opLookup, []string{"", name}})
	if err != nil {
		return account.Account{}, err
	}
	return parseAccount(a)
}

func parseAccount(f frame) (account.Account, error) {
	if f.op != opAccount {
		return account.Account{}, fmt.Errorf("%w: op %d, want an account", errFrame, f.op)
	}
	uid, uidErr := strconv.Atoi(f.fields[3])
	gid, gidErr := strconv.Atoi(f.fields[4])
	switch outcome := f.fields[1]; {
	case outcome == lookupNone:
		return account.Account{}, noUser(f.fields[7])
	case outcome == lookupFound && uidErr == nil && gidErr == nil:
		return account.Account{Name: f.fields[2], UID: uid, GID: gid, Home: f.fields[5], Shell: f.fields[6]}, nil
	}
	return account.Account{}, errors.New(f.fields[7])
}

func accountFrame(serial, outcome string, a account.Account, words string) frame {
	return frame{opAccount, []string{serial, outcome, a.Name, strconv.Itoa(a.UID), strconv.Itoa(a.GID), a.Home, a.Shell, clip(words)}}
}

// noUser is the master's ErrNoUser with its own words.
type noUser string

func (e noUser) Error() string { return string(e) }
func (noUser) Unwrap() error   { return account.ErrNoUser }

// Forwards says whether the user has a .forward, or a .forward+extension, by
// a look into the home directory with the user's ids.
func (l *Link) Forwards(ctx context.Context, user, extension string) (bool, error) {
	if err := account.CheckName(user); err != nil {
		return false, fmt.Errorf("%w: %w", account.ErrNoUser, err)
	}
	a, err := l.ask(ctx, l.homes, user, frame{opForwards, []string{"", user, extension}})
	switch {
	case err != nil:
		return false, err
	case a.op == opForwarded && a.fields[1] == forwardsYes:
		return true, nil
	case a.op == opForwarded && a.fields[1] == forwardsNo:
		return false, nil
	case a.op == opForwarded:
		return false, errors.New(a.fields[2])
	}
	return false, fmt.Errorf("%w: op %d, want what a home directory holds", errFrame, a.op)
}

// Password asks the master for the password of a user at a smarthost; see
// MasterOptions.Password.
func (l *Link) Password(ctx context.Context, host, user string, again bool) (string, error) {
	if len(host) > maxPart || len(user) > maxPart {
		return "", errors.New("names that are too long")
	}
	word := ""
	if again {
		word = passwordAgain
	}
	a, err := l.ask(ctx, l.passwords, "", frame{opPassword, []string{"", host, user, word}})
	switch {
	case err != nil:
		return "", err
	case a.op == opSecret && a.fields[1] == passwordFound:
		return a.fields[2], nil
	case a.op == opSecret:
		return "", errors.New(a.fields[2])
	}
	return "", fmt.Errorf("%w: op %d, want a password", errFrame, a.op)
}

// List has the user's process read a list. Its lines come from that process
// straight to us, which reads no more than local.MaxLines of them.
func (l *Link) List(ctx context.Context, g local.Listing) ([]local.Line, error) {
	if err := account.CheckName(g.User); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	from := newListPipe(r, l.long)
	lines := make(chan listed, 1)
	go func() { lines <- from.lines() }()
	a, err := l.ask(ctx, l.lists, listKey(g.User, g.Item.Source, g.Item.Name), frame{opList, []string{"", g.User, string(g.Item.Source), g.Item.Name, string(g.Item.Hash[:]), g.Extension}}, w)
	if err == nil {
		err = parseListed(a)
	}
	if err != nil {
		close(from.void)
		r.SetReadDeadline(time.Unix(1, 0))
		<-lines
		return nil, err
	}
	close(from.written)
	got := <-lines
	return got.lines, got.err
}

// listKey is who waits for whom with a list: those of one user, or of one alias whose
// list that user is to read.
func listKey(user string, source local.Source, name string) string {
	if source == local.FromAlias {
		return user + " " + name
	}
	return user
}

// parseListed returns nil for a list that was read.
func parseListed(f frame) error {
	if f.op != opListed {
		return fmt.Errorf("%w: op %d, want the end of a list", errFrame, f.op)
	}
	switch f.fields[1] {
	case listRead:
		return nil
	case listOwner:
		uid, err := strconv.ParseUint(f.fields[4], 10, 32)
		if err != nil {
			return fmt.Errorf("%w: a list's owner: %w", errFrame, err)
		}
		if user := f.fields[3]; user != "" {
			if err := account.CheckName(user); err != nil {
				return fmt.Errorf("%w: a list's owner %q: %w", errFrame, user, err)
			}
		}
		return &local.OwnerError{File: f.fields[2], User: f.fields[3], UID: int(uid)}
	case listChanged:
		return changed(f.fields[5])
	case listLine:
		line, err := strconv.ParseUint(f.fields[4], 10, 32)
		if err != nil {
			return fmt.Errorf("%w: a list's line: %w", errFrame, err)
		}
		return &local.LineError{File: f.fields[2], Line: int(line), Quote: f.fields[5]}
	case listLater:
		return errors.New(f.fields[5])
	}
	return fmt.Errorf("%w: a list's outcome %q", errFrame, f.fields[1])
}

// changed is local.ErrChanged with the words of a user's process.
type changed string

func (e changed) Error() string { return string(e) }
func (changed) Unwrap() error   { return local.ErrChanged }

// listedFrame says what became of a list.
func listedFrame(serial string, err error) frame {
	f := frame{opListed, []string{serial, listRead, "", "", "0", ""}}
	if owner, ok := errors.AsType[*local.OwnerError](err); ok {
		f.fields[1], f.fields[2], f.fields[3], f.fields[4] = listOwner, owner.File, owner.User, strconv.Itoa(owner.UID)
	} else if bad, ok := errors.AsType[*local.LineError](err); ok {
		f.fields[1], f.fields[2], f.fields[4], f.fields[5] = listLine, bad.File, strconv.Itoa(bad.Line), clip(bad.Quote)
	} else if err != nil {
		f.fields[1], f.fields[5] = listLater, clip(err.Error())
		if errors.Is(err, local.ErrChanged) {
			f.fields[1] = listChanged
		}
	}
	return f
}

// helperAnswer is what the master says to a question for a Helper's process.
type helperAnswer struct {
	links []*os.File
	err   error
}

// helperDesk is where one such question waits at a time.
type helperDesk struct {
	mu      sync.Mutex // held by who asks
	asked   bool       // an answer is to come: whoever asked it may have gone
	answers chan helperAnswer
}

// answer takes in what the master says. What nobody asked for is let go.
func (d *helperDesk) answer(a helperAnswer) {
	select {
	case d.answers <- a:
	default:
		closeAll(a.links)
	}
}

// Auth has the master start the process of virtual domains, and returns its links. It
// waits for others that ask.
func (l *Link) Auth(ctx context.Context) ([]*os.File, error) { return l.helper(ctx, opAuth, &l.auth) }

// Shadow has the master start the process of the machine's accounts, and returns its link.
func (l *Link) Shadow(ctx context.Context) ([]*os.File, error) {
	return l.helper(ctx, opShadow, &l.shadow)
}

func (l *Link) helper(ctx context.Context, o op, d *helperDesk) ([]*os.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.asked {
		if err := l.conn.send(frame{op: o}); err != nil {
			return nil, err
		}
		d.asked = true
	}
	select {
	case a := <-d.answers:
		d.asked = false
		return a.links, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-l.closed:
		return nil, errClosed
	}
}
