package judging

import (
	"errors"
	"io"
	"log/slog"

	"postoffice/applets/smtpd/edits"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// A Verdict is what becomes of a message. The zero Verdict lets it pass.
type Verdict struct {
	Refuse  smtp.Reply                  // it goes back to its sender with this; the zero Reply: it doesn't
	Refused map[envelope.Key]smtp.Reply // recipients for whom it goes back in any case, each with a reply of its own
	Nobody  bool                        // Refused has all recipients
	Discard string                      // why it is thrown away; "": it isn't
	Hold    string                      // why it is held; "": it isn't
	Edits   *edits.Edits                // nil: none
	Mark    string                      // the reason in a field X-Spam; "": no such field
	Folder  string                      // where local recipients' copies go, see local.Delivery
	Done    func()                      // called when nothing of it is needed any more; nil: nobody waits for that
}

// reply is with what the message goes back for a recipient; the zero Reply: it doesn't.
func (v Verdict) reply(k envelope.Key) smtp.Reply {
	if r, ok := v.Refused[k]; ok {
		return r
	}
	return v.Refuse
}

// apply does what v says with a message, and closes it. passed says that it is in the queue
// now.
func (w *Waiting) apply(m *spool.Message, v Verdict) (passed bool, err error) {
	defer m.Close()
	if !v.Refuse.IsZero() || len(v.Refused) > 0 {
		if left, err := w.o.Refuse(m, v.reply); err != nil || !left {
			return false, err
		}
	}
	if v.Discard != "" {
		return false, w.discard(m, v.Discard)
	}
	switch err := edit(m, v); {
	case errors.Is(err, errNobody):
		return false, w.discard(m, err.Error())
	case err != nil:
		return false, err
	}
	if v.Mark != "" {
		w.log(slog.LevelInfo, "message marked", m.ID(), maillog.Reason(v.Mark))
	}
	if v.Hold != "" {
		if err := m.Hold(v.Hold); err != nil {
			return false, err
		}
		w.log(slog.LevelWarn, "message held", m.ID(), maillog.Reason(v.Hold))
		return false, nil
	}
	return true, m.Pass()
}

// discard throws a message away.
func (w *Waiting) discard(m *spool.Message, why string) error {
	var keys []envelope.Key
	for r := range m.Pending() {
		keys = append(keys, r.Key)
	}
	if err := errors.Join(m.Record(keys, envelope.Cancelled), m.Finish()); err != nil {
		return err
	}
	w.log(slog.LevelInfo, "message discarded", m.ID(), maillog.NRcpt(len(keys)), maillog.Reason(why))
	return nil
}

// edit makes a message what v says, and notes that it was judged.
func edit(m *spool.Message, v Verdict) error {
	e := v.Edits
	if e == nil {
		e = &edits.Edits{}
	}
	if v.Mark != "" {
		if err := e.Spam(v.Mark); err != nil {
			return err
		}
	}
	env := m.Envelope()
	if !e.Any() && (v.Folder == "" || v.Folder == env.Folder) {
		_ = m.Judged() // a hint
		return nil
	}
	if v.Folder != "" {
		env.Folder = v.Folder
	}
	if to := e.Sender; to != nil {
		env.ReversePath, env.Params = to.Path, to.Merge(env.Params)
	}
	env.Recipients = nil
	for r := range m.Pending() {
		env.Recipients = append(env.Recipients, r.Original())
	}
	if env.Recipients = e.Recipients(env.Recipients); len(env.Recipients) == 0 {
		return errNobody
	}
	return m.Rewrite(env, func(to io.Writer) error {
		_, err := io.Copy(to, e.Reader(m.Data(), m.Size()))
		return err
	})
}

// errNobody is an edit that leaves no recipient.
var errNobody = errors.New("a filter took all recipients away")
