package envelope

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/internal/smtp"
)

const text = "Subject: x\n\nhello\n"

// arrived is a time that every test message arrives at.
var arrived = time.Date(2026, 3, 4, 5, 6, 7, 890123000, time.UTC)

// path parses user@domain for test tables.
func path(s string) smtp.Path {
	local, domain, _ := strings.Cut(s, "@")
	return smtp.Path{Local: local, Domain: domain}
}

// envelopeFor is an envelope with n recipients, r0@example.org and on.
func envelopeFor(n int) Envelope {
	env := Envelope{Arrived: arrived, Client: "mx.example[192.0.2.1]:2525", Session: "S1", ReversePath: path("from@example.com")}
	for i := range n {
		env.Recipients = append(env.Recipients, smtp.Recipient{Path: path(fmt.Sprintf("r%d@example.org", i))})
	}
	return env
}

// build is a message file with the given parts, as the spool makes it.
func build(env Envelope, data string) ([]byte, error) {
	var e Encoder
	b, err := e.Begin(nil, &env)
	if err == nil {
		err = e.Data([]byte(data))
	}
	if err != nil {
		return nil, err
	}
	copy(b, e.FirstLine())
	return slices.Concat(b, []byte(data)), nil
}

// whole is a message file for two.
func whole(t testing.TB) []byte {
	t.Helper()
	file, err := build(envelopeFor(2), text)
	if err != nil {
		t.Fatal(err)
	}
	return file
}
