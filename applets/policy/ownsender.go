package policy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"postoffice/applets/smtpd"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/internal/watched"
)

const (
	maxSenders    = 4 << 20 // octets of the file of option sender-logins
	missedSenders = "until it can be read, an account sends as what is its own without the file, and is asked to come again with anything else"
)

// senderLogins is that file: which accounts may send as an address, or as all of a
// domain.
type senderLogins struct {
	watched.File[map[string][]string]
}

// follow returns the file that options name, with what is known of it.
func (l *senderLogins) follow(o Options) *senderLogins {
	if l != nil && l.Path == o.SenderLogins {
		return l
	}
	return &senderLogins{watched.File[map[string][]string]{Path: o.SenderLogins, Most: maxSenders, Missed: missedSenders, Must: true}}
}

// names says whether the file has a line for the account and the address. known is false
// where that can't be read, and never was.
func (l *senderLogins) names(log *slog.Logger, account string, from smtp.Path) (named, known bool) {
	if l.Path == "" {
		return false, true
	}
	all, known := l.Get(func(text string) map[string][]string {
		all, problems := parseSenders(text)
		for _, p := range problems {
			log.LogAttrs(context.Background(), slog.LevelWarn, "sender-logins not understood", maillog.File(fmt.Sprintf("%s:%d", l.Path, p.line)), maillog.Err(p.err))
		}
		return all
	}, func(err error, advice string) {
		log.LogAttrs(context.Background(), slog.LevelError, "sender-logins unreadable", maillog.File(l.Path), maillog.Err(err), maillog.Reason(advice))
	})
	return mayUse(all, account, from), known
}

// mayUse says whether lines of the file name an account for an address.
func mayUse(all map[string][]string, account string, from smtp.Path) bool {
	account = accountKey(account)
	return slices.Contains(all[smtp.Fold(from.String())], account) || slices.Contains(all["@"+smtp.DomainKey(from.Domain)], account)
}

// accountKey is an account's name in the form in which two are compared: the domain of one
// that has any is as mail has it, whichever way a person or a program writes it.
func accountKey(name string) string {
	if p, err := smtp.ParseWritten(name); err == nil && p.Domain != "" {
		name = p.String()
	}
	return smtp.Fold(name)
}

// senderProblem is a line of the file that is wrong.
type senderProblem struct {
	line int
	err  error
}

// parseSenders reads lines of an address or @domain, and behind it the accounts that may
// send so. A line that is wrong lets nobody send.
func parseSenders(text string) (all map[string][]string, problems []senderProblem) {
	all = map[string][]string{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t,\r\n", r) })
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		key, err := senderKey(words[0])
		if err == nil && len(words) == 1 {
			err = fmt.Errorf("no account stands behind %q", words[0])
		}
		if err != nil {
			problems = append(problems, senderProblem{n, err})
			continue
		}
		for _, account := range words[1:] {
			all[key] = append(all[key], accountKey(account))
		}
	}
	return all, problems
}

// senderKey reads an address, or @ and a domain, in the form in which senders are looked up.
func senderKey(word string) (string, error) {
	if domain, ok := strings.CutPrefix(word, "@"); ok {
		if a, ok := smtp.ParseLiteral(domain); ok {
			return "@" + smtp.FormatLiteral(a), nil
		}
		host, ok := smtp.CheckHost(domain)
		if !ok {
			return "", fmt.Errorf("%q is no @domain", word)
		}
		return "@" + smtp.Fold(host), nil
	}
	p, err := smtp.ParseWritten(word)
	if err == nil && p.Domain == "" {
		err = fmt.Errorf("%q has no domain", word)
	}
	return smtp.Fold(p.String()), err
}

// CheckSenders tells of the lines of a file of option sender-logins that can't be
// understood, with their numbers. The error says why it can't be read, what that means and
// what to do.
func CheckSenders(path string, tell func(line int, what string)) error {
	text, err := watched.Check(path, maxSenders, missedSenders, true)
	if err != nil {
		return err
	}
	_, problems := parseSenders(text)
	for _, p := range problems {
		tell(p.line, p.err.Error())
	}
	return nil
}

// senderIsOwn keeps an account to its own addresses (RFC 6409 section 6.1): who has stolen
// one password should not write in everybody's name. The null sender is nobody's.
func (s *session) senderIsOwn(ctx context.Context, a asked) smtpd.Verdict {
	account := s.client.Account
	if account == "" || a.path.IsNull() {
		return smtpd.Verdict{}
	}
	named, known := s.p.senders.names(s.o.Log, account, a.path)
	if named {
		return smtpd.Verdict{}
	}
	own, err := s.o.OwnSender(ctx, account, a.path)
	if err == nil && !own && !known {
		err = errors.New("the file of option sender-logins can't be read")
	}
	switch {
	case err != nil:
		s.o.Log.LogAttrs(ctx, slog.LevelWarn, "sender not known now", maillog.From(a.path), maillog.User(account), maillog.Err(err))
		return smtpd.Refusal(smtp.Reply{Code: 451, Status: "4.7.1", Text: "it is not known now whether that address is yours, try again later"}) // aliases can't be read
	case own:
		return smtpd.Verdict{}
	}
	return smtpd.Refusal(smtp.Reply{Code: 553, Status: "5.7.1", Text: fmt.Sprintf("%s is no address of %s: send as one of your own, or have postmaster allow it", smtp.Printable(a.path.String(), 255), smtp.Printable(account, 255))}) // an account that sends as somebody else; option sender-logins
}
