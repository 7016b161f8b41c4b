package testenv

import (
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
)

// A Report is a delivery status notification as a mail reader sees it.
type Report struct {
	mail.Header
	Text     string
	Fields   []mail.Header // of message/delivery-status: the message's, then each recipient's
	Kind     string        // of the part with what goes back of the message
	Original string        // that part
	Raw      string
}

// ParseReport reads a report and fails the test if it is none. A From_ line in
// front is left out.
func ParseReport(t testing.TB, raw string) Report {
	t.Helper()
	msg := raw
	if strings.HasPrefix(msg, "From ") {
		_, msg, _ = strings.Cut(msg, "\n")
	}
	m, err := mail.ReadMessage(strings.NewReader(msg))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, raw)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("content type %q %v %v", kind, params, err)
	}
	r := Report{Header: m.Header, Raw: raw}
	parts := multipart.NewReader(m.Body, params["boundary"])
	next := func(want ...string) (kind, body string) {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatalf("part %s: %v in:\n%s", want, err, raw)
		}
		b, err := io.ReadAll(part)
		got := part.Header.Get("Content-Type")
		for _, kind := range want {
			if err == nil && strings.HasPrefix(got, kind) {
				return kind, string(b)
			}
		}
		t.Fatalf("part %q, %v, want %s", got, err, want)
		return "", ""
	}
	_, r.Text = next("text/plain")
	_, status := next("message/delivery-status")
	r.Kind, r.Original = next("text/rfc822-headers", "message/rfc822")
	if _, err := parts.NextRawPart(); err != io.EOF {
		t.Errorf("after three parts: %v", err)
	}
	for group := range strings.SplitSeq(strings.Trim(status, "\n"), "\n\n") {
		m, err := mail.ReadMessage(strings.NewReader(group + "\n\n"))
		if err != nil {
			t.Fatalf("fields %q: %v", group, err)
		}
		r.Fields = append(r.Fields, m.Header)
	}
	return r
}
