package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/applets/smtpd"
	"postoffice/applets/smtpd/rates"
	"postoffice/applets/state"
	"postoffice/applets/sysexits"
	"postoffice/deliver"
	"postoffice/internal/dbm/store"
	"postoffice/internal/maillog"
	"postoffice/spool"
)

// Changer changes messages in the files, where no server runs.
type Changer struct {
	conf   *config.Config
	log    *slog.Logger
	queue  *spool.Queue
	runner *deliver.Runner // nil until it is needed; it delivers nothing
}

// NewChanger returns a Changer for the queue, which stays the caller's to close.
func NewChanger(conf *config.Config, log *slog.Logger, queue *spool.Queue) *Changer {
	return &Changer{conf: conf, log: log, queue: queue}
}

// Act does what r asks for, for a user. The error is as for MessageError.
func (c *Changer) Act(ctx context.Context, r control.Request, uid int) error {
	if r.Do == control.Retry {
		return &control.Error{Code: sysexits.Unavailable, Text: "no mail server runs here; runq tries everything now"}
	}
	if c.runner == nil {
		c.runner = deliver.NewRunner(newSettings(ctx, c.conf, c.log).deliver(ground{}, c.queue, nil))
	}
	return change(ctx, c.runner, r, by(uid))
}

// by is who changes a message, for the log.
func by(uid int) string { return fmt.Sprintf("uid %d", uid) }

// change is the table from the verbs to what they do.
func change(ctx context.Context, runner *deliver.Runner, r control.Request, by string) error {
	id, ok := spool.ParseID(r.ID)
	if !ok {
		return NoMessage(r.ID)
	}
	if !r.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, r.Until)
		defer cancel()
	}
	var err error
	switch r.Do {
	case control.Hold:
		err = runner.Hold(ctx, id, r.Reason, by)
	case control.Release:
		err = runner.Release(ctx, id, by)
	case control.Retry:
		err = runner.Retry(id, r.Reroute)
	case control.Bounce:
		err = runner.Bounce(ctx, id, by)
	case control.Remove:
		err = runner.Remove(ctx, id, by)
	default:
		err = &control.Error{Code: sysexits.Usage, Text: fmt.Sprintf("no command %q", r.Do)}
	}
	return MessageError(r.ID, err)
}

// MessageError returns a failure about one message as people are told it: a
// *control.Error where its kind is known.
func MessageError(id string, err error) error {
	refused := func(text string) error { return &control.Error{Code: sysexits.Unavailable, Text: text} }
	switch {
	case errors.Is(err, spool.ErrGone):
		err = NoMessage(id)
	case errors.Is(err, spool.ErrCorrupt):
		err = refused("its file is damaged; mailq " + id + " tells more, and remove drops it")
	case errors.Is(err, spool.ErrBusy):
		err = &control.Error{Code: sysexits.TempFail, Text: "it is being delivered just now; try again in a while"}
	case errors.Is(err, deliver.ErrHeld):
		err = refused("it is held; release puts it back and tries it")
	case errors.Is(err, deliver.ErrWaits):
		err = refused("it waits for filters; runq has them asked")
	case errors.Is(err, deliver.ErrNotHeld):
		err = refused("it is not held")
	case errors.Is(err, deliver.ErrNobody):
		err = refused(deliver.ErrNobody.Error() + "; remove drops it")
	}
	return err
}

// act does what a client of the control socket asks for. What it starts ends
// with life.
func (s *system) act(ctx, life context.Context, p control.Peer, r control.Request) error {
	if err := mayChange(p); err != nil {
		return err
	}
	if r.Do == control.Retry && s.awaits(spool.ID(r.ID)) {
		s.waiting.Now()
		return nil
	}
	err := change(ctx, s.runner, r, by(p.UID))
	if err == nil && r.Do == control.Release {
		s.waiting.Now() // it may wait again
	}
	if err == nil && r.Do == control.Retry && s.queueOnly {
		s.passOf(life, spool.ID(r.ID), r.Reroute)
	}
	return err
}

// passOf tries one message in the background where nothing runs the queue.
func (s *system) passOf(ctx context.Context, id spool.ID, reroute bool) {
	s.work.Go(func() {
		s.passing.Lock()
		defer s.passing.Unlock()
		runner := deliver.NewRunner(s.deliverOptions(s.settings.Load()))
		if err := runner.PassOf(ctx, []spool.ID{id}, reroute); err != nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "message not tried", maillog.QueueID(id), maillog.Err(err))
		}
	})
}

