package message

import (
	"bytes"

	"postoffice/internal/smtp"
)

// maxName bounds a field's name with the blanks behind it, in octets. RFC 5322
// section 2.1.1 would allow 997; what is longer than this is no header line.
const maxName = 128

// A Field is a header field as it stands in a message.
type Field struct {
	// Text is its name, colon, value, folded lines and last line end, up to
	// the limit that was asked for. It is overwritten when the next one comes.
	Text []byte
	// Cut says that the field is longer than Text.
	Cut bool

	name int // octets of its name
}

// Name is the field's name as it is spelt, without blanks before the colon.
func (f Field) Name() []byte { return f.Text[:min(f.name, len(f.Text))] }

// Is says whether the field has this name, in whatever case.
func (f Field) Is(name string) bool {
	return len(name) == f.name && smtp.EqualFold(name, string(f.Name()))
}

// Value is what stands behind the colon, without the blanks and line ends at
// both of its ends. Folded lines are in it as they are.
func (f Field) Value() []byte {
	_, value, _ := bytes.Cut(f.Text, []byte(":"))
	return bytes.Trim(value, " \t\n")
}

// StartsField says whether a line that begins with b is the first of a header
// field. With 128 octets, or the whole line, no more of it is needed.
func StartsField(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	kind, _ := classify(b)
	return kind == newField
}

// same says whether two names of fields are one.
func same[T string | []byte](a string, b T) bool {
	return len(a) == len(b) && smtp.EqualFold(a, string(b))
}

// lineKind is what the start of a line says of it.
type lineKind uint8

const (
	unknown  lineKind = iota // more of it is needed
	blank                    // the header's end
	folded                   // it continues the field before
	newField                 // name, perhaps blanks, colon
	other                    // no header line
)

// classify returns the kind of the line that begins with b, not empty, and the
// name of a new field. With maxName octets the kind is never unknown.
func classify(b []byte) (k lineKind, name []byte) {
	switch b[0] {
	case '\n':
		return blank, nil
	case ' ', '\t':
		return folded, nil
	}
	n, i := min(len(b), maxName), 0
	for i < n && b[i] > ' ' && b[i] <= '~' && b[i] != ':' {
		i++
	}
	name = b[:i]
	for i < n && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	switch {
	case i == n && n < maxName:
		return unknown, nil
	case i < n && b[i] == ':' && len(name) > 0:
		return newField, name
	}
	return other, nil
}
