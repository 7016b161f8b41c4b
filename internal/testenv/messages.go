package testenv

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A Message is one of the collection that goes through every way that mail can
// take. Its octets are what a program would give to sendmail: mostly LF line
// ends, but some have CR LF, a lone CR, NUL, no last line end or no header.
type Message struct {
	Name string
	Size int64 // octets
	Open func() io.ReadCloser
}

// Messages returns the collection in the order of the names: the files of
// testdata/messages, which look like mail of real programs, and generated ones
// for lengths and amounts. It panics if the files are not there.
func Messages() []Message {
	files, err := filepath.Glob(filepath.Join(Root(), "testdata/messages/*.eml"))
	if err != nil || len(files) == 0 {
		panic("testenv: no files in testdata/messages")
	}
	var all []Message
	for _, file := range files {
		all = append(all, stored(file))
	}
	for _, g := range generated() {
		all = append(all, g.message())
	}
	slices.SortFunc(all, func(a, b Message) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Octets reads the whole message.
func (m Message) Octets() []byte {
	r := m.Open()
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		panic("testenv: " + err.Error())
	}
	return b
}

func stored(file string) Message {
	octets, err := os.ReadFile(file)
	if err != nil {
		panic("testenv: " + err.Error())
	}
	return Message{
		Name: strings.TrimSuffix(filepath.Base(file), ".eml"),
		Size: int64(len(octets)),
		Open: func() io.ReadCloser { return io.NopCloser(bytes.NewReader(octets)) },
	}
}

// Facts tell which of the allowed changes a message meets on its way.
type Facts struct {
	NUL      bool // has a NUL
	CR       bool // has a CR, before LF or alone
	Unended  bool // its last line has no LF
	EightBit bool // has an octet over 127
	Long     bool // has a line over 998 octets
}

// FactsOf looks at a message.
func FactsOf(octets []byte) Facts {
	f := Facts{
		NUL:     bytes.IndexByte(octets, 0) >= 0,
		CR:      bytes.IndexByte(octets, '\r') >= 0,
		Unended: len(octets) > 0 && octets[len(octets)-1] != '\n',
	}
	for _, c := range octets {
		f.EightBit = f.EightBit || c >= 0x80
	}
	for line := range bytes.SplitSeq(octets, []byte{'\n'}) {
		f.Long = f.Long || len(bytes.TrimSuffix(line, []byte{'\r'})) > 998
	}
	return f
}

// SpoolForm is what a message is once it was accepted: each CR LF an LF, each
// other CR a space, and a last line end.
func SpoolForm(octets []byte) []byte {
	s := strings.ReplaceAll(string(octets), "\r\n", "\n")
	s = strings.ReplaceAll(s, "\r", " ")
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	return []byte(s)
}

// WireForm is what a client sends behind the 354, up to and with the line ".":
// each LF that has no CR before it gets one, and dots are doubled. A lone CR
// stays, so that the server sees it.
func WireForm(octets []byte) []byte {
	if len(octets) > 0 && octets[len(octets)-1] != '\n' {
		octets = append(slices.Clone(octets), '\n')
	}
	var b bytes.Buffer
	for line := range bytes.SplitAfterSeq(octets, []byte{'\n'}) {
		text, ended := bytes.CutSuffix(line, []byte{'\n'})
		if bytes.HasPrefix(text, []byte{'.'}) {
			b.WriteByte('.')
		}
		b.Write(bytes.TrimSuffix(text, []byte{'\r'}))
		if ended {
			b.WriteString("\r\n")
		}
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}

// Unfold takes out the folds of lines that were over 998 octets, by comparing
// with want: a line end before a blank, or a line end and a space, that want
// does not have at that place. The result equals want if nothing else differs.
func Unfold(got, want []byte) []byte {
	var b []byte
	for i := 0; i < len(got); i++ {
		c := got[i]
		at := len(b)
		if c == '\n' && at < len(want) && want[at] != '\n' && i+1 < len(got) && (got[i+1] == ' ' || got[i+1] == '\t') {
			if want[at] != got[i+1] {
				i++ // a space of the fold's own
			}
			continue
		}
		b = append(b, c)
	}
	return b
}

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
