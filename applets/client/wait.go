package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/control"
	"postoffice/applets/sysexits"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

const (
	verboseWait = 5 * time.Minute // -v without --wait
	longestWait = 24 * time.Hour  // --wait, whatever it asks for
	closeWait   = 3 * time.Second // for the end of a conversation that is shown
	maxEarly    = 4096            // events kept until we know which message is ours
)

// waiter follows a message from its submission to the outcome of each
// recipient. -v shows what happens, --wait makes an exit code of it. A nil
// waiter is neither.
type waiter struct {
	viewer
	env     *cmdline.Env
	verbose bool
	wait    bool // --wait
	limit   time.Duration

	events chan []control.Event
	broken error // why events is closed; nobody else's before that
	early  []control.Event
	sent   *submitted // nil: not yet
	seen   []control.Outcome
	ends   map[string]*control.End // the last of each of our messages
}

// submitted is what became of a submission that was taken.
type submitted struct {
	ids []string    // of the message in the queue, several where it became several; none where the server doesn't say
	to  []smtp.Path // who it is for
}

// waiter is what -v and --wait ask for.
func (o SendOptions) waiter(env *cmdline.Env) (*waiter, error) {
	w := &waiter{viewer: viewer{out: env.Stderr, program: env.Program}, env: env, verbose: o.Verbose, limit: verboseWait, ends: map[string]*control.End{}}
	later := o.later()
	switch {
	case !o.Wait.Given && (!o.Verbose || later):
		return nil, nil
	case !o.Wait.Given:
		return w, nil
	case later:
		return nil, cmdline.Usagef("--wait and -od%s don't go together: such a message is not tried now", o.Delivery.Value)
	}
	limit, ok := cmdline.Span(o.Wait.Value)
	if !ok || strings.Trim(o.Wait.Value, "0123456789") == "" || limit > longestWait {
		return nil, cmdline.Usagef("--wait=%s: want a time such as 30s or 5m, at most a day", o.Wait.Value)
	}
	w.wait, w.limit = true, limit
	return w, nil
}

// begin starts the watch, before there is anything to see. Without one nothing
// is sent with --wait.
func (w *waiter) begin(ctx context.Context, s *connections) error {
	err := s.blind
	if err == nil {
		err = w.watch(ctx, s.control)
	}
	switch {
	case err == nil:
	case w.wait:
		return w.notTaken(cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("deliveries can't be watched, and nothing was sent: %w", err)))
	default:
		cmdline.Say(w.out, w.program, fmt.Sprintf("deliveries can't be shown: %v", err))
	}
	return nil
}

