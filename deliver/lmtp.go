package deliver

import (
	"fmt"
	"io"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/deliver/remote"
	"postoffice/deliver/schedule"
	"postoffice/internal/smtp"
)

const storeRelay = "lmtp" // the name of the LMTP server in log and reports

// toStore gives the message to the LMTP server. Nobody else looks for the
// user's .forward there, so that it is asked for first.
func (d *delivery) toStore() answer {
	t := d.t
	if !t.final {
		has, err := d.s.Local.Forwards(d.work, t.name, t.extension)
		switch {
		case d.work.Err() != nil:
			return nil
		case err != nil:
			return settled{outcome: outcome.Deferral("4.2.0", "it is not known now whether this user's mail is forwarded", err)}
		case has:
			return forwarded{}
		}
	}
	m, done := d.storeMessage()
	defer done()
	return d.toPool(m)
}

// storeMessage is the message for one mailbox; done is to be called when it has
// been sent. Reports to the sender are ours: the store is asked for none.
func (d *delivery) storeMessage() (m remote.Message, done func()) {
	m = remote.Message{
		ReversePath: d.s.router.Qualified(d.t.reverse),
		Recipients:  []smtp.Recipient{{Path: d.s.storeAddress(d.t)}},
		Size:        d.m.Size(),
	}
	for _, p := range d.env.Params {
		if p.Name == "BODY" || p.Name == "SMTPUTF8" {
			m.Params = append(m.Params, p)
		}
	}
	var opened []func()
	m.Open = func() io.Reader {
		body, done := d.finished(local.FormatOptions{Form: local.FormLMTP})
		opened = append(opened, done)
		return body
	}
	return m, func() {
		for _, done := range opened {
			done()
		}
	}
}

// storeAddress is how the LMTP server knows a mailbox, with its detail.
func (s *settings) storeAddress(t *localTarget) smtp.Path {
	p := s.router.DeliveredTo(t.name)
	if t.extension != "" && s.Delimiter != "" {
		p.Local += s.Delimiter + t.extension
	}
	return p
}

// storeOutcome names the store, not its socket, for whoever reads of it. A store
// that can't be reached, or breaks off, says nothing about the message (A41).
func storeOutcome(o outcome.Outcome, socket string) outcome.Outcome {
	o.Relay = storeRelay
	if o.Reply.IsZero() && o.Action == outcome.Deferred {
		o = outcome.Deferral("4.3.0", "the mail store does not answer now",
			fmt.Errorf("LMTP server at %s (is it running, and its socket open to the server's user?): %w", socket, o.Err))
	}
	return o
}

// toPool gives the pool the message for one mailbox and waits for the answer.
// A store that can't be reached, or hangs, is left alone for a while; one that
// breaks off may have done so because of this message.
func (d *delivery) toPool(m remote.Message) answer {
	socket := d.s.router.Store(d.t.step.Account)
	answered := make(chan remote.Answer, 1)
	d.r.pool.Add(remote.Job{
		Hop: remote.HopToStore(socket), Message: m, Options: d.s.Remote, Stop: d.work, Transcript: d.transcript(d.screens),
		Answer: func(x remote.Answer) { answered <- x },
	})
	x := <-answered
	if x.Outcomes == nil {
		return nil
	}
	if x.Down != nil { // also those that waited: whoever is first must not let another in
		d.r.sched.Down(schedule.All(d.s.mailboxKind(d.t)), storeOutcome(*x.Down, socket))
	}
	o := storeOutcome(x.Outcomes[0], socket)
	if o.Action == outcome.Deferred && d.work.Err() != nil {
		return nil
	}
	return settled{outcome: o, remembered: x.Remembered}
}
