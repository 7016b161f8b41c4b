//go:build e2e

package letters

import (
	"bufio"
	"os"
	"regexp"
	"strings"
	"testing"

	"postoffice/internal/testenv"
)

// Delivery is one copy of a letter somewhere.
type Delivery struct {
	Token  string // "" when the copy ends before it
	ID     string // the queue ID that it was taken with; "" without a Received: line
	Whole  bool   // its checksum is right
	Bounce bool   // it has the null reverse-path

	From, To int64 // its octets in the mailbox
	Session  int   // of the sink that took it
}

// Read finds out what a copy is.
func Read(text string) Delivery {
	head, body, _ := strings.Cut(text, "\n\n")
	var d Delivery
	var sum string
	if id := regexp.MustCompile(`\sid ([0-9A-Z]{10,40})\s`).FindStringSubmatch(head); id != nil {
		d.ID = id[1]
	}
	for line := range strings.Lines(head + "\n") {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "X-Token":
			d.Token = value
		case "X-Sum":
			sum = value
		case "Return-Path":
			d.Bounce = value == "<>"
		}
	}
	d.Whole = d.Token != "" && bodySum(body) == sum
	return d
}

// ReadMailbox reads an mbox as a mail reader does: a From_ line behind an empty
// line begins a message. A missing file is an empty one.
func ReadMailbox(t *testing.T, name string) []Delivery {
	t.Helper()
	f, err := os.Open(name)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var (
		all      []Delivery
		text     strings.Builder
		begun    bool
		empty    = true
		from, to int64
	)
	flush := func() {
		if begun {
			d := Read(strings.TrimSuffix(text.String(), "\n"))
			d.From, d.To = from, to
			all = append(all, d)
		}
		from = to
		text.Reset()
	}
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadString('\n')
		if empty && strings.HasPrefix(line, "From ") {
			flush()
			begun = true
		} else {
			text.WriteString(line)
		}
		empty = line == "\n"
		to += int64(len(line))
		if err != nil {
			break
		}
	}
	flush()
	return all
}

// ReadSink is what a sink took, in order.
func ReadSink(s *testenv.Sink) []Delivery {
	var all []Delivery
	for _, m := range s.Messages() {
		d := Read(m.Text())
		d.Bounce, d.Session = m.From() == "", m.Session
		all = append(all, d)
	}
	return all
}
