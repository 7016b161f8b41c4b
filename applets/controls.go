package applets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"postoffice/internal/control"
	"postoffice/internal/sysexits"
	"postoffice/spool"
)

// controls are what the control socket offers, to whom. A queue run that it
// starts ends with ctx.
func (s *system) controls(ctx context.Context) control.Handler {
	return control.Handler{
		List: func(_ context.Context, p control.Peer) iter.Seq2[control.Message, error] {
			return listing{s.queue, s.runner.Active}.all(p)
		},
		Show: func(_ context.Context, _ control.Peer, id string) (control.Message, error) {
			return listing{s.queue, s.runner.Active}.one(spool.ID(id))
		},
		Run: func(_ context.Context, p control.Peer) error {
			if err := mayChange(p); err != nil {
				return err
			}
			s.runNow(ctx)
			return nil
		},
		Version: version,
		Route:   s.route,
		Watch: func(request context.Context, p control.Peer, r control.Request, send func([]control.Sight) error) error {
			return s.watch(request, ctx, p, r, send)
		},
		Act: func(request context.Context, p control.Peer, r control.Request) error {
			return s.act(request, ctx, p, r)
		},
		Cat: func(_ context.Context, p control.Peer, id string) (io.ReadCloser, error) {
			if err := mayChange(p); err != nil {
				return nil, err
			}
			return listing{s.queue, s.runner.Active}.open(id)
		},
	}
}

// listing reads the queue for people.
type listing struct {
	queue  *spool.Queue
	active func(spool.ID) bool // being delivered now
}

// all goes through the queue in the order of arrival; messages that end
// meanwhile are passed over. Behind it is what p may know of maildrop/.
func (l listing) all(p control.Peer) iter.Seq2[control.Message, error] {
	return func(yield func(control.Message, error) bool) {
		var ids []spool.ID
		for e, err := range l.queue.Entries() {
			if err != nil {
				yield(control.Message{}, fmt.Errorf("list the queue: %w", err))
				return
			}
			ids = append(ids, e.ID)
		}
		slices.Sort(ids) // they sort by time
		for _, id := range slices.Compact(ids) {
			m, err := l.message(id)
			if errors.Is(err, spool.ErrGone) {
				continue
			}
			if !yield(m, err) {
				return
			}
		}
		for _, m := range l.dropped(p) {
			if !yield(m, nil) {
				return
			}
		}
	}
}

// dropped is what waits in maildrop/: of all users for root and the owner of
// the queue, for anybody else his own.
func (l listing) dropped(p control.Peer) (all []control.Message) {
	waiting, err := l.queue.Waiting()
	if err != nil {
		return nil // others' rights to the directory are none of the queue's
	}
	for _, w := range waiting {
		if mayChange(p) != nil && w.Owner != p.UID {
			continue
		}
		files := "one message"
		if w.Files > 1 {
			files = fmt.Sprintf("%d messages", w.Files)
		}
		all = append(all, control.Message{
			ID: spool.MaildropDir, Size: w.Octets, Arrived: w.Oldest, Sender: login(w.Owner), State: control.Dropped, Recipients: []control.Recipient{},
			Reason: files + " of " + login(w.Owner) + " in maildrop/, for the next server or run of the queue",
		})
	}
	return all
}

// one is a message with its history.
func (l listing) one(id spool.ID) (control.Message, error) {
	m, err := l.message(id)
	if errors.Is(err, spool.ErrGone) {
		return noMessage(string(id))
	}
	return m, err
}

// open reads a message's header and body.
func (l listing) open(id string) (io.ReadCloser, error) {
	r, err := l.queue.OpenData(spool.ID(id))
	if err != nil {
		return nil, toldError(id, err)
	}
	return r, nil
}

func noMessage(id string) (control.Message, error) {
	return control.Message{}, &control.Error{Code: sysexits.Unavailable, Text: fmt.Sprintf("no message %.40q in the queue", id)}
}

// message is a message as mailq shows it.
func (l listing) message(id spool.ID) (control.Message, error) {
	snap, err := l.queue.Read(id)
	if errors.Is(err, spool.ErrLater) {
		return control.Message{ID: string(id), State: control.Deferred, Reason: err.Error()}, nil
	}
	if err != nil {
		return control.Message{}, err
	}
	m := control.Message{ID: string(id), Size: snap.Size, Reason: snap.Reason, State: control.Corrupt}
	if snap.Damaged || snap.Place == spool.Corrupt {
		return m, nil
	}
	h := newHistory(snap)
	m.Arrived, m.Sender = snap.Envelope.Arrived, snap.Envelope.ReversePath.String()
	m.Recipients, m.History = h.recipients(), h.events()
	switch {
	case snap.Place == spool.Held:
		m.State = control.Held
	case l.active(id) || !h.next.After(time.Now()):
		m.State = control.Active
	default:
		m.State = control.Deferred
	}
	return m, nil
}
