package applets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postoffice/internal/control"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/internal/sysexits"
)

const (
	verboseWait = 5 * time.Minute // -v without --wait
	longestWait = 24 * time.Hour
	closeWait   = 3 * time.Second // for the end of a conversation that is shown
	maxEarly    = 4096            // sights kept until we know which message is ours
)

// waiter follows a message from its submission to the outcome of each
// recipient. -v shows what happens, --wait makes an exit code of it. A nil
// waiter is neither.
type waiter struct {
	viewer
	env     *Env
	verbose bool
	wait    bool // --wait
	limit   time.Duration

	sights chan []control.Sight
	broken error // why sights is closed; nobody else's before that
	early  []control.Sight
	sent   *submitted // nil: not yet
	seen   []control.Outcome
	end    *control.End
}

// submitted is what became of a submission that was taken.
type submitted struct {
	id      string       // of the message in the queue; "" where the server doesn't say
	to      []smtp.Path  // who was accepted
	refused []smtp.Reply // the others
}

// waiter is what -v and --wait ask for.
func (o sendOptions) waiter(env *Env) (*waiter, error) {
	w := &waiter{viewer: viewer{out: env.Stderr, program: env.Program}, env: env, verbose: o.verbose, limit: verboseWait}
	later := o.delivery == "q" || o.delivery == "d"
	switch {
	case o.wait == "" && (!o.verbose || later):
		return nil, nil
	case o.wait == "":
		return w, nil
	case later:
		return nil, usageErrorf("--wait and -od%s don't go together: such a message is not tried now", o.delivery)
	}
	limit, ok := spanOf(o.wait)
	if !ok || strings.Trim(o.wait, "0123456789") == "" || limit > longestWait {
		return nil, usageErrorf("--wait=%s: want a time such as 30s or 5m, at most a day", o.wait)
	}
	w.wait, w.limit = true, limit
	return w, nil
}

// begin starts the watch, before there is anything to see. Without one nothing
// is sent with --wait.
func (w *waiter) begin(ctx context.Context, s *service) error {
	err := s.blind
	if err == nil {
		err = w.watch(ctx, s.control)
	}
	switch {
	case err == nil:
	case w.wait:
		return w.notTaken(exitWith(sysexits.TempFail, fmt.Errorf("deliveries can't be watched, and nothing was sent: %w", err)))
	default:
		say(w.out, w.program, fmt.Sprintf("deliveries can't be shown: %v", err))
	}
	return nil
}

// watch returns when the watch has begun. What is seen comes through sights
// until ctx ends.
func (w *waiter) watch(ctx context.Context, c *control.Client) error {
	begun := make(chan error, 1)
	sights := make(chan []control.Sight)
	go func() {
		first := true
		err := c.Watch(ctx, control.Request{}, func(some []control.Sight) bool {
			if first {
				first = false
				begun <- nil
				return true
			}
			select {
			case sights <- some:
				return true
			case <-ctx.Done():
				return false
			}
		})
		if first {
			begun <- errors.Join(err, errors.New("the server watches nothing"))
			return
		}
		w.broken = err
		close(sights)
	}()
	err := <-begun
	if err == nil {
		w.sights = sights
	}
	return err
}

// follow submits the message and waits for what becomes of it.
func (w *waiter) follow(submit func() (*submitted, error)) error {
	type result struct {
		sent *submitted
		err  error
	}
	done := make(chan result, 1)
	go func() {
		sent, err := submit()
		done <- result{sent, err}
	}()
	var over <-chan time.Time
	for {
		select {
		case r := <-done:
			if r.err != nil {
				return w.notTaken(r.err)
			}
			w.known(r.sent)
			over = time.After(w.limit)
		case some, ok := <-w.sights:
			if !ok {
				w.sights = nil
			}
			w.see(some)
		case <-over:
			return w.verdict(true)
		}
		if w.sent != nil && (w.ended() || w.sights == nil) {
			w.linger()
			return w.verdict(false)
		}
	}
}

// known says which message is ours.
func (w *waiter) known(s *submitted) {
	w.sent = s
	early := w.early
	w.early = nil
	w.see(early)
}

func (w *waiter) see(some []control.Sight) {
	for _, s := range some {
		switch {
		case w.sent == nil:
			if w.early = append(w.early, s); len(w.early) > 2*maxEarly {
				w.early = slices.Clone(w.early[maxEarly:])
			}
			continue
		case s.ID != w.sent.id && s.Lost == 0, w.ended() && s.Line == nil:
			continue
		case s.Outcome != nil:
			w.seen = append(w.seen, *s.Outcome)
		case s.End != nil:
			w.end = s.End
		}
		w.viewer.see(s, !w.verbose)
	}
}

