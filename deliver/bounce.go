package deliver

import (
	"context"
	"fmt"
	"log/slog"

	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/spool"
)

// What Envelope.Client says of messages that the runner made. A client of the
// network or of this machine never has such a name.
const (
	bounceClient       = "bounce"
	doubleBounceClient = "double-bounce"
)

// bounce tells the senders what failed, one report to each reverse-path, and
// records the recipients once the report is durable. Where it can't be
// written they stay pending.
func (a *attempt) bounce() {
	reports := map[string][]failure{}
	for _, f := range a.failed {
		to := a.rcpt(f.key).ReversePath.String()
		reports[to] = append(reports[to], f)
	}
	for _, to := range sorted(reports) {
		if failed := reports[to]; !a.broken {
			a.report(a.rcpt(failed[0].key).ReversePath, failed)
		}
	}
}

// report sends one report. What has a null reverse-path is never answered:
// the postmaster is told, once, and if that fails the message is held.
func (a *attempt) report(to smtp.Path, failed []failure) {
	rp := report{a: a, to: to, client: bounceClient, failed: failed}
	if to.IsNull() {
		if a.env.Client == doubleBounceClient {
			a.keep(failed)
			return
		}
		rp.to, rp.client = smtp.Path{Local: "postmaster", Domain: a.s.Hostname}, doubleBounceClient
	}
	id, err := rp.queue()
	if err != nil {
		a.later("bounce not queued", err)
		return
	}
	keys := make([]spool.Key, len(failed))
	for i, f := range failed {
		keys[i] = f.key
	}
	a.s.Log.LogAttrs(context.Background(), slog.LevelInfo, "message queued", maillog.QueueID(id), maillog.From(smtp.Path{}),
		maillog.To(rp.to), maillog.NRcpt(1), maillog.Reason(rp.client+" of "+string(a.id)))
	if a.setState(keys, spool.Bounced) {
		for _, f := range failed {
			status := maillog.Bounced
			if f.expired {
				status = maillog.Expired
			}
			a.logRecipient(a.rcpt(f.key), *f.outcome, "message bounced", status)
		}
	}
	a.r.Wake(id)
}

// later makes the failed recipients be tried again with the usual delay.
func (a *attempt) later(msg string, err error) {
	next := a.s.Now().Add(retryDelay(a.number))
	a.next, a.unreported = latest(a.next, next), err
	a.log(slog.LevelWarn, msg, maillog.Err(err), maillog.Next(next))
}

// keep holds a report to the postmaster that failed itself: nobody is left to
// be told, and nothing is dropped (B75).
func (a *attempt) keep(failed []failure) {
	pending := 0
	for range a.m.Pending() {
		pending++
	}
	if pending > len(failed) { // others may yet get it
		a.later("report to the postmaster failed for some", failed[0].outcome.err())
		return
	}
	reason := fmt.Sprintf("a report to the postmaster can't be delivered to <%s>: %v", addressee(a.rcpt(failed[0].key)), failed[0].outcome.err())
	if err := a.m.Hold(reason); err != nil {
		a.later("message not held", err)
		return
	}
	a.held = true
	a.log(slog.LevelError, "message held", maillog.Reason(reason))
}

// err is the outcome's reason as an error.
func (o Outcome) err() error {
	if o.Err != nil {
		return o.Err
	}
	return fmt.Errorf("%s", o.Reply)
}

// queue writes the report into the spool and returns when it is durable.
func (rp *report) queue() (spool.ID, error) {
	a := rp.a
	header, eight := rp.originalHeader()
	env := spool.Envelope{
		Arrived:    a.s.Now(),
		Client:     rp.client,
		Recipients: []smtp.Recipient{{Path: rp.to}},
	}
	if eight {
		env.Params = []smtp.Param{{Name: "BODY", Value: "8BITMIME"}}
	}
	in, err := a.r.queue.Create(env)
	if err != nil {
		return "", err
	}
	if err := rp.write(in, header, eight); err != nil {
		in.Abort()
		return "", err
	}
	if err := in.Commit(); err != nil {
		return "", err
	}
	return in.ID(), nil
}
