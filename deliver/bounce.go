package deliver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"

	"postoffice/deliver/report"
	"postoffice/deliver/route"
	"postoffice/deliver/schedule"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// What Envelope.Client says of messages that the runner made. A client of the
// network or of this machine never has such a name.
const (
	bounceClient       = "bounce"
	doubleBounceClient = "double-bounce"
)

// conclude turns what has become too old into failures, sends the bounces and
// records the failed.
func (t *tally) conclude(m *message) {
	if t.broken {
		return
	}
	if m.age() > m.s.QReturn {
		for _, f := range t.late {
			if f.tried {
				f.expired = true
				t.failed = append(t.failed, f)
			}
		}
	}
	t.bounce(m)
}

// bounce tells the senders what failed, one report to each reverse-path, and
// records the recipients once the report is durable. Where it can't be
// written they stay pending.
func (t *tally) bounce(m *message) {
	reports := map[string][]failure{}
	for _, f := range t.failed {
		to := m.reportsTo(f).String()
		reports[to] = append(reports[to], f)
	}
	for _, to := range slices.Sorted(maps.Keys(reports)) {
		if failed := reports[to]; !t.broken {
			t.report(m, m.reportsTo(failed[0]), failed)
		}
	}
}

// reportsTo returns who is told of a failure: whoever the reverse-path names. Of
// a loop that the header of another machine's message shows it is postmaster, who
// can mend it: anybody can write a header, our own fields too, and a report about it
// would be mail that anybody may have us send to anybody. Where all its mailboxes had
// the message it was refused at DATA, and whoever sent it tells the sender. A loop
// that the next server finds is a refusal as any other: when users of two servers
// forward to each other, nobody else could tell the sender.
func (m *message) reportsTo(f failure) smtp.Path {
	to := m.rcpt(f.key).ReversePath
	_, stranger := envelope.ClientAddr(m.env.Client)
	if !to.IsNull() && stranger && f.outcome.Err == errHeader {
		return m.postmaster()
	}
	return to
}

func (m *message) postmaster() smtp.Path {
	return smtp.Path{Local: "postmaster", Domain: m.s.Hostname}
}

// report sends one report. What has a null reverse-path is never answered:
// the postmaster is told, once, and if that fails the message is held.
func (t *tally) report(m *message, to smtp.Path, failed []failure) {
	client := bounceClient
	if to.IsNull() {
		if m.env.Client == doubleBounceClient {
			t.keep(m, failed)
			return
		}
		to, client = m.postmaster(), doubleBounceClient
	}
	id, err := m.queueReport(to, client, failed)
	if err != nil {
		t.later(m, "bounce not queued", err)
		return
	}
	m.s.Log.LogAttrs(context.Background(), slog.LevelInfo, "message queued", maillog.QueueID(id), maillog.From(smtp.Path{}),
		maillog.To(to), maillog.NRcpt(1), maillog.Reason(client+" of "+string(m.id)))
	t.bounced(m, failed)
	m.r.Arrived(id, client, smtp.Path{})
}

// bounced records that the report about these recipients is durable.
func (t *tally) bounced(m *message, failed []failure) {
	keys := make([]envelope.Key, len(failed))
	for i, f := range failed {
		keys[i] = f.key
	}
	if !t.setState(m, keys, envelope.Bounced) {
		return
	}
	for _, f := range failed {
		status := maillog.Bounced
		if f.expired {
			status = maillog.Expired
		}
		m.logRecipients([]envelope.Key{f.key}, *f.outcome, "message bounced", status, time.Time{})
	}
}

// later makes the failed recipients be tried again with the usual delay.
func (t *tally) later(m *message, msg string, err error) {
	next := m.s.Now().Add(schedule.RetryDelay(m.timely))
	t.wait(next)
	t.unreported = err
	m.warn(msg, maillog.Err(err), maillog.Next(next))
}

// keep holds a report to the postmaster that failed itself: nobody is left to
// be told, and nothing is dropped (B75).
func (t *tally) keep(m *message, failed []failure) {
	if m.morePending(len(failed)) { // others may yet get it
		t.later(m, "report to the postmaster failed for some", failed[0].outcome.Cause())
		return
	}
	reason := fmt.Sprintf("a report to the postmaster can't be delivered to <%s>: %v", addressee(m.rcpt(failed[0].key)), failed[0].outcome.Cause())
	if err := m.m.Hold(reason); err != nil {
		t.later(m, "message not held", err)
		return
	}
	t.held = true
	m.log(slog.LevelError, "message held", maillog.Reason(reason))
}

// queueReport writes a report into the spool and returns when it is durable. What
// there is no room for whole goes back with its header alone.
func (m *message) queueReport(to smtp.Path, client string, failed []failure) (spool.ID, error) {
	reader := m.reader(to, failed)
	rp := report.Report{
		Kind: report.Failed, To: m.s.router.Qualified(to), Double: client == doubleBounceClient,
		Hostname: m.s.Hostname, QueueID: string(m.id), Unique: rand.Text(),
		Arrived: m.env.Arrived, Now: m.s.Now(), Tried: m.s.QReturn,
		UTF8: m.utf8(),
		N:    len(failed), Recipient: func(i int) report.Recipient { return m.reported(failed[i], reader) },
	}
	if m.returnsWhole(to, failed) && (m.s.WholeFits == nil || m.s.WholeFits(m.m.Size())) {
		rp.Original = report.ReadWhole(func() io.Reader { return m.m.Data() })
		if id, err := m.writeReport(rp, to, client); !errors.Is(err, spool.ErrFull) {
			return id, err
		}
	}
	rp.Original = report.ReadOriginal(m.m.Data())
	return m.writeReport(rp, to, client)
}

