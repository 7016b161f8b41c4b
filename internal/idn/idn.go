//go:build !lite

package idn

import (
	"errors"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// AsLogin returns the name of an account in the form in which logins compare it: different
// ways to write the same letters are one (RFC 4013 section 2.2), whether or not the
// client's program has made them so.
func AsLogin(name string) string { return norm.NFKC.String(name) }

// ToASCII returns a domain outside ASCII with A-labels (RFC 5891), as it is
// looked up: case and forms of the same letter are one. The error is for what
// can't be a domain.
func ToASCII(domain string) (string, error) {
	if !utf8.ValidString(domain) {
		return "", errors.New("a domain that is not UTF-8")
	}
	return idna.Lookup.ToASCII(domain)
}
