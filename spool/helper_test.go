package spool

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// arrived is a time that every test message arrives at.
var arrived = time.Date(2026, 3, 4, 5, 6, 7, 890123000, time.UTC)

// path parses user@domain for test tables.
func path(s string) smtp.Path {
	local, domain, _ := strings.Cut(s, "@")
	return smtp.Path{Local: local, Domain: domain}
}

// key is the place of a recipient.
func key(block, index int) envelope.Key { return envelope.Key{Block: block, Index: index} }

// envelopeFor is an envelope with n recipients, r0@example.org and on.
func envelopeFor(n int) envelope.Envelope {
	env := envelope.Envelope{Arrived: arrived, Client: "mx.example[192.0.2.1]:2525", Session: "S1", ReversePath: path("from@example.com")}
	for i := range n {
		env.Recipients = append(env.Recipients, smtp.Recipient{Path: path(fmt.Sprintf("r%d@example.org", i))})
	}
	return env
}

// open opens a spool and closes it after the test.
func open(t testing.TB, o Options) *Queue {
	t.Helper()
	q, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

// tempQueue is a spool on the real disk.
func tempQueue(t testing.TB) (q *Queue, dir string) {
	t.Helper()
	dir = t.TempDir() + "/q"
	return open(t, Options{Dir: dir, FS: disk.OS()}), dir
}

// accept puts a message into the queue.
func accept(t testing.TB, q *Queue, env envelope.Envelope, body string) ID {
	t.Helper()
	id, err := tryAccept(q, env, body)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func tryAccept(q *Queue, env envelope.Envelope, body string) (ID, error) {
	in, err := q.Create(env)
	if err != nil {
		return "", err
	}
	if _, err := io.WriteString(in, body); err != nil {
		in.Abort()
		return "", err
	}
	err = in.Commit()
	return in.ID(), err
}

// claim claims a message and closes it after the test.
func claim(t testing.TB, q *Queue, id ID) *Message {
	t.Helper()
	m, err := q.Claim(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// body is the message's data.
func body(t testing.TB, m *Message) string {
	t.Helper()
	b, err := io.ReadAll(m.Data())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// pendingKeys lists who is pending.
func pendingKeys(m *Message) []envelope.Key {
	var keys []envelope.Key
	for r := range m.Pending() {
		keys = append(keys, r.Key)
	}
	return keys
}

// entries counts the messages of each place.
func entries(t testing.TB, q *Queue) (n [numLocations]int) {
	t.Helper()
	for e, err := range q.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		n[e.Location]++
	}
	return n
}

// fileOf is the file of a message as it is when it has been accepted.
func fileOf(token string) []byte {
	f := crashfs.New()
	q, err := reopen(f, still)
	if err == nil {
		err = keep(q, token, func(string) {})
	}
	if err != nil {
		panic(err)
	}
	for e := range q.Entries() {
		b, err := f.ReadFile("/q/queue/" + string(e.ID))
		if err != nil {
			panic(err)
		}
		return b
	}
	panic("no message")
}

// unfinished is the first line of a message that is still being written.
func unfinished() []byte {
	env := envelopeFor(1)
	var enc envelope.Encoder
	b, err := enc.Begin(nil, &env)
	if err != nil {
		panic(err)
	}
	return b[:bytes.IndexByte(b, '\n')+1]
}
