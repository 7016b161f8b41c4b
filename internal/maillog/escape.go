package maillog

import (
	"bytes"
	"slices"
	"strings"
)

// hex digits, as in \x1b.
const hex = "0123456789abcdef"

// dots end a value that was cut.
const dots = "..."

// appendEscaped appends s with every octet outside printable ASCII, and the
// backslash, as \xNN, so that s can be told from what was escaped. More than
// most octets are cut, never within an escape.
func appendEscaped(b []byte, s string, most int) []byte {
	if len(s) <= most && isPlain(s) {
		return append(b, s...)
	}
	start := len(b)
	fit := start // the last place where the dots would still fit
	for i := range len(s) {
		if c := s[i]; !plain(c) {
			b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
		if len(b)-start > most {
			return append(b[:fit], dots...)
		}
		if len(b)-start <= most-len(dots) {
			fit = len(b)
		}
	}
	return b
}

// plain reports whether an octet stands for itself.
func plain(c byte) bool { return ' ' <= c && c <= '~' && c != '\\' }

func isPlain(s string) bool {
	for i := range len(s) {
		if !plain(s[i]) {
			return false
		}
	}
	return true
}

// appendValue is appendEscaped for a value of a text line: in quotes where it
// is empty or holds a blank or a quote. A quote within has a backslash in front;
// the backslash of an escape is the only other one, so it has none.
func appendValue(b []byte, s string, most int) []byte {
	if s != "" && strings.IndexByte(s, ' ') < 0 && strings.IndexByte(s, '"') < 0 {
		return appendEscaped(b, s, most)
	}
	return appendQuoted(b, s, most, `"`)
}

// appendString is appendEscaped as a JSON string, for which the backslash of an
// escape is doubled.
func appendString(b []byte, s string, most int) []byte { return appendQuoted(b, s, most, `"\\`) }

// appendQuoted is appendEscaped in quotes, with a backslash in front of each of
// these octets.
func appendQuoted(b []byte, s string, most int, octets string) []byte {
	b = append(b, '"')
	start := len(b)
	b = appendEscaped(b, s, most)
	if slices.ContainsFunc([]byte(octets), func(c byte) bool { return bytes.IndexByte(b[start:], c) >= 0 }) {
		inner := string(b[start:])
		b = b[:start]
		for i := range len(inner) {
			if strings.IndexByte(octets, inner[i]) >= 0 {
				b = append(b, '\\')
			}
			b = append(b, inner[i])
		}
	}
	return append(b, '"')
}
