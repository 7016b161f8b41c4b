package smtp

import (
	"errors"
	"strings"
)

// A Param is one parameter of MAIL or RCPT (RFC 5321 section 4.1.2).
type Param struct {
	Name  string // upper case
	Value string // as given; "" if there is no "="
}

// KeywordUser stands before the caller's account, "uid-N" for one without, in
// the reply to EHLO that a program of this machine gets.
const KeywordUser = "XUSER"

// VerbNoRelay is a command with which a program of this machine gives up the right
// to send to others, for one session: sendmail -bs gives it where option relay is
// off.
const VerbNoRelay = "XNORELAY"

// ParamReport is a parameter of MAIL that programs of this machine alone may
// give, and without a value, where the reply to EHLO has it too. Recipients that
// are refused for good beside others that are not go into the queue then, so
// that a report tells the sender of them; the replies stay what they are.
const ParamReport = "XREPORT"

// Reported says whether a recipient who got this reply is in the queue all the
// same, where MAIL had ParamReport and another recipient is good: all that are
// refused for good, but for a command that can't be understood, and where it is
// the session that may not send there.
func Reported(r Reply) bool {
	switch r.Status {
	case "5.1.3", "5.5.4", "5.6.7", "5.7.1":
		return false
	}
	return r.Permanent()
}

// ParamUTF8 is the parameter of MAIL, and the keyword of EHLO's reply, for addresses and
// headers outside ASCII (RFC 6531).
const ParamUTF8 = "SMTPUTF8"

// ParamTLS is the parameter of MAIL, and the keyword of EHLO's reply, for mail that goes over
// TLS alone, up to its recipients (RFC 8689).
const ParamTLS = "REQUIRETLS"

// ParamQueue is a parameter of MAIL that programs of this machine alone may
// give, and without a value: it asks that the message waits for the next run of the queue.
const ParamQueue = "XQUEUE"

var (
	errParam  = errors.New("bad parameter")
	errRepeat = errors.New("parameter given twice")
)

// String returns the parameter as it stands in a command.
func (p Param) String() string {
	if p.Value == "" {
		return p.Name
	}
	return p.Name + "=" + p.Value
}

// ParseParams reads the text that ParsePath left. A name twice, "NAME=" and
// octets outside printable ASCII are errors; a further "=" is part of the
// value, since senders forget to encode it.
func ParseParams(s string) ([]Param, error) {
	var params []Param
	for word := range strings.SplitSeq(s, " ") {
		if word == "" {
			continue
		}
		name, value, given := strings.Cut(word, "=")
		if !isKeyword(name) || given && value == "" || !isPrintable(value) {
			return nil, errParam
		}
		name = strings.ToUpper(name)
		if _, ok := FindParam(params, name); ok {
			return nil, errRepeat
		}
		params = append(params, Param{name, value})
	}
	return params, nil
}

// FindParam returns the value of the parameter with this upper-case name.
func FindParam(params []Param, name string) (value string, ok bool) {
	for _, p := range params {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// isKeyword reports whether s is an esmtp-keyword.
func isKeyword(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && (s[i] != '-' || i == 0) {
			return false
		}
	}
	return s != ""
}

// isPrintable reports whether s holds only octets 0x20 to 0x7e.
func isPrintable(s string) bool {
	for i := range len(s) {
		if !IsPrintable(s[i]) {
			return false
		}
	}
	return true
}
