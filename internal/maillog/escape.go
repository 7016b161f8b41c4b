package maillog

import "strings"

// hex digits, as in \x1b.
const hex = "0123456789abcdef"

// dots end a value that was cut.
const dots = "..."

// appendEscaped appends s with every octet outside printable ASCII, and the
// backslash, as \xNN, so that s can be told from what was escaped. More than
// most octets are cut, never within an escape.
func appendEscaped(b []byte, s string, most int) []byte {
	start := len(b)
	fit := start // the last place where the dots would still fit
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '\\' {
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

// appendValue is appendEscaped for a value of a text line: in quotes where it
// is empty or holds a blank or a quote.
func appendValue(b []byte, s string, most int) []byte {
	if s != "" && !strings.ContainsAny(s, ` "`) {
		return appendEscaped(b, s, most)
	}
	return appendString(b, s, most)
}

// appendString is appendEscaped in quotes, which for JSON is a whole string:
// a backslash of the escape is doubled there, a quote gets one.
func appendString(b []byte, s string, most int) []byte {
	start := len(b)
	b = append(b, '"')
	b = appendEscaped(b, s, most)
	extra := 0
	for _, c := range b[start+1:] {
		if c == '"' || c == '\\' {
			extra++
		}
	}
	if extra == 0 {
		return append(b, '"')
	}
	inner := string(b[start+1:])
	b = b[:start+1]
	for i := range len(inner) {
		if c := inner[i]; c == '"' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, inner[i])
	}
	return append(b, '"')
}
