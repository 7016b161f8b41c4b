package smtpd

import (
	"bufio"
	"bytes"

	"postoffice/internal/smtp"
)

// completeAddresses writes an address field (RFC 5322 section 3.4), complete
// with name, folds and final line end, to w, with "@host" behind each address
// that is a bare local part. What it does not understand it leaves alone.
func completeAddresses(w *bufio.Writer, field []byte, host string) error {
	body := field[bytes.IndexByte(field, ':')+1:]
	w.Write(field[:len(field)-len(body)])
	done := 0
	for m := range smtp.EachMailbox(string(body)) {
		if m.Path.Domain != "" {
			continue
		}
		w.Write(body[done:m.End])
		w.WriteString("@")
		w.WriteString(host)
		done = m.End
	}
	_, err := w.Write(body[done:])
	return err
}