// watch returns when the watch has begun. What is seen comes through events
// until ctx ends.
func (w *waiter) watch(ctx context.Context, c *control.Client) error {
	begun := make(chan error, 1)
	events := make(chan []control.Event)
	go func() {
		first := true
		err := c.Watch(ctx, control.Request{}, func(some []control.Event) bool {
			if first {
				first = false
				begun <- nil
				return true
			}
			select {
			case events <- some:
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
		close(events)
	}()
	err := <-begun
	if err == nil {
		w.events = events
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
			if errors.Is(r.err, errNoServer) { // any more: it goes to maildrop/
				return r.err
			}
			if r.err != nil {
				return w.notTaken(r.err)
			}
			w.submitted(r.sent)
			over = time.After(w.limit)
		case some, ok := <-w.events:
			if !ok {
				w.events = nil
			}
			w.observe(some)
		case <-over:
			return w.verdict(true)
		}
		if w.sent != nil && (w.ended() || w.events == nil) {
			w.linger()
			return w.verdict(false)
		}
	}
}

// submitted says which message is ours.
func (w *waiter) submitted(s *submitted) {
	w.sent = s
	early := w.early
	w.early = nil
	w.observe(early)
}

func (w *waiter) observe(some []control.Event) {
	for _, s := range some {
		switch {
		case w.sent == nil:
			if w.early = append(w.early, s); len(w.early) > 2*maxEarly {
				w.early = slices.Clone(w.early[maxEarly:])
			}
			continue
		case !slices.Contains(w.sent.ids, s.ID) && s.Lost == 0, w.ended() && s.Line == nil:
			continue
		case s.Outcome != nil:
			w.seen = append(w.seen, *s.Outcome)
		case s.End != nil:
			w.ends[s.ID] = s.End
		}
		w.viewer.show(s, !w.verbose)
	}
}

// ended says that each recipient has had its turn.
func (w *waiter) ended() bool {
	for _, id := range w.sent.ids {
		if end := w.ends[id]; end == nil || end.Again {
			return false
		}
	}
	return len(w.sent.ids) > 0
}

// waits says that recipients are left for whom something is still to be done, or
// that it isn't known.
func (w *waiter) waits() bool {
	return !w.ended() || w.some(func(end *control.End) bool { return end.Pending > 0 })
}

// some says whether an end is so.
func (w *waiter) some(is func(*control.End) bool) bool {
	for _, end := range w.ends {
		if is(end) {
			return true
		}
	}
	return false
}

// linger lets a conversation that is shown come to its end.
func (w *waiter) linger() {
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	for w.verbose && w.open > 0 && w.events != nil {
		select {
		case some, ok := <-w.events:
			if !ok {
				w.events = nil
			}
			w.observe(some)
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
			cmdline.Say(w.out, w.program, fmt.Sprintf("%s: nothing has come of it yet", p))
		}
	}
	switch {
	case late:
		cmdline.Say(w.out, w.program, fmt.Sprintf("waited for %v; the message goes on in the background", w.limit))
	case w.some(func(end *control.End) bool { return end.Kept }):
		cmdline.Say(w.out, w.program, "the message waits for the next run of the queue")
	case w.events == nil && w.broken != nil && !w.ended():
		cmdline.Say(w.out, w.program, fmt.Sprintf("deliveries can't be watched any more: %v", w.broken))
	}
	if !w.wait {
		return nil
	}
	failed, strangers, waiting := w.count()
	id := strings.Join(w.sent.ids, " ")
	switch {
	case failed > 0 && failed == strangers:
		return cmdline.ExitWith(sysexits.NoUser, fmt.Errorf("message %s: unknown recipients: %d", id, failed))
	case failed > 0:
		return cmdline.ExitWith(sysexits.Unavailable, fmt.Errorf("message %s: recipients that failed: %d", id, failed))
	case waiting > 0 || len(unseen) > 0 || !w.ended():
		return cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("message %s is in the queue, and not delivered to everybody yet", id),
			"it need not be sent again; mailq "+id+" tells more")
	}
	return nil
}

// unseen are the recipients of whom nothing is known, where anybody has still
// to get the message.
func (w *waiter) unseen() []smtp.Path {
	if !w.waits() {
		return nil
	}
	whole, local := map[string]bool{}, map[string]bool{}
	for _, o := range w.seen {
		original := smtp.Fold(o.Original)
		whole[original] = true
		local[original[:max(strings.LastIndexByte(original, '@'), 0)]] = true
	}
	return slices.DeleteFunc(slices.Clone(w.sent.to), func(p smtp.Path) bool {
		name := smtp.Fold(p.String())
		return whole[name] || p.Domain == "" && local[name] // the server may have added this machine's domain
	})
}

// count counts the recipients that failed, those of them that nobody knows, and
// those that wait.
func (w *waiter) count() (failed, strangers, waiting int) {
	for _, o := range w.seen {
		switch o.Status {
		case maillog.Deferred:
			waiting++
		case maillog.Bounced, maillog.Expired:
			if failed++; smtp.UnknownMailbox(o.DSN) {
				strangers++
			}
		}
	}
	return failed, strangers, waiting
}

// notTaken is the error for a message that was not taken. With --wait 75 always
// means one that is in the queue and must not be sent again, so that it is
// another code that asks for another try.
func (w *waiter) notTaken(err error) error {
	if w == nil || !w.wait || cmdline.ExitStatus(err) != sysexits.TempFail {
		return err
	}
	hint := "nothing is in the queue: try again"
	if x := (*cmdline.ExitError)(nil); errors.As(err, &x) && x.Hint != "" {
		hint = x.Hint + "\n" + hint
	}
	return cmdline.ExitWith(sysexits.OSErr, errors.New(err.Error()), hint)
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
		return cmdline.ExitWith(sysexits.TempFail, errors.New(text), "it need not be sent again; root starts a server with: postoffice smtpd")
	}
	cmdline.Say(w.out, w.program, text)
	return nil
}
