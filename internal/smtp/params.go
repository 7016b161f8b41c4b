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
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
