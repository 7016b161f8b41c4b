package applets

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"postoffice/internal/smtp"
	"postoffice/internal/sysexits"
)

// maxHeader bounds the header that sendmail -t and -F hold in memory, in octets.
const maxHeader = 1 << 20

// header is the header of a message that sendmail was given: its fields in
// their order, each with its folded lines and its last line end.
type header []string

// readHeader takes the header from the front of r. What it leaves there is the
// empty line and the body, or a first line that is no header field.
func readHeader(r *bufio.Reader) (header, error) {
	var h header
	total := 0
	for {
		first, err := r.Peek(1)
		if errors.Is(err, io.EOF) {
			return h, nil
		}
		if err != nil {
			return nil, err
		}
		folded := first[0] == ' ' || first[0] == '\t'
		if first[0] == '\n' || folded && len(h) == 0 || !folded && !startsField(r) {
			return h, nil
		}
		line, err := headerLine(r, maxHeader-total)
		if err != nil {
			return nil, err
		}
		total += len(line)
		if folded {
			h[len(h)-1] += line
		} else {
			h = append(h, line)
		}
	}
}

// headerLine reads one line of at most limit octets.
func headerLine(r *bufio.Reader, limit int) (string, error) {
	var line []byte
	for {
		piece, err := r.ReadSlice('\n')
		line = append(line, piece...)
		if len(line) > limit {
			return "", exitWith(sysexits.DataErr, fmt.Errorf("the message's header is longer than %d octets", maxHeader),
				"is an empty line missing between header and body?")
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return string(line), err
		}
	}
}

// startsField says whether the next line begins as a header field does: a name
// of printable octets, then a colon (RFC 5322 section 2.2; blanks before the
// colon as section 4.5 has them).
func startsField(r *bufio.Reader) bool {
	b, _ := r.Peek(256)
	for i, c := range b {
		switch {
		case c == ':':
			return i > 0
		case c == ' ' || c == '\t':
			return i > 0 && bytes.HasPrefix(bytes.TrimLeft(b[i:], " \t"), []byte(":"))
		case c <= ' ' || c >= 0x7f:
			return false
		}
	}
	return false
}

// name is the field's name in lower case.
func name(field string) string {
	n, _, _ := strings.Cut(field, ":")
	return strings.ToLower(strings.TrimRight(n, " \t"))
}

// without is the header less the fields with these names, in lower case.
func (h header) without(names ...string) header {
	var rest header
	for _, field := range h {
		if !slices.Contains(names, name(field)) {
			rest = append(rest, field)
		}
	}
	return rest
}

// has says whether there is a field with this name.
func (h header) has(want string) bool {
	for _, field := range h {
		if name(field) == want {
			return true
		}
	}
	return false
}

// recipients are the addresses of To, Cc and Bcc; where the message is sent
// again (Resent- fields, RFC 5322 section 3.6.6) those of the Resent- fields
// alone.
func (h header) recipients() []smtp.Path {
	fields := []string{"to", "cc", "bcc"}
	if h.has("resent-to") || h.has("resent-cc") || h.has("resent-bcc") {
		fields = []string{"resent-to", "resent-cc", "resent-bcc"}
	}
	var to []smtp.Path
	for _, field := range h {
		if !slices.Contains(fields, name(field)) {
			continue
		}
		_, body, _ := strings.Cut(field, ":")
		for _, m := range smtp.Mailboxes(body) {
			if !slices.Contains(to, m.Path) {
				to = append(to, m.Path)
			}
		}
	}
	return to
}

// String is the header as text.
func (h header) String() string { return strings.Join(h, "") }
