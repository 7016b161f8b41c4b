package alias

import (
	"strings"

	"postoffice/internal/smtp"
)

// A Kind says what a target is.
type Kind int

const (
	Address Kind = iota // an address, or a name of this machine
	Mailbox             // \user: the account's own mailbox, no further alias
	Program             // "|command": a program that reads the message
	File                // /path: a file that is appended to
	Include             // :include:/path: a file that lists targets
)

var kindWords = [...]string{"an address", "a mailbox", "a program", "a file", "a list in a file"}

// String returns the kind with its article: "a program".
func (k Kind) String() string { return kindWords[k] }

// A Target is one item of an alias's value.
type Target struct {
	Kind Kind
	Path smtp.Path // Address; Mailbox: Local alone
	Text string    // Program: the command; File, Include: the path
}

// String returns t as it may stand in an alias file.
func (t Target) String() string {
	switch t.Kind {
	case Mailbox:
		if quoteWord(t.Path.Local) != t.Path.Local {
			return quote(`\` + t.Path.Local)
		}
		return `\` + t.Path.Local
	case Program:
		return quote("|" + t.Text)
	case File:
		return quoteText(t.Text)
	case Include:
		return ":include:" + quoteText(t.Text)
	}
	s := t.Path.String()
	if strings.HasPrefix(s, "#") || t.Path.Domain != "" && looksSpecial(t.Path.Local) {
		s = quote(t.Path.Local) // at the start of a line "#" would make it a comment
		if t.Path.Domain != "" {
			s += "@" + t.Path.Domain
		}
	}
	return s
}

// quoteWord quotes a name that could be read as something else.
func quoteWord(s string) string {
	if s == "" || strings.ContainsAny(s, " \t,\"\\:#()<>|/") {
		return quote(s)
	}
	return s
}

// quoteText quotes a path that holds what ends or changes an item.
func quoteText(s string) string {
	if s == "" || strings.ContainsAny(s, " \t,\"\\()<>") {
		return quote(s)
	}
	return s
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
