package milter

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"postoffice/internal/smtp"
)

// readReply reads the reply that a filter wants the client to get: "550 5.7.1 text",
// or several lines of one code. It is text and nothing else: "%%", which filters write
// for "%" because sendmail takes it for a format, becomes "%", and any other "%" stays.
func readReply(data []byte) (smtp.Reply, error) {
	data, _ = bytes.CutSuffix(data, []byte{0})
	if bytes.IndexByte(data, 0) >= 0 {
		return smtp.Reply{}, errors.New("the filter's reply has a NUL in it")
	}
	text := bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	r := bufio.NewReader(strings.NewReader(string(text) + "\r\n"))
	reply, err := smtp.ReadReply(r)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return smtp.Reply{}, fmt.Errorf("the filter's reply has no last line: %q", smtp.Printable(string(data), maxShown))
	}
	if err != nil {
		return smtp.Reply{}, fmt.Errorf("the filter's reply %q: %w", smtp.Printable(string(data), maxShown), err)
	}
	if rest, _ := r.Peek(1); len(rest) > 0 {
		return smtp.Reply{}, fmt.Errorf("the filter's reply has more behind its last line: %q", smtp.Printable(string(data), maxShown))
	}
	if !reply.Temporary() && !reply.Permanent() {
		return smtp.Reply{}, fmt.Errorf("the filter's reply has the code %d, want 4xx or 5xx", reply.Code)
	}
	reply.Status = smtp.StatusFor(reply.Code, reply.Status)
	lines := strings.Split(strings.ReplaceAll(reply.Text, "%%", "%"), "\n")
	for i, line := range lines {
		lines[i] = smtp.Masked(line, '?', smtp.IsPrintable)
	}
	reply.Text = strings.Join(lines, "\n")
	return reply, nil
}

// maxShown bounds what a message about a filter says of its octets, in octets: a line
// in the log is to stay one that people read.
const maxShown = 80
