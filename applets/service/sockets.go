package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"postoffice/internal/maillog"
)

const (
	firstPause = time.Second // before a socket is bound again
	lastPause  = time.Minute
	lookPause  = 10 * time.Second // between two looks at the run directory
)

// SocketsOptions configure Sockets.
type SocketsOptions struct {
	Listeners []Listener   // taken over
	Log       *slog.Logger // not nil

	FirstPause time.Duration // before a socket is bound again, each time twice as long; 0: 1 s
	LastPause  time.Duration // the longest; 0: 1 minute
	LookPause  time.Duration // between two looks at the run directory; 0: 10 s
}

// Sockets are the listening sockets of a daemon. Whoever serves them gets those
// that there are, and later each one that had to be bound again: because it
// broke, or because its name in the run directory was lost.
type Sockets struct {
	o    SocketsOptions
	ctx  context.Context // its end ends all work here
	work sync.WaitGroup

	mu   sync.Mutex // guards what follows
	list []*boundListener
	to   func(Listener) // gets what is bound again; nil: nobody serves now
}

// boundListener is one of the sockets. Its File is nil while there is none, and
// stays as it is while somebody is at work on it.
type boundListener struct {
	Listener
	busy bool
}

// NewSockets returns the sockets of o, which work until ctx ends.
func NewSockets(ctx context.Context, o SocketsOptions) *Sockets {
	o.FirstPause, o.LastPause = cmp.Or(o.FirstPause, firstPause), cmp.Or(o.LastPause, lastPause)
	o.LookPause = cmp.Or(o.LookPause, lookPause)
	s := &Sockets{o: o, ctx: ctx}
	for _, l := range o.Listeners {
		s.list = append(s.list, &boundListener{Listener: l})
	}
	return s
}

// Serve makes to the one who gets the sockets that are bound from here on, nil
// for none, and returns those that there are.
func (s *Sockets) Serve(to func(Listener)) []Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = to
	var list []Listener
	for _, l := range s.list {
		if l.File != nil {
			list = append(list, l.Listener)
		}
	}
	return list
}

// Broken binds a socket anew that can't be used any more, in the background.
// The error is that there is none of that name.
func (s *Sockets) Broken(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.list {
		if l.Name != name {
			continue
		}
		if !l.busy {
			broken := l.Listener
			l.busy = true
			l.File.Close()
			l.File = nil
			s.work.Go(func() {
				fresh, err := rebind(s.ctx, broken, s.o.Log, s.o.FirstPause, s.o.LastPause)
				s.put(l, fresh, err)
			})
		}
		return nil
	}
	return fmt.Errorf("broken listener %q is none of ours", name)
}

// put ends the work on l: fresh, if there is one, goes to who serves.
func (s *Sockets) put(l *boundListener, fresh Listener, err error) {
	s.mu.Lock()
	to := s.to
	if err == nil {
		if l.File != nil {
			l.File.Close()
		}
		l.Listener = fresh
	}
	s.mu.Unlock()
	if err == nil && to != nil { // else the next server gets it with the others
		to(fresh)
	}
	s.mu.Lock()
	l.busy = err != nil && l.File == nil // one that can't be bound again stays so
	s.mu.Unlock()
}

// Watch looks every ten seconds whether the run directory is still ours and the
// names of the sockets in it are there, and makes anew what was removed: a
// cleaner of temporary files may take anything of it.
func (s *Sockets) Watch(run *RunDir) {
	s.work.Go(func() {
		tick := time.NewTicker(s.o.LookPause)
		defer tick.Stop()
		told := ""
		for {
			select {
			case <-s.ctx.Done():
				return
			case <-tick.C:
			}
			now := ""
			if err := s.look(run); err != nil {
				now = err.Error()
			}
			if now != told && now != "" {
				s.o.Log.LogAttrs(s.ctx, slog.LevelError, "run directory lost", maillog.Err(errors.New(now)), maillog.Reason(lostHint))
			}
			told = now
		}
	})
}

// lostHint is what to do about a run directory that is not ours any more.
const lostHint = "mail goes on, but sendmail, mailq and runq don't find this server; it looks again every ten seconds: " +
	"put right what the error says, or end the other daemon"

// look is one look at the run directory.
func (s *Sockets) look(run *RunDir) error {
	anew, err := run.hold()
	if err != nil {
		return err
	}
	if anew {
		s.o.Log.LogAttrs(s.ctx, slog.LevelWarn, "run directory made anew", maillog.File(run.path))
	}
	for _, l := range s.unnamed() {
		fresh := l.Listener
		err := fresh.bind(s.ctx)
		s.put(l, fresh, err)
		if err != nil {
			return fmt.Errorf("bind %s again: %w", l.Address, err)
		}
		s.o.Log.LogAttrs(s.ctx, slog.LevelWarn, "listener bound again", slog.String("listen", l.Name), maillog.Reason("its socket was removed from the run directory"))
	}
	return nil
}

// unnamed are the unix sockets whose names lead elsewhere, or nowhere; they are
// busy from here on.
func (s *Sockets) unnamed() (gone []*boundListener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.list {
		if l.inode == nil || l.busy {
			continue
		}
		if info, err := os.Lstat(l.Address); err != nil || !os.SameFile(info, l.inode) {
			l.busy = true
			gone = append(gone, l)
		}
	}
	return gone
}

// Close lets go of the sockets; the context of NewSockets must have ended.
func (s *Sockets) Close() {
	s.work.Wait()
	for _, l := range s.list {
		if l.File != nil {
			l.File.Close()
		}
	}
}

// rebind binds a listener that broke again, after one pause and then with
// pauses that grow, until it works (R53). The error is ctx's end, or that the
// listener can't be bound by us because it was inherited.
func rebind(ctx context.Context, l Listener, log *slog.Logger, pause, longest time.Duration) (Listener, error) {
	name := slog.String("listen", l.Name)
	if l.Network == "" {
		log.LogAttrs(ctx, slog.LevelError, "listener broken", name, maillog.Reason("it came from the service manager: restart the service"))
		return Listener{}, fmt.Errorf("listener %s was inherited", l.Name)
	}
	log.LogAttrs(ctx, slog.LevelError, "listener broken", name)
	for {
		select {
		case <-ctx.Done():
			return Listener{}, context.Cause(ctx)
		case <-time.After(pause):
		}
		err := l.bind(ctx)
		if err == nil {
			log.LogAttrs(ctx, slog.LevelInfo, "listener bound again", name)
			return l, nil
		}
		pause = min(2*pause, longest)
		log.LogAttrs(ctx, slog.LevelError, "listener not bound", name, maillog.Err(err), slog.Duration("pause", pause))
	}
}
