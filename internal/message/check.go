package message

import (
	"errors"
	"fmt"
	"strings"

	"postoffice/internal/smtp"
)

// maxShown is how much of a name an error shows, in octets.
const maxShown = 80

// CheckName says why a field can't have a name (RFC 5322 section 2.2): it has octets other
// than printable ASCII, a colon among them, or 128 and more.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the field has no name")
	case len(name) >= maxName:
		return fmt.Errorf("the field's name has %d octets, want fewer than %d", len(name), maxName)
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' || name[i] == ':' {
			return fmt.Errorf("the field's name %q has a %q in it", smtp.Printable(name, maxShown), []byte{name[i]})
		}
	}
	return nil
}

// CheckValue says why what stands behind a field's colon would not be one value: each line
// end, an LF, must be one of a folded line, behind which more comes than blanks (RFC 5322
// section 3.2.2), and there is no other control character but a tab.
func CheckValue(value string) error {
	for i, line := range strings.Split(value, "\n") {
		switch {
		case strings.IndexByte(line, '\r') >= 0:
			return errors.New("the field's value has a control character in it: a CR without LF")
		case strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return errors.New("the field's value has a control character in it")
		case i == 0:
		case line == "" || line[0] != ' ' && line[0] != '\t':
			return errors.New("the field's value has a line end without a blank behind it")
		case strings.Trim(line, " \t") == "":
			return errors.New("the field's value has a line of blanks alone")
		}
	}
	return nil
}