// mayChange lets root and the owner of the queue pass.
func mayChange(p control.Peer) error {
	if p.UID != 0 && p.UID != os.Getuid() {
		return &control.Error{Code: sysexits.NoPerm, Text: "only root and the owner of the queue may do that"}
	}
	return nil
}

// listing is the queue as a user sees it.
func (s *system) listing(p control.Peer) Listing {
	return Listing{s.queue, s.runner.Active, s.settings.Load().viewer(p.UID)}
}

// controls are what the control socket offers, to whom. A queue run that it
// starts ends with ctx.
func (s *system) controls(ctx context.Context) control.Handler {
	return control.Handler{
		List: func(_ context.Context, p control.Peer) iter.Seq2[control.Part, error] { return s.listing(p).All() },
		Show: func(_ context.Context, p control.Peer, id string) iter.Seq2[control.Part, error] {
			return s.listing(p).One(spool.ID(id))
		},
		Run: func(_ context.Context, p control.Peer) error {
			if err := mayChange(p); err != nil {
				return err
			}
			s.runNow(ctx)
			return nil
		},
		Version: cmdline.Version,
		Route:   s.route,
		Nobody:  accountless,
		Watch: func(request context.Context, p control.Peer, r control.Request, send func([]control.Event) error) error {
			return s.watch(request, ctx, p, r, send)
		},
		Sessions:   s.sessions,
		EndSession: s.endSession,
		Limits:     s.limits,
		Filters:    s.filtersSeen,
		Store:      s.records,
		Act: func(request context.Context, p control.Peer, r control.Request) error {
			return s.act(request, ctx, p, r)
		},
		Cat: func(_ context.Context, p control.Peer, id string) (io.ReadCloser, error) {
			if err := mayChange(p); err != nil {
				return nil, err
			}
			return s.listing(p).Open(id)
		},
	}
}

// sessions are the SMTP sessions that a user may see.
func (s *system) sessions(p control.Peer) iter.Seq[control.Session] {
	v := s.settings.Load().viewer(p.UID)
	return func(yield func(control.Session) bool) {
		for is := range s.smtp.Sessions() {
			if v.SeesSession(is.UID) && !yield(sessionOf(is)) {
				return
			}
		}
	}
}

// sessionOf is a session as clients see it: foreign text is printable.
func sessionOf(is smtpd.Seen) control.Session {
	return control.Session{
		ID: is.ID, Client: clean(is.Client), Helo: clean(is.Hello), State: is.State, QueueID: is.QueueID,
		Begun: is.Begun, Since: is.Since, Received: is.Received, TLS: is.TLS,
	}
}

// endSession ends a session that the user may see.
func (s *system) endSession(p control.Peer, id string) error {
	for is := range s.sessions(p) {
		if is.ID == id && s.smtp.End(id, by(p.UID)) {
			return nil
		}
	}
	return &control.Error{Code: sysexits.Unavailable, Text: fmt.Sprintf("no session %q that you may see", clean(id))}
}

// filtersSeen are the mail filters, for those who see every session; others have none.
func (s *system) filtersSeen(p control.Peer) (all []control.Filter) {
	if !s.settings.Load().viewer(p.UID).Admin {
		return nil
	}
	for _, is := range s.filters.Load().States() {
		one := control.Filter{
			Name: is.Name, State: control.FilterWorks, Reason: clean(is.Why), Until: is.Until, Connections: is.Connections,
			Messages: is.Messages, Refused: is.Refused, Edited: is.Edited, Failures: is.Failed,
		}
		if is.Why != "" {
			one.State = control.FilterFailed
		}
		all = append(all, one)
	}
	return all
}

// countEvery is how often the log has what filters have done: a day's is soon looked up.
const countEvery = 24 * time.Hour

// countFilters writes that down until ctx ends.
func (s *system) countFilters(ctx context.Context) {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.filters.Load().LogCounts(ctx, nil)
		}
	}
}

// limits are the networks that come too fast now, the busiest first.
func (s *system) limits(p control.Peer) ([]control.Limit, error) {
	if !s.settings.Load().viewer(p.UID).Admin {
		return nil, &control.Error{Code: sysexits.NoPerm, Text: "only root, the server-user and trusted-users see who is limited"}
	}
	now := time.Now()
	all := []control.Limit{}
	for _, l := range s.smtp.Limited() {
		one := control.Limit{
			Network: l.Network.String(), What: l.Kind.String(), Option: rateOptions[l.Kind], Most: l.Most,
			Seconds: int(l.Per / time.Second), Refused: l.Refused, Until: now.Add(l.Wait),
		}
		if l.Network.IsSingleIP() {
			one.Network = l.Network.Addr().String()
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b control.Limit) int {
		return cmp.Or(b.Refused-a.Refused, strings.Compare(a.Network, b.Network), strings.Compare(a.What, b.What))
	})
	return all, nil
}