// utf8 reports whether the message came with SMTPUTF8.
func (m *message) utf8() bool {
	_, utf8 := smtp.FindParam(m.env.Params, smtp.ParamUTF8)
	return utf8
}

// maxSentBack is how much of a message goes back to another machine, in octets.
const maxSentBack = 1 << 20

// needsTLS reports whether the message came with REQUIRETLS.
func (m *message) needsTLS() bool {
	_, needs := smtp.FindParam(m.env.Params, smtp.ParamTLS)
	return needs
}

// returnsWhole reports whether a report carries all of the message: its sender is
// of this machine and did not ask for the header alone (RET of RFC 3461), nor for TLS,
// which has that effect (RFC 8689 section 5). One that
// is large goes back to a mailbox here, and not where it was refused for its size:
// its report is still larger, and whoever is to be told would never know.
func (m *message) returnsWhole(to smtp.Path, failed []failure) bool {
	ret, _ := smtp.FindParam(m.env.Params, "RET")
	if _, ours := envelope.ClientUID(m.env.Client); !ours || smtp.EqualFold(ret, "HDRS") || m.needsTLS() {
		return false
	}
	if slices.ContainsFunc(failed, func(f failure) bool { return f.outcome.Err == errUnwanted }) {
		return false
	}
	return m.m.Size() <= maxSentBack || m.s.router.IsStatic(to.Domain) && !slices.ContainsFunc(failed, tooLarge)
}

// tooLarge reports whether a message was refused for its size (RFC 3463).
func tooLarge(f failure) bool {
	r := f.outcome.Reply
	return r.Status == "5.3.4" || r.Status == "5.2.3" || r.Code == 552 && r.Status == ""
}

func (m *message) writeReport(rp report.Report, to smtp.Path, client string) (spool.ID, error) {
	env := envelope.Envelope{Arrived: rp.Now, Client: client, Recipients: []smtp.Recipient{{Path: to}}}
	if rp.Original.EightBit || rp.EightBit() || !to.IsASCII() {
		env.Params = []smtp.Param{{Name: "BODY", Value: "8BITMIME"}}
	}
	if !to.IsASCII() { // its field To is no ASCII either
		env.Params = append(env.Params, smtp.Param{Name: smtp.ParamUTF8})
	}
	if m.needsTLS() {
		env.Params = append(env.Params, smtp.Param{Name: smtp.ParamTLS})
	}
	in, err := m.s.Queue.Create(env)
	if err != nil {
		return "", err
	}
	if err := rp.Write(in); err != nil {
		in.Abort()
		return "", err
	}
	if err := in.Commit(); err != nil {
		return "", err
	}
	return in.ID(), nil
}

// reader is who reads a report: the postmaster sees everything, a user of this
// machine what stands in their own files.
func (m *message) reader(to smtp.Path, failed []failure) route.Viewer {
	if !slices.ContainsFunc(failed, func(f failure) bool { return len(m.screen(m.rcpt(f.key))) > 0 }) {
		return route.Viewer{UID: -1} // nothing is to be hidden
	}
	v := route.Viewer{UID: -1, All: m.s.OpenView || to == m.postmaster()}
	ctx, cancel := context.WithTimeout(context.Background(), readerWait)
	defer cancel()
	if name, ok := m.s.router.Mailbox(ctx, to); ok {
		v.User, v.All = name, v.All || name == "root"
	}
	return v
}

// readerWait is how long a report waits to know whose mailbox it is for; else it
// is nobody's.
const readerWait = 10 * time.Second

// reported is a failure as the reader of a report sees it. The owner of a list is
// told of its members.
func (m *message) reported(f failure, reader route.Viewer) report.Recipient {
	rc := m.rcpt(f.key)
	orig := m.origin(rc)
	x := report.Recipient{Outcome: f.outcome, Expired: f.expired, Returned: f.outcome.Err == errReturned}
	if rc.Agent != nil {
		x.Item = rc.Target.String()
	}
	screen := slices.DeleteFunc(m.screen(rc), func(s route.Screened) bool { return m.s.router.IsOwner(rc.ReversePath, s.File) })
	if s, hidden := screen.Hides(reader); hidden {
		o := route.Hidden(*f.outcome)
		if x.Returned {
			o = *f.outcome
		}
		rc, x.Outcome, x.Item = s.For, &o, s.Behind()
	}
	x.Address, x.Sent = m.s.router.Qualified(addressee(rc)), m.s.router.Qualified(orig.Path)
	x.ORCPT, _ = smtp.FindParam(orig.Params, "ORCPT")
	return x
}
