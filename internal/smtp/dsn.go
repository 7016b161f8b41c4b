package smtp

import (
	"errors"
	"strconv"
	"strings"
)

// What a value may have at most, in octets (RFC 3461 sections 4.2 and 4.4).
const (
	maxORCPT = 500 // octets of ORCPT
	maxENVID = 100 // octets of ENVID
)

var (
	errRET    = errors.New("RET is FULL or HDRS")
	errENVID  = errors.New("ENVID is xtext of at most 100 octets")
	errNOTIFY = errors.New("NOTIFY is NEVER, or SUCCESS, FAILURE and DELAY with commas between them")
	errORCPT  = errors.New("ORCPT is a type, a semicolon and xtext, together at most 500 octets")
	errNoDSN  = errors.New("no parameter of RFC 3461")
)

// CheckDSN says what is wrong with one of the parameters of RFC 3461: RET and
// ENVID of MAIL, NOTIFY and ORCPT of RCPT. What ENVID and ORCPT stand for is
// printable ASCII, as sections 4.2 and 4.4 want it, so that decoding them can
// never begin a line of a report (A22).
func CheckDSN(p Param) error {
	switch p.Name {
	case "RET":
		if !EqualFold(p.Value, "FULL") && !EqualFold(p.Value, "HDRS") {
			return errRET
		}
	case "ENVID":
		if len(p.Value) > maxENVID || !IsXtext(p.Value) {
			return errENVID
		}
	case "NOTIFY":
		if !isNotify(p.Value) {
			return errNOTIFY
		}
	case "ORCPT":
		kind, text, _ := strings.Cut(p.Value, ";")
		if len(p.Value) > maxORCPT || !isAtom(kind) || !IsXtext(text) {
			return errORCPT
		}
	default:
		return errNoDSN
	}
	return nil
}

// isNotify reports whether s is NEVER, or a list of the three events with none
// of them twice.
func isNotify(s string) bool {
	if EqualFold(s, "NEVER") {
		return true
	}
	events := []string{"SUCCESS", "FAILURE", "DELAY"}
	for word := range strings.SplitSeq(s, ",") {
		found := false
		for i, e := range events {
			if e != "" && EqualFold(word, e) {
				events[i], found = "", true
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// isAtom reports whether s is an atom (RFC 5322 section 3.2.3).
func isAtom(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

// IsXtext reports whether s is xtext (RFC 3461 section 4) for at least one
// octet, and for printable ASCII alone.
func IsXtext(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c <= ' ' || c > '~' || c == '=':
			return false
		case c == '+':
			if len(s)-i < 3 || hexDigit(s[i+1]) < 2 || hexDigit(s[i+1]) > 7 || hexDigit(s[i+2]) < 0 || s[i+1:i+3] == "7F" {
				return false
			}
			i += 2
		}
	}
	return s != ""
}

// hexDigit is the value of an upper-case hexadecimal digit, -1 for all else.
func hexDigit(c byte) int { return strings.IndexByte("0123456789ABCDEF", c) }

// ENVID makes the parameter of text, which is xtext already or, as from people
// who know nothing of it, printable ASCII that needs to be encoded.
func ENVID(text string) (Param, error) {
	if !IsXtext(text) {
		text = encodeXtext(text)
	}
	p := Param{Name: "ENVID", Value: text}
	return p, CheckDSN(p)
}

// encodeXtext encodes s; octets that may not be in it stay bad.
func encodeXtext(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '+' || c == '=' {
			b.Write([]byte{'+', digits[c>>4], digits[c&15]})
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// DecodeXtext decodes the xtext of RFC 3461 section 4. What is none stays as it is.
func DecodeXtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '+' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
