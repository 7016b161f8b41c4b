package report

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
)

// The sizes of a report's parts, in octets: with the returned header it stays
// below 200 kB for 1,000 recipients (A59).
const (
	maxText     = 40 << 10 // what people read
	maxStatus   = 80 << 10 // what programs read
	maxReturned = 64 << 10 // the header of the message
)

// A Kind is what a report tells of all its recipients.
type Kind int

// Failed says that the message will not be delivered to them.
const Failed Kind = iota

// kinds has the words of each kind: the action of RFC 3464 section 2.3.3, and
// the subject.
var kinds = []struct{ action, subject string }{
	Failed: {"failed", "Your message could not be delivered"},
}

// A Report tells one sender, or the postmaster, what has become of recipients
// of one message.
type Report struct {
	Kind Kind
	To   smtp.Path // with a domain
	// Double says that To is the postmaster's, told of a message whose own
	// reverse-path is null.
	Double   bool
	Hostname string        // ours
	QueueID  string        // of the message
	Arrived  time.Time     // the message
	Now      time.Time     // in the zone in which times are shown
	Tried    time.Duration // how long messages are tried, before they expire
	Unique   string        // letters and digits that no other report has

	UTF8      bool // the message came with SMTPUTF8
	N         int  // how many recipients are reported on
	Recipient func(i int) Recipient
	Original  Original
}

// A Recipient is somebody who is reported on.
type Recipient struct {
	Address  smtp.Path // with a domain; of an item whose it is
	Item     string    // says of an item what it is, "" else
	Sent     smtp.Path // what the message was sent to and led to Address, with a domain
	ORCPT    string    // what that was for the sender (RFC 3461 section 4.2), "" unknown
	Outcome  *outcome.Outcome
	Expired  bool // given up after the last deferral
	Returned bool // taken out of the queue by an administrator
}

// Write writes the report in the form of the spool: LF alone.
func (r *Report) Write(dst io.Writer) error {
	w := bufio.NewWriter(dst)
	boundary := "report." + r.Unique
	r.writeHeader(w, boundary)
	part := func(kind string) { fmt.Fprintf(w, "\n--%s\nContent-Type: %s\n", boundary, kind) }

	if r.EightBit() {
		part("text/plain; charset=utf-8")
		w.WriteString("Content-Transfer-Encoding: 8bit\n")
	} else {
		part("text/plain; charset=us-ascii")
	}
	w.WriteByte('\n')
	r.writeText(w)

	part("message/delivery-status")
	w.WriteByte('\n')
	r.writeStatus(w)

	original := io.Reader(bytes.NewReader(r.Original.Header))
	if r.Original.Message != nil {
		original = r.Original.Message
	}
	part(r.originalType())
	if r.Original.EightBit {
		w.WriteString("Content-Transfer-Encoding: 8bit\n")
	}
	w.WriteByte('\n')
	if _, err := io.Copy(w, original); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n--%s--\n", boundary)
	return w.Flush()
}

// originalType is the type of what goes back: that of RFC 6532 and 6533 where the
// message's header is UTF-8.
func (r *Report) originalType() string {
	whole, global := r.Original.Message != nil, r.UTF8 && !smtp.IsASCII(string(r.Original.Header))
	switch {
	case whole && global:
		return "message/global"
	case whole:
		return "message/rfc822"
	case global:
		return "message/global-headers"
	}
	return "text/rfc822-headers"
}

// EightBit reports whether addresses in what people read are outside ASCII.
func (r *Report) EightBit() bool {
	for i := range r.N {
		if rc := r.Recipient(i); !rc.Address.IsASCII() || !rc.Sent.IsASCII() {
			return true
		}
	}
	return false
}

// shown is an address for people and for the field To, which needs SMTPUTF8 as the
// address itself does.
func shown(p smtp.Path, max int) string {
	if again, err := smtp.ParseAddress(p.String()); err == nil && again == p {
		return p.String() // no longer than a path, and without what could be a line
	}
	return smtp.Printable(p.String(), max)
}

func (r *Report) writeHeader(w io.Writer, boundary string) {
	date := r.Now.Format(time.RFC1123Z)
	subject := kinds[r.Kind].subject
	if r.Double {
		subject = "A report could not be delivered"
	}
	fmt.Fprintf(w, "Received: by %s (postoffice); %s\n", r.Hostname, date)
	fmt.Fprintf(w, "From: MAILER-DAEMON@%s (Mail Delivery System)\n", r.Hostname)
	fmt.Fprintf(w, "To: <%s>\n", shown(r.To, 900))
	fmt.Fprintf(w, "Subject: %s\n", subject)
	fmt.Fprintf(w, "Date: %s\n", date)
	fmt.Fprintf(w, "Message-ID: <%s@%s>\n", r.Unique, r.Hostname)
	if id := r.Original.messageID(); id != "" {
		fmt.Fprintf(w, "In-Reply-To: %s\n", id)
	}
	fmt.Fprintf(w, "Auto-Submitted: auto-replied\n")
	fmt.Fprintf(w, "MIME-Version: 1.0\n")
	fmt.Fprintf(w, "Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"%s\"\n", boundary)
}

// arrived is when the message came, as it is shown.
func (r *Report) arrived() string { return r.Arrived.In(r.Now.Location()).Format(time.RFC1123Z) }
