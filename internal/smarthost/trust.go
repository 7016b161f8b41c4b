package smarthost

import (
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"

	"postoffice/internal/smtp"
)

// A Trust says which smarthost is the right one. The zero Trust: one with a certificate
// for its name from an authority of the system's.
type Trust struct {
	CAFile      string   // PEM: these authorities, and no others
	Fingerprint [32]byte // SHA-256 of the certificate itself, whatever its name and dates
	None        bool     // a login may go in clear
}

const (
	trustNone   = "none"
	fingerprint = "fingerprint:"
	sha256Word  = "SHA256"
)

// ParseTrust reads option relay-tls: "", none, a file, or fingerprint:SHA256:hex, with
// or without colons between the octets.
func ParseTrust(text string) (Trust, error) {
	switch {
	case text == "":
		return Trust{}, nil
	case smtp.EqualFold(text, trustNone):
		return Trust{None: true}, nil
	case filepath.IsAbs(text):
		return Trust{CAFile: filepath.Clean(text)}, nil
	}
	n := min(len(text), len(fingerprint))
	digits := text[n:]
	if !smtp.EqualFold(text[:n], fingerprint) {
		return Trust{}, errors.New("want fingerprint:SHA256:DIGITS of a certificate, the absolute path of a file with authorities, or none")
	}
	if n := len(sha256Word); len(digits) > n && smtp.EqualFold(digits[:n], sha256Word) {
		digits = strings.TrimLeft(digits[n:], ":=")
	}
	b, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
	var t Trust
	if err != nil || len(b) != len(t.Fingerprint) {
		return Trust{}, errors.New("want 64 hexadecimal digits behind fingerprint:SHA256:, as openssl x509 -noout -fingerprint -sha256 prints them")
	}
	copy(t.Fingerprint[:], b)
	return t, nil
}

// Demands reports whether TLS is demanded of every smarthost.
func (t Trust) Demands() bool { return t.CAFile != "" || t.HasFingerprint() }

// HasFingerprint reports whether one certificate alone is right.
func (t Trust) HasFingerprint() bool { return t.Fingerprint != [32]byte{} }

// String returns the text in its plainest form.
func (t Trust) String() string {
	switch {
	case t.None:
		return trustNone
	case t.HasFingerprint():
		return fingerprint + sha256Word + ":" + hex.EncodeToString(t.Fingerprint[:])
	}
	return t.CAFile
}
