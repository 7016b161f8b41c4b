//go:build e2e

package lan

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Nth is the name of a numbered account: "m007".
func Nth(letter string, i int) string { return fmt.Sprintf("%s%03d", letter, i) }

// Differ says where two texts part.
func Differ(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	from := max(0, at-60)
	t.Errorf("%s: %d octets, want %d, differ at %d:\n got %q\nwant %q", what, len(got), len(want), at,
		got[from:min(len(got), at+60)], want[from:min(len(want), at+60)])
}

// InMaildir reads what is in a Maildir, new or seen, by the order of its names.
func InMaildir(t *testing.T, path string) []string {
	t.Helper()
	var all []string
	for _, sub := range []string{"new", "cur"} {
		entries, _ := os.ReadDir(filepath.Join(path, sub)) // none: no messages
		for _, e := range entries {
			b, err := os.ReadFile(filepath.Join(path, sub, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(b))
		}
	}
	return all
}

// ProgramText is the body that programs send: octets of 8 bits, lines that mean
// something to a mail server or a mailbox, and a line over all limits.
var ProgramText = "Grüße aus Köln\n.\n..\nFrom the beginning\n>From\n\n" + strings.Repeat("0123456789 ", 250) + "x\n\n.last\n"

// mboxTops are the lines that our mailboxes have on top of each message.
var mboxTops = regexp.MustCompile(`(?m)^From \S+ .*\n(Return-Path: <.*>\nDelivered-To: .*\n)`)

// Messages are the messages of a user's mailbox, from Return-Path on.
func (s *Site) Messages(user string) []string {
	raw, _ := os.ReadFile(s.Mailbox(user)) // none: no messages
	var all []string
	tops := mboxTops.FindAllSubmatchIndex(raw, -1)
	for i, at := range tops {
		end := len(raw)
		if i+1 < len(tops) {
			end = tops[i+1][0]
		}
		all = append(all, strings.TrimSuffix(string(Unquoted(raw[at[2]:end])), "\n"))
	}
	return all
}

// Unquoted takes back what option escape-from does to a message in a mailbox.
func Unquoted(s []byte) []byte {
	return regexp.MustCompile(`(?m)^>(>*From )`).ReplaceAll(s, []byte("$1"))
}

// Message is a message with its text decoded.
type Message struct {
	*mail.Message
	Raw, Text string
}

// ParseMessage reads a message and decodes its text.
func ParseMessage(t *testing.T, raw string) Message {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatalf("the message can't be read: %v\n%s", err, raw)
	}
	body := m.Body
	switch strings.ToLower(m.Header.Get("Content-Transfer-Encoding")) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatalf("the message's text can't be read: %v\n%s", err, raw)
	}
	return Message{m, raw, string(text)}
}

// Field returns a header field with its words decoded (RFC 2047).
func (m Message) Field(name string) string {
	text, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get(name))
	if err != nil {
		return m.Header.Get(name)
	}
	return text
}

// Address is the address of a field that has one.
func (m Message) Address(name string) string {
	a, err := mail.ParseAddress(m.Header.Get(name))
	if err != nil {
		return m.Header.Get(name)
	}
	return a.Address
}
