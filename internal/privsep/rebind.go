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
type boundListener struct {
	Listener
	bound time.Time // when it was last bound again
}

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

// broken binds a listener anew that the server can't use any more (R53).
func (m *master) broken(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.listeners {
		switch {
		case l.Name != name:
			continue
		case l.File == nil: // at work already
			return nil
		case l.Network == "":
			m.o.Log.LogAttrs(m.ctx, slog.LevelError, "listener broken", slog.String("listen", name),
				maillog.Reason("it came from the service manager: restart the service"))
			return nil
		}
		m.o.Log.LogAttrs(m.ctx, slog.LevelError, "listener broken", slog.String("listen", name))
		l.File.Close()
		l.File = nil
		m.running.Go(func() { m.rebind(l, l.Listener, l.bound) })
		return nil
	}
	return fmt.Errorf("broken listener %q is none of ours", name)
}

// rebind tries until it works, for ever, then gives the socket to whatever
// server there is.
func (m *master) rebind(l *boundListener, fresh Listener, last time.Time) {
	pause := m.o.firstPause
	wait := time.Until(last.Add(pause)) // one that breaks at once is not bound at once again
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-time.After(wait):
		}
		err := fresh.bind(m.ctx)
		if err == nil {
			break
		}
		wait = pause
		m.o.Log.LogAttrs(m.ctx, slog.LevelError, "listener not bound", slog.String("listen", fresh.Name), maillog.Err(err), slog.Duration("pause", wait))
		pause = min(2*pause, m.o.lastPause)
	}
	m.mu.Lock()
	l.Listener, l.bound = fresh, time.Now()
	s := m.session
	m.mu.Unlock()
	m.o.Log.LogAttrs(context.Background(), slog.LevelInfo, "listener bound again", slog.String("listen", fresh.Name))
	if s == nil {
		return // the next server gets it with the others
	}
	if err := s.sendListener(fresh); err != nil {
		s.failed(err)
	}
}
