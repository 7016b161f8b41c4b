package cmdline

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Printed returns a text of somebody else's, as of a server, fit for one line of a
// terminal: ? stands for what is no character to be seen, such as control
// characters of 7 and 8 bits and what turns the direction of a line round.
func Printed(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// PrintJSON writes v as a line of JSON, in which what Printed replaces is escaped.
func PrintJSON(w io.Writer, v any) error {
	b, err := JSON(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// JSON is v as PrintJSON writes it, without the line's end.
func JSON(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	return Escaped(b), err
}

// Escaped escapes in a text of JSON what a terminal does not show: json leaves all
// above ASCII as it is, and there it stands in strings alone.
func Escaped(text []byte) []byte {
	var b []byte // nil: nothing was escaped yet
	for at := 0; at < len(text); {
		r, n := utf8.DecodeRune(text[at:])
		seen := unicode.IsPrint(r) || r < ' '
		if !seen && b == nil {
			b = append(b, text[:at]...)
		}
		switch {
		case !seen && r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		case !seen:
			b = fmt.Appendf(b, `\u%04x`, r)
		case b != nil:
			b = append(b, text[at:at+n]...)
		}
		at += n
	}
	if b == nil {
		return text
	}
	return b
}
