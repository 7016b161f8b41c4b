package deliver

import (
	"time"

	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// A message is one that is claimed, with the settings that the work on it began
// with. An attempt, an administrator's request and the result of an earlier
// process's delivery all work on one.
type message struct {
	r      *Runner
	s      *settings
	m      *spool.Message
	id     spool.ID
	env    envelope.Envelope // without its recipients
	number int               // of the attempt that is made; 0: none is
	timely int               // the same, without those made by hand before their time
	notes  map[envelope.Key]*lastNote
	loop   *loop // of the header; nil: not read yet

	inMemory int // recipients that an attempt works on
}

// opened returns a claimed message with the present settings.
func (r *Runner) opened(m *spool.Message) *message {
	msg := &message{r: r, s: r.settings.Load(), m: m, id: m.ID(), env: m.Envelope()}
	msg.env.Recipients = nil
	return msg
}

// rcpt returns the recipient at k.
func (m *message) rcpt(k envelope.Key) envelope.Recipient {
	rc, _ := m.m.Recipient(k)
	return rc
}

// pending says whether somebody is still to get the message.
func (m *message) pending() bool { return m.morePending(0) }

// morePending says whether more than n are.
func (m *message) morePending(n int) bool {
	for range m.m.Pending() {
		if n--; n < 0 {
			return true
		}
	}
	return false
}

// pendingCount counts the pending recipients.
func (m *message) pendingCount() (n int) {
	for range m.m.Pending() {
		n++
	}
	return n
}

// header returns what the header says of the message's way; it is read once.
func (m *message) header() *loop {
	if m.loop == nil {
		m.loop = readLoop(m.m.Data())
	}
	return m.loop
}

// age is how long ago the message arrived, whatever the clock was set to
// meanwhile.
func (m *message) age() time.Duration {
	return m.r.sched.Age(m.env.Arrived, m.s.Now())
}

// delay is the time since the message arrived.
func (m *message) delay() time.Duration {
	return max(m.s.Now().Sub(m.env.Arrived), 0)
}

// original is the address in the envelope that led to rc.
func (m *message) original(rc envelope.Recipient) smtp.Path { return m.origin(rc).Path }

// origin is the recipient in the envelope that led to rc.
func (m *message) origin(rc envelope.Recipient) envelope.Recipient {
	for rc.Parent != envelope.NoKey {
		rc = m.rcpt(rc.Parent)
	}
	return rc
}

// deliveredTo is the address that names a mailbox or an alias in Delivered-To.
func (m *message) deliveredTo(name string) smtp.Path {
	return m.s.router.DeliveredTo(name)
}

// addressee is the address that stands for rc where people read it: of an item
// the alias or the user whose it is, never its text.
func addressee(rc envelope.Recipient) smtp.Path {
	if rc.Agent != nil {
		return smtp.Path{Local: rc.Agent.Name}
	}
	return rc.Path
}
