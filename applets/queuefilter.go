package applets

import (
	"path"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"postoffice/internal/control"
	"postoffice/spool"
)

// queueFilter chooses messages. All that is given must fit; what is about a
// recipient must fit one recipient who is pending.
type queueFilter struct {
	to, from, host, reason, older string
	before                        time.Time                  // from older
	also                          func(control.Message) bool // nil: nothing else
}

func (f *queueFilter) flags(set *pflag.FlagSet) {
	set.StringVar(&f.to, "to", "", "messages to a recipient like `GLOB` who is pending")
	set.StringVar(&f.from, "from", "", "messages from a sender like `GLOB`; <> is the null sender")
	set.StringVar(&f.host, "host", "", "messages to a domain like `GLOB`, or tried last with such a host or address")
	set.StringVar(&f.older, "older", "", "messages that arrived longer than `TIME` ago: 90m, 2h, 3d")
	set.StringVar(&f.reason, "reason", "", "messages deferred or held for a reason like `GLOB`; with hold: the `reason` to be kept")
}

// check reads the times and patterns; now is the present.
func (f *queueFilter) check(now time.Time) error {
	for flag, glob := range map[string]string{"to": f.to, "from": f.from, "host": f.host, "reason": f.reason} {
		if _, err := path.Match(glob, ""); err != nil {
			return usageErrorf("--%s: %q is no pattern: a [ without its ]?", flag, glob)
		}
	}
	if f.older == "" {
		return nil
	}
	span, ok := spanOf(f.older)
	if !ok {
		return usageErrorf("--older %s: want a time such as 90m, 2h or 3d", f.older)
	}
	f.before = now.Add(-span)
	return nil
}

// empty says that every message fits.
func (f *queueFilter) empty() bool {
	return f.to == "" && f.from == "" && f.host == "" && f.reason == "" && f.older == "" && f.also == nil
}

// fits says whether a message is chosen. Of a damaged one only the reason is
// known.
func (f *queueFilter) fits(m control.Message) bool {
	if m.State == control.Dropped {
		return f.empty() // it is no message of the queue yet
	}
	if f.also != nil && !f.also(m) {
		return false
	}
	if m.State == control.Corrupt {
		return f.to == "" && f.from == "" && f.host == "" && f.older == "" && like(f.reason, m.Reason)
	}
	if f.older != "" && !m.Arrived.Before(f.before) {
		return false
	}
	if m.Sender == "" && f.from != "" && f.from != "<>" || m.Sender != "" && !like(f.from, m.Sender) {
		return false
	}
	if f.to == "" && f.host == "" && f.reason == "" {
		return true
	}
	for _, r := range m.Recipients {
		if r.State == spool.Pending.String() && f.fitsRecipient(m, r) {
			return true
		}
	}
	return false
}

func (f *queueFilter) fitsRecipient(m control.Message, r control.Recipient) bool {
	if !like(f.to, r.Address) {
		return false
	}
	_, domain, _ := strings.Cut(r.Address[max(0, strings.LastIndexByte(r.Address, '@')):], "@")
	if !like(f.host, domain) && (r.Relay == "" || !f.fitsRelay(r.Relay)) {
		return false
	}
	return like(f.reason, r.Reply) || m.Reason != "" && like(f.reason, m.Reason)
}

// fitsRelay looks at name and address of "name[address]:port".
func (f *queueFilter) fitsRelay(relay string) bool {
	name, rest, _ := strings.Cut(relay, "[")
	address, _, _ := strings.Cut(rest, "]")
	return name != "" && like(f.host, name) || address != "" && like(f.host, address)
}

// like compares as the shell does, without regard to case; * also takes a
// slash. An empty pattern is none.
func like(glob, text string) bool {
	if glob == "" {
		return true
	}
	plain := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "/", "\x01") }
	ok, err := path.Match(plain(glob), plain(text))
	return err == nil && ok
}
