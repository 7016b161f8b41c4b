package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// AdminWait is how long an administrator's request waits for whoever works on the
// message, or until its context ends: what is in flight is not broken.
const AdminWait = 30 * time.Second

// What an administrator may be told, with errors.Is. spool.ErrGone: there is no such
// message. spool.ErrBusy: it was worked on for all of AdminWait.
var (
	ErrHeld    = errors.New("the message is held")
	ErrNotHeld = errors.New("the message is not held")
	ErrWaits   = errors.New("the message waits for filters")
	ErrNobody  = errors.New("it is a report about a report, and nobody is left to be told")
)

// errReturned is the reason of a report that an administrator asked for.
var errReturned = errors.New("returned by an administrator")

// Hold takes a message out of the queue until Release. by says in the log who
// asked.
func (r *Runner) Hold(ctx context.Context, id spool.ID, reason, by string) error {
	m, err := r.seize(ctx, id)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Hold(reason); err != nil {
		return err
	}
	r.inform("message held", id, maillog.Reason(reason+", by "+by))
	return nil
}

// Release puts a held message back and tries it at once, unless it waits for filters then.
func (r *Runner) Release(ctx context.Context, id spool.ID, by string) error {
	err := patiently(ctx, func() error { return r.queue.Release(id) })
	if errors.Is(err, spool.ErrGone) {
		if s, rerr := r.queue.Read(id); rerr == nil && (s.Location == spool.Active || s.Location == spool.Waiting) {
			return ErrNotHeld
		}
	}
	if err != nil {
		return err
	}
	r.inform("message released", id, maillog.Reason("by "+by))
	r.Wake(id)
	return nil
}

// Retry makes a message due, whatever its time, and forgets which destinations
// were down. With reroute what is pending then goes where aliases, lists and
// the like lead by now. It needs a Run.
func (r *Runner) Retry(id spool.ID, reroute bool) error {
	s, err := r.queue.Read(id)
	switch {
	case err != nil:
		return err
	case s.Location == spool.Held:
		return ErrHeld
	case s.Location == spool.Waiting:
		return ErrWaits
	case s.Damaged || s.Location == spool.Corrupt:
		return spool.ErrCorrupt
	}
	r.forgetDown()
	r.sched.Arrive(id, "", reroute)
	return nil
}

// Bounce returns a message to its senders, for all that are pending. The
// reports are durable before the recipients are recorded.
func (r *Runner) Bounce(ctx context.Context, id spool.ID, by string) error {
	m, err := r.seize(ctx, id)
	if err != nil {
		return err
	}
	defer m.Close()
	if m.Envelope().Client == doubleBounceClient {
		return ErrNobody
	}
	msg := r.opened(m)
	var t tally
	for rc := range m.Pending() {
		t.failed = append(t.failed, failure{key: rc.Key, outcome: &outcome.Outcome{Action: outcome.Bounced, Err: errReturned}, tried: true})
	}
	t.bounce(msg)
	switch {
	case t.broken:
		return fmt.Errorf("what was returned could not be recorded: %w", spool.ErrLater)
	case msg.pending():
		return fmt.Errorf("not returned, since a report could not be queued: %w", t.unreported)
	}
	return msg.finish(by)
}

// errUnwanted is behind the replies with which filters refuse messages, or haven't let them
// go on in time: nothing of such a message but its header goes back.
var errUnwanted = errors.New("refused here")

// Refuse returns a message that is claimed to its senders, for those of its recipients for
// whom reply has what speaks against it. left says that there are others, who are to get
// it still; else the message is closed.
func (r *Runner) Refuse(m *spool.Message, reply func(envelope.Key) smtp.Reply) (left bool, err error) {
	msg := r.opened(m)
	var t tally
	for rc := range m.Pending() {
		if said := reply(rc.Key); !said.IsZero() {
			t.failed = append(t.failed, failure{key: rc.Key, outcome: &outcome.Outcome{Action: outcome.Bounced, Reply: said, Err: errUnwanted}, tried: true})
		}
	}
	return t.refuse(msg)
}

