package privsep

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"postoffice/deliver/local"
)

// The outcomes that answers name.
const (
	lookupFound = "found"
	lookupNone  = "none"
	lookupLater = "later"

	listRead  = "read"  // the lines came through the pipe
	listOwner = "owner" // another user is to be asked
	listLater = "later"

	forwardsYes   = "yes"
	forwardsNo    = "no"
	forwardsLater = "later"
)

// listTime is what reading a list may take, once somebody reads it.
const listTime = 2 * time.Minute

// ask sends a question, whose first field is its serial, and waits for the
// answer. It closes the files.
func (l *Link) ask(ctx context.Context, places chan struct{}, f frame, files ...*os.File) (frame, error) {
	defer closeAll(files)
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	case <-ctx.Done():
		return frame{}, context.Cause(ctx)
	case <-l.closed:
		return frame{}, errClosed
	}
	l.mu.Lock()
	l.serial++
	serial, reply := strconv.FormatUint(l.serial, 10), make(chan frame, 1)
	l.answers[serial] = reply
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.answers, serial)
	}()
	f.fields[0] = serial
	err := l.conn.send(f, files...)
	closeAll(files)
	if err != nil {
		return frame{}, err
	}
	select {
	case a := <-reply:
		return a, nil
	case <-ctx.Done():
		return frame{}, context.Cause(ctx)
	case <-l.closed:
		return frame{}, errClosed
	}
}

// Lookup asks the master for an account.
func (l *Link) Lookup(ctx context.Context, name string) (local.Account, error) {
	if err := local.CheckName(name); err != nil {
		return local.Account{}, fmt.Errorf("%w: %w", local.ErrNoUser, err)
	}
	a, err := l.ask(ctx, l.lookups, frame{opLookup, []string{"", name}})
	if err != nil {
		return local.Account{}, err
	}
	return parseAccount(a)
}

func parseAccount(f frame) (local.Account, error) {
	if f.op != opAccount {
		return local.Account{}, fmt.Errorf("%w: op %d, want an account", errFrame, f.op)
	}
	uid, uidErr := strconv.Atoi(f.fields[3])
	gid, gidErr := strconv.Atoi(f.fields[4])
	switch outcome := f.fields[1]; {
	case outcome == lookupNone:
		return local.Account{}, noUser(f.fields[7])
	case outcome == lookupFound && uidErr == nil && gidErr == nil:
		return local.Account{Name: f.fields[2], UID: uid, GID: gid, Home: f.fields[5], Shell: f.fields[6]}, nil
	}
	return local.Account{}, errors.New(f.fields[7])
}

func accountFrame(serial, outcome string, a local.Account, words string) frame {
	return frame{opAccount, []string{serial, outcome, a.Name, strconv.Itoa(a.UID), strconv.Itoa(a.GID), a.Home, a.Shell, clip(words)}}
}

// noUser is the master's ErrNoUser with its own words.
type noUser string

func (e noUser) Error() string { return string(e) }
func (noUser) Unwrap() error   { return local.ErrNoUser }

// Forwards says whether the user has a .forward, or a .forward+extension, by
// a look into his home directory with his ids.
func (l *Link) Forwards(ctx context.Context, user, extension string) (bool, error) {
	if err := local.CheckName(user); err != nil {
		return false, fmt.Errorf("%w: %w", local.ErrNoUser, err)
	}
	a, err := l.ask(ctx, l.lookups, frame{opForwards, []string{"", user, extension}})
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

// List has the user's process read a list. Its lines come from that process
// straight to us, which reads no more than local.MaxLines of them.
func (l *Link) List(ctx context.Context, g local.Listing) ([]local.Line, error) {
	if err := local.CheckName(g.User); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	lines := make(chan listed, 1)
	go func() { lines <- readLines(r) }()
	a, err := l.ask(ctx, l.lists, frame{opList, []string{"", g.User, g.Item.Source, g.Item.Name, string(g.Item.Hash[:]), g.Extension}}, w)
	if err == nil {
		err = parseListed(a)
	}
	if err != nil {
		r.SetReadDeadline(time.Unix(1, 0)) // nothing of it counts
		<-lines
		return nil, err
	}
	// All was written when the answer was given: what isn't there never comes.
	r.SetReadDeadline(time.Now().Add(drainTime))
	got := <-lines
	return got.lines, got.err
}

// drainTime is for what lies in a pipe already.
const drainTime = 10 * time.Second

type listed struct {
	lines []local.Line
	err   error
}

// readLines reads the stream of a list, of which nothing is trusted.
func readLines(r *os.File) listed {
	s := newStreamReader(r)
	defer s.release()
	lines, err := local.DecodeLines(s)
	if err != nil {
		r.Close() // whoever still writes learns it
		return listed{nil, fmt.Errorf("read what a user's process sent: %w", err)}
	}
	return listed{lines, nil}
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
			if err := local.CheckName(user); err != nil {
				return fmt.Errorf("%w: a list's owner %q: %w", errFrame, user, err)
			}
		}
		return &local.OwnerError{File: f.fields[2], User: f.fields[3], UID: int(uid)}
	case listLater:
		return errors.New(f.fields[5])
	}
	return fmt.Errorf("%w: a list's outcome %q", errFrame, f.fields[1])
}

// listedFrame says what became of a list.
func listedFrame(serial string, err error) frame {
	f := frame{opListed, []string{serial, listRead, "", "", "0", ""}}
	if owner, ok := errors.AsType[*local.OwnerError](err); ok {
		f.fields[1], f.fields[2], f.fields[3], f.fields[4] = listOwner, owner.File, owner.User, strconv.Itoa(owner.UID)
	} else if err != nil {
		f.fields[1], f.fields[5] = listLater, clip(err.Error())
	}
	return f
}