// ended says that each recipient has had its turn.
func (w *waiter) ended() bool { return w.end != nil && !w.end.Again }

// linger lets a conversation that is shown come to its end.
func (w *waiter) linger() {
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	for w.verbose && w.open > 0 && w.sights != nil {
		select {
		case some, ok := <-w.sights:
			if !ok {
				w.sights = nil
			}
			w.see(some)
		case <-timer.C:
			return
		}
	}
}

// verdict is what the program ends with. late says that the time is over.
func (w *waiter) verdict(late bool) error {
	unseen := w.unseen()
	if late || w.wait {
		for _, p := range unseen {
			say(w.out, w.program, fmt.Sprintf("%s: nothing has come of it yet", p))
		}
	}
	switch {
	case late:
		say(w.out, w.program, fmt.Sprintf("waited for %v; the message goes on in the background", w.limit))
	case w.end != nil && w.end.Kept:
		say(w.out, w.program, "the message waits for the next run of the queue")
	case w.sights == nil && w.broken != nil && !w.ended():
		say(w.out, w.program, fmt.Sprintf("deliveries can't be watched any more: %v", w.broken))
	}
	if !w.wait {
		return nil
	}
	failed, strangers, waiting := w.count()
	switch {
	case failed > 0 && failed == strangers:
		return exitWith(sysexits.NoUser, fmt.Errorf("message %s: unknown recipients: %d", w.sent.id, failed))
	case failed > 0:
		return exitWith(sysexits.Unavailable, fmt.Errorf("message %s: recipients that failed: %d", w.sent.id, failed))
	case waiting > 0 || len(unseen) > 0 || !w.ended():
		return exitWith(sysexits.TempFail, fmt.Errorf("message %s is in the queue, and not delivered to everybody yet", w.sent.id),
			"it need not be sent again; mailq "+w.sent.id+" tells more")
	}
	return nil
}

// unseen are the recipients of whom nothing is known, where anybody has still
// to get the message.
func (w *waiter) unseen() []smtp.Path {
	if w.ended() && w.end.Pending == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(w.sent.to), func(p smtp.Path) bool {
		return slices.ContainsFunc(w.seen, func(o control.Outcome) bool { return isOf(o, p) })
	})
}

// isOf says whether an outcome is that of a recipient, to which the server may
// have added this machine's domain.
func isOf(o control.Outcome, p smtp.Path) bool {
	original := o.Original
	if p.Domain == "" {
		original = original[:max(strings.LastIndexByte(original, '@'), 0)]
	}
	return strings.EqualFold(original, p.String()) || strings.EqualFold(o.Original, p.String())
}

// count counts the recipients that failed, those of them that nobody knows, and
// those that wait.
func (w *waiter) count() (failed, strangers, waiting int) {
	fail := func(unknown bool) {
		if failed++; unknown {
			strangers++
		}
	}
	for _, r := range w.sent.refused {
		fail(r.Permanent() && isStranger(r.Status))
	}
	for _, o := range w.seen {
		switch o.Status {
		case maillog.Deferred:
			waiting++
		case maillog.Bounced, maillog.Expired:
			fail(isStranger(o.DSN))
		}
	}
	return failed, strangers, waiting
}

// isStranger says whether an enhanced status code means that there is no such
// mailbox (RFC 3463 section 3.2).
func isStranger(status string) bool { return status == "5.1.1" || status == "5.1.10" }

// notTaken is the error for a message that was not taken. With --wait 75 always
// means one that is in the queue and must not be sent again, so that it is
// another code that asks for another try.
func (w *waiter) notTaken(err error) error {
	if w == nil || !w.wait || exitStatus(err) != sysexits.TempFail {
		return err
	}
	hint := "nothing is in the queue: try again"
	if x := (*exitError)(nil); errors.As(err, &x) && x.hint != "" {
		hint = x.hint + "\n" + hint
	}
	return exitWith(sysexits.OSErr, errors.New(err.Error()), hint)
}

// left is what follows when a message was left in maildrop/, or could not be.
func (w *waiter) left(err error) error {
	switch {
	case err != nil:
		return w.notTaken(err)
	case w == nil:
		return nil
	}
	const text = "no mail server runs here: the message is kept until one does, and what comes of it can't be seen"
	if w.wait {
		return exitWith(sysexits.TempFail, errors.New(text), "it need not be sent again; root starts a server with: postoffice smtpd")
	}
	say(w.out, w.program, text)
	return nil
}
