package privsep

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"postoffice/internal/maillog"
)

// boundListener is a listener as the master keeps it: its fields are guarded
// by master.mu, File is nil while it is being bound again.
type boundListener struct{ Listener }

// attach makes s the present session, nil for none, and returns the listeners
// that it gets now; those that are bound from here on are sent to it.
func (m *master) attach(s *session) []Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session = s
	var list []Listener
	for _, l := range m.listeners {
		if l.File != nil {
			list = append(list, l.Listener)
		}
	}
	return list
}

// broken binds a listener anew that the server can't use any more.
func (m *master) broken(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.listeners {
		if l.Name != name {
			continue
		}
		if l.File != nil { // else at work already
			broken := l.Listener
			l.File.Close()
			l.File = nil
			m.running.Go(func() { m.rebind(l, broken) })
		}
		return nil
	}
	return fmt.Errorf("broken listener %q is none of ours", name)
}

// rebind gives the socket, once it could be bound, to whatever server there is.
func (m *master) rebind(l *boundListener, broken Listener) {
	fresh, err := rebind(m.ctx, broken, m.o.Log, m.o.firstPause, m.o.lastPause)
	if err != nil {
		return // we are ending
	}
	m.mu.Lock()
	l.Listener = fresh
	s := m.session
	m.mu.Unlock()
	if s == nil {
		return // the next server gets it with the others
	}
	if err := s.sendListener(fresh); err != nil {
		s.failed(err)
	}
}

// Rebind binds a listener that broke again, after one second and then with
// pauses of up to a minute until it works (R53). The error is ctx's end, or
// that the listener can't be bound by us because it was inherited.
func Rebind(ctx context.Context, l Listener, log *slog.Logger) (Listener, error) {
	return rebind(ctx, l, log, firstPause, lastPause)
}

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
