package dovecot

import (
	"bufio"
	"errors"
	"strings"
)

// maxLine is how many octets a line of the service may have with its end.
const maxLine = 16 << 10

var errLong = errors.New("the service's line is too long")

// readLine returns the fields of the next line.
func readLine(r *bufio.Reader) ([]string, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull:
		return nil, errLong
	case err != nil:
		return nil, err
	}
	fields := strings.Split(strings.TrimSuffix(string(line), "\n"), "\t")
	for i, f := range fields {
		fields[i] = unescape(f)
	}
	return fields, nil
}

// The protocol's escapes: octet 1 stands before a letter for what would part fields or
// lines.
func escape(s string) string {
	if !strings.ContainsAny(s, "\x00\x01\t\r\n") {
		return s
	}
	return strings.NewReplacer("\x00", "\x010", "\x01", "\x011", "\t", "\x01t", "\r", "\x01r", "\n", "\x01n").Replace(s)
}

func unescape(s string) string {
	if strings.IndexByte(s, 1) < 0 {
		return s
	}
	return strings.NewReplacer("\x010", "\x00", "\x011", "\x01", "\x01t", "\t", "\x01r", "\r", "\x01n", "\n").Replace(s)
}

// line puts fields together.
func line(fields ...string) []byte {
	var b []byte
	for i, f := range fields {
		if i > 0 {
			b = append(b, '\t')
		}
		b = append(b, escape(f)...)
	}
	return append(b, '\n')
}

// find returns the value of name=value among fields; of a bare name it is "".
func find(fields []string, name string) (value string, ok bool) {
	for _, f := range fields {
		if n, v, _ := strings.Cut(f, "="); n == name {
			return v, true
		}
	}
	return "", false
}