// GiveUp returns a message that is claimed, and waits to be judged, to its senders when it
// has become too old; said is why it waited. over says that it has, and is closed.
func (r *Runner) GiveUp(m *spool.Message, said smtp.Reply) (over bool, err error) {
	msg := r.opened(m)
	if msg.age() <= msg.s.QReturn {
		return false, nil
	}
	var t tally
	for rc := range m.Pending() {
		t.failed = append(t.failed, failure{key: rc.Key, outcome: &outcome.Outcome{Action: outcome.Deferred, Reply: said, Err: errUnwanted}, tried: true, expired: true})
	}
	_, err = t.refuse(msg)
	return err == nil, err
}

// refuse reports what has failed of a message that waits to be judged. left says that there
// are others; else the message is closed.
func (t *tally) refuse(msg *message) (left bool, err error) {
	t.bounce(msg)
	switch {
	case t.broken:
		err = fmt.Errorf("what was refused could not be recorded: %w", spool.ErrLater)
	case t.held:
	case t.unreported != nil:
		err = fmt.Errorf("a report could not be queued: %w", t.unreported)
	case msg.pending():
		return true, nil
	default:
		return false, msg.finish("filters")
	}
	return false, errors.Join(err, msg.m.Close())
}

// Remove takes all pending recipients out: nothing more is delivered, and
// nobody is told. Of a damaged message nothing else is known.
func (r *Runner) Remove(ctx context.Context, id spool.ID, by string) error {
	m, err := r.seize(ctx, id)
	if errors.Is(err, spool.ErrCorrupt) {
		if err = r.queue.Discard(id); err == nil {
			r.inform("damaged message removed", id, maillog.Reason("by "+by))
		}
		return err
	}
	if err != nil {
		return err
	}
	defer m.Close()
	msg := r.opened(m)
	var keys []envelope.Key
	for rc := range m.Pending() {
		keys = append(keys, rc.Key)
	}
	var t tally
	if !t.setState(msg, keys, envelope.Cancelled) {
		return fmt.Errorf("the removal could not be recorded: %w", spool.ErrLater)
	}
	for _, k := range keys {
		msg.log(slog.LevelInfo, "recipient cancelled", maillog.To(addressee(msg.rcpt(k))), maillog.Delay(msg.delay()), maillog.Reason("by "+by))
	}
	return msg.finish(by)
}

// finish removes a message of which nothing is pending.
func (m *message) finish(by string) error {
	if err := m.m.Finish(); err != nil {
		return err
	}
	m.log(slog.LevelInfo, "message removed", maillog.Delay(m.delay()), maillog.Reason("by "+by))
	return nil
}

// seize claims a message, held or not, as soon as nobody works on it.
func (r *Runner) seize(ctx context.Context, id spool.ID) (m *spool.Message, err error) {
	err = patiently(ctx, func() error {
		m, err = r.queue.ClaimAny(id)
		return err
	})
	if errors.Is(err, spool.ErrGone) {
		if s, rerr := r.queue.Read(id); rerr == nil && s.Location == spool.Corrupt {
			return nil, spool.ErrCorrupt
		}
	}
	return m, err
}

// patiently tries again while a message is busy, for AdminWait.
func patiently(ctx context.Context, try func() error) error {
	limit := time.NewTimer(AdminWait)
	defer limit.Stop()
	again := time.NewTicker(busyWait / 5)
	defer again.Stop()
	for {
		err := try()
		if !errors.Is(err, spool.ErrBusy) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-limit.C:
			return err
		case <-again.C:
		}
	}
}

func (r *Runner) inform(msg string, id spool.ID, attrs ...slog.Attr) {
	r.settings.Load().Log.LogAttrs(context.Background(), slog.LevelInfo, msg, append([]slog.Attr{maillog.QueueID(id)}, attrs...)...)
}
