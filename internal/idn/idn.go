//go:build !lite

package idn

import (
	"errors"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// ToASCII returns a domain outside ASCII with A-labels (RFC 5891), as it is
// looked up: case and forms of the same letter are one. The error is for what
// can't be a domain.
func ToASCII(domain string) (string, error) {
	if !utf8.ValidString(domain) {
		return "", errors.New("a domain that is not UTF-8")
	}
	return idna.Lookup.ToASCII(domain)
}