// rateOptions are the options behind each kind.
var rateOptions = [...]string{rates.Connections: "rate-connections", rates.Messages: "rate-messages", rates.Recipients: "rate-recipients", rates.Unknown: "rate-unknown", rates.Logins: "rate-logins", rates.Idle: "clients"}

// Records are a part of the store as people see and change it: an error has its exit
// code, and what was changed is in the log.
type Records struct {
	Store control.Store
	Log   *slog.Logger // nil: nothing is told
	UID   int          // of whoever asks

	Deleted func(ctx context.Context, n int) // counts what was deleted; nil: nobody does
}

// Get implements control.Store.
func (r Records) Get(ctx context.Context, key string) (value string, there bool, err error) {
	value, there, err = r.Store.Get(ctx, key)
	return value, there, StoreError(err)
}

// Scan implements control.Store.
func (r Records) Scan(ctx context.Context, after string, each func(key, value string) bool) error {
	return StoreError(r.Store.Scan(ctx, after, each))
}

// Update implements control.Store.
func (r Records) Update(ctx context.Context, key string, change func(old string, there bool) (now string, keep bool)) error {
	var now string
	changed := false
	err := r.Store.Update(ctx, key, func(old string, there bool) (string, bool) {
		value, keep := change(old, there)
		now, changed = value, keep != there || value != old
		return value, keep
	})
	if err == nil && changed && r.Log != nil {
		r.Log.LogAttrs(ctx, slog.LevelInfo, "record changed", slog.String("key", clean(key)), slog.String("value", clean(now)), maillog.User(by(r.UID)))
	}
	return StoreError(err)
}

// Delete implements control.Store.
func (r Records) Delete(ctx context.Context, keys []string, gone func(key, value string) bool) (int, error) {
	n, err := r.Store.Delete(ctx, keys, gone)
	if n > 0 && r.Log != nil {
		r.Log.LogAttrs(ctx, slog.LevelInfo, "records deleted", slog.Int("count", n), maillog.User(by(r.UID)))
	}
	if n > 0 && r.Deleted != nil {
		r.Deleted(ctx, n)
	}
	return n, StoreError(err)
}

// StoreError gives an error of the store its exit code, and says what to do about it.
func StoreError(err error) error {
	code := sysexits.TempFail
	switch {
	case err == nil, errors.As(err, new(*control.Error)):
		return err
	case errors.Is(err, store.ErrDamaged):
		code = sysexits.DataErr
	case errors.Is(err, store.ErrLost):
		code = sysexits.IOErr
	case errors.Is(err, store.ErrLite):
		code = sysexits.Unavailable
	case errors.Is(err, store.ErrTooLong):
		code = sysexits.Usage
	case errors.Is(err, fs.ErrPermission):
		code = sysexits.NoPerm
		err = fmt.Errorf("%w: its directory and all in it must be the server-user's, see chown(1)", err)
	case errors.Is(err, store.ErrClosed):
		err = fmt.Errorf("%w: the server is ending; try again in a moment", err)
	case errors.Is(err, store.ErrLocked):
		err = fmt.Errorf("%w: a server that ends lets go of it at once; try again in a moment", err)
	}
	return &control.Error{Code: code, Text: err.Error()}
}

// records is a part of the store for whoever may see it.
func (s *system) records(p control.Peer, part string) (control.Store, error) {
	if mayChange(p) != nil {
		return nil, &control.Error{Code: sysexits.NoPerm, Text: "only root and the server-user may look into the store: it shows who writes to whom"}
	}
	if s.state != nil {
		if open, ok := s.state.Opened(part); ok {
			records := Records{Store: open, Log: s.log, UID: p.UID}
			if part == state.Greylist && s.greylist != nil {
				records.Deleted = func(_ context.Context, n int) { s.greylist.Removed(n) }
			}
			return records, nil
		}
	}
	return nil, &control.Error{Code: sysexits.NoInput, Text: shutText}
}

// shutText is the answer of a server that doesn't have the store open.
const shutText = "the server that runs has no store open, since no option needs it"

// IsStoreShut reports whether a server has said that it doesn't have the store open.
func IsStoreShut(err error) bool {
	e := (*control.Error)(nil)
	return errors.As(err, &e) && e.Code == sysexits.NoInput && e.Text == shutText
}
