package applets

import (
	"context"
	"strings"

	"postoffice/internal/control"
	"postoffice/spool"
)

// queueFlags are what the flags -q of sendmail ask for: to run the queue now,
// or every so often, or, with -qR, -qS and -qI, some messages of it now.
type queueFlags struct {
	every string // a time; "" is now
	parts []queuePart
}

// queuePart is a part of a recipient (R), of the sender (S) or of the queue ID
// (I) that messages have, or don't have with not. Of Q, a reason of quarantine,
// nobody has one.
type queuePart struct {
	letter byte
	not    bool
	text   string // in small letters
}

// queueNow is the value of -q without one.
const queueNow = "now"

func readQueueFlags(values []string) queueFlags {
	var f queueFlags
	for _, v := range values {
		bare, not := strings.CutPrefix(v, "!")
		switch {
		case v == queueNow || v == "0" || bare == "" || strings.Contains("fFGLl", bare[:1]): // how, and a group of queues
		case strings.Contains("RSIQ", bare[:1]):
			f.parts = append(f.parts, queuePart{bare[0], not, strings.ToLower(bare[1:])})
		default:
			f.every = strings.TrimPrefix(v, "p")
		}
	}
	return f
}

// fits says whether a message is to be tried. Of several parts with one letter
// one is enough, as with sendmail 8.
func (f queueFlags) fits(m control.Message) bool {
	if m.State != control.Active && m.State != control.Deferred {
		return false
	}
	asked, found := "", ""
	for _, p := range f.parts {
		asked += string(p.letter)
		if p.fits(m) {
			found += string(p.letter)
		}
	}
	return strings.Trim(asked, found) == ""
}

func (p queuePart) fits(m control.Message) bool {
	var texts []string
	switch p.letter {
	case 'I':
		texts = []string{m.ID}
	case 'S':
		texts = []string{m.Sender}
	case 'R':
		for _, r := range m.Recipients {
			if r.State == spool.Pending.String() {
				texts = append(texts, r.Address)
			}
		}
	}
	found := false
	for _, text := range texts {
		found = found || strings.Contains(strings.ToLower(text), p.text)
	}
	return found != p.not
}

// runSome is "queue retry" for the messages that fit, as silent as -q.
func runSome(ctx context.Context, env *Env, f queueFlags) error {
	return someOf(env, f).begin(ctx)
}

func someOf(env *Env, f queueFlags) *queueRun {
	q := &queueRun{env: env, filter: queueFilter{also: f.fits}, quiet: true}
	for _, v := range queueVerbs() {
		if v.name == control.Retry {
			q.verb = v
		}
	}
	return q
}
