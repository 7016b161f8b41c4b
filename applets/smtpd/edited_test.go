package smtpd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"postoffice/applets/smtpd/edits"
	"postoffice/internal/peer"
	"postoffice/internal/smtp"
)

// judge is a Checker that has its say about a message, and counts what it hears.
type judge struct {
	domainPolicy
	message func(t *Transaction, m Message) Verdict
	heard   *[]string
}

func (j judge) Mail(_ context.Context, t *Transaction) Verdict {
	*j.heard = append(*j.heard, "mail "+t.ID+" "+t.Arguments)
	return Verdict{}
}

func (j judge) Rcpt(_ context.Context, t *Transaction, to smtp.Path) Verdict {
	*j.heard = append(*j.heard, "rcpt "+to.Local+" "+t.Arguments)
	return Verdict{}
}

func (j judge) Message(_ context.Context, t *Transaction, m Message) Verdict {
	return j.message(t, m)
}

func (j judge) Aborted() { *j.heard = append(*j.heard, "aborted") }

func (j judge) Unknown(_ context.Context, line string) Verdict {
	*j.heard = append(*j.heard, "unknown "+line)
	if strings.HasPrefix(line, "WHY") {
		return Refusal(smtp.Reply{Code: 502, Status: "5.5.1", Text: "because"})
	}
	return Verdict{}
}

// readAll is all of a message.
func readAll(t *testing.T, m Message) string {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size+1))
	if err != nil || int64(len(b)) != m.Size {
		t.Errorf("read %d octets of %d, %v", len(b), m.Size, err)
	}
	return string(b)
}

func address(t *testing.T, text string) smtp.Path {
	t.Helper()
	p, err := smtp.ParseAddress(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestEditedMessages has what a Checker may say of a message beside a refusal.
func TestEditedMessages(t *testing.T) {
	const body = "Subject: one\n\nbody\n"
	for _, tt := range []struct {
		name    string
		message func(t *testing.T, tx *Transaction, m Message) Verdict
		want    string // behind our own field; "": nobody has the message
		from    string
		to      string
		held    string
	}{
		{"nothing", func(t *testing.T, tx *Transaction, m Message) Verdict {
			if all := readAll(t, m); !strings.HasPrefix(all[m.Trace:], body) || !strings.HasPrefix(all, "Received: ") {
				t.Errorf("our own field has %d octets of %q", m.Trace, all)
			}
			return Verdict{}
		}, body, "joe@far.example", "alice bob", ""},
		{"header, sender and recipients", func(t *testing.T, tx *Transaction, m Message) Verdict {
			e := &edits.Edits{Sender: &edits.Sender{Path: address(t, "ann@far.example")}}
			e.Change("Subject", 1, " two")
			e.AddRecipient(smtp.Recipient{Path: address(t, "postmaster@us.example")})
			e.DeleteRecipient(address(t, "alice@us.example"))
			return Verdict{Edits: e}
		}, "Subject: two\n\nbody\n", "ann@far.example", "bob postmaster", ""},
		{"another body", func(t *testing.T, tx *Transaction, m Message) Verdict {
			s, err := m.Scratch()
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(s, "an")
			io.WriteString(s, "other\n")
			return Verdict{Edits: &edits.Edits{Body: s}}
		}, "Subject: one\n\nanother\n", "joe@far.example", "alice bob", ""},
		{"discard", func(*testing.T, *Transaction, Message) Verdict { return Verdict{Discard: "why not"} }, "", "", "", ""},
		{"no recipients", func(t *testing.T, tx *Transaction, m Message) Verdict {
			e := &edits.Edits{}
			for _, r := range tx.Recipients {
				e.DeleteRecipient(r.Path)
			}
			return Verdict{Edits: e}
		}, "", "", "", ""},
		{"hold", func(*testing.T, *Transaction, Message) Verdict { return Verdict{Hold: "look at it"} }, body, "joe@far.example", "alice bob", "look at it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := &memQueue{}
			var heard []string
			o := options(q)
			o.Checker = func(c *Client) Checker {
				return judge{domainPolicy{Client: c}, func(tx *Transaction, m Message) Verdict { return tt.message(t, tx, m) }, &heard}
			}
			c := dial(t, New(o))
			c.envelope("joe@far.example", "alice@us.example", "bob@us.example")
			if r := c.do(strings.ReplaceAll(body, "\n", "\r\n") + "."); r.Code != 250 || !strings.Contains(r.Text, "queued as Q1") {
				t.Fatalf("got %v", r)
			}
			all := q.messages()
			switch {
			case q.unfinished() != 0 || q.held.Holders() != 0:
				t.Errorf("%d texts are left open, %d have room", q.unfinished(), q.held.Holders())
			case slices.Contains(heard, "aborted"):
				t.Errorf("it was taken and aborted: %q", heard)
			case tt.want == "" && len(all) == 0:
				return
			case len(all) != 1:
				t.Fatalf("%d messages, %q", len(all), all)
			}
			got := all[0]
			_, text, _ := strings.Cut(got.Data, "Subject:")
			var to []string
			for _, p := range got.To {
				to = append(to, p.Local)
			}
			if "Subject:"+text != tt.want || got.From.String() != tt.from || strings.Join(to, " ") != tt.to || got.Held != tt.held || got.ID != "Q1" {
				t.Errorf("got %v, held %q", got, got.Held)
			}
		})
	}
}

// TestScratchRoom holds a text beside a message to what there is room for.
func TestScratchRoom(t *testing.T) {
	q := &memQueue{}
	left := int64(1 << 20)
	q.spare = func() int64 { return left - q.kept }
	var heard []string
	o := options(q)
	o.Checker = func(c *Client) Checker {
		return judge{domainPolicy{Client: c}, func(tx *Transaction, m Message) Verdict {
			s, err := m.Scratch()
			if err != nil {
				t.Fatal(err)
			}
			line := strings.Repeat("x", 1023) + "\n"
			for err == nil && s.Size() < 4<<20 {
				_, err = io.WriteString(s, line)
			}
			if err == nil || s.Size() > left {
				t.Errorf("%d octets were taken, %v", s.Size(), err)
			}
			if n := q.held.Of(peer.HolderAt(c.Addr.Addr(), false)); n.Octets < s.Size()-maxRoomStep || n.Octets > left {
				t.Errorf("%d octets count of %d", n.Octets, s.Size())
			}
			return Refusal(smtp.Reply{Code: 452, Status: "4.3.1", Text: "no room"})
		}, &heard}
	}
	c := dial(t, New(o))
	c.envelope("joe@far.example", "alice@us.example")
	if r := c.do("Subject: one\r\n\r\nbody\r\n."); r.Code != 452 {
		t.Fatalf("got %v", r)
	}
	if q.unfinished() != 0 || q.held.Holders() != 0 || q.kept != 0 {
		t.Errorf("%d texts are left open, %d have room, %d octets", q.unfinished(), q.held.Holders(), q.kept)
	}
}

// TestAborted: whatever ends a transaction whose message is not taken, the Checker hears
// of it once.
func TestAborted(t *testing.T) {
	const begin = "EHLO c|MAIL FROM:<joe@far.example> SIZE=10 BODY=7BIT|RCPT TO:<alice@us.example>"
	for _, tt := range []struct{ lines, want string }{
		{begin + "|RSET|RSET|QUIT", "aborted"},
		{begin + "|EHLO d|QUIT", "aborted"},
		{begin + "|QUIT", "aborted"},
		{begin, "aborted"}, // and the client goes
		{begin + "|DATA|x|.|QUIT", ""},
		{begin + "|BDAT 3 LAST|x|QUIT", ""},
		{begin + "|BDAT 3|x|RSET|QUIT", "aborted"},
		{begin + "|BDAT x|QUIT", "aborted"},
		{begin + "|DATA|no|.|MAIL FROM:<joe@far.example>|RSET", "aborted aborted"},
		{"EHLO c|WHY|WHO IS|QUIT", "unknown WHY unknown WHO IS"},
	} {
		q := &memQueue{}
		var heard []string
		o := options(q)
		o.Checker = func(c *Client) Checker {
			return judge{domainPolicy{Client: c}, func(tx *Transaction, m Message) Verdict {
				if strings.HasSuffix(readAll(t, m), "no\n") {
					return Refusal(smtp.Reply{Code: 550, Status: "5.7.1", Text: "no"})
				}
				return Verdict{}
			}, &heard}
		}
		conn, end := peerOf(New(o), Relay, strangerAddr)
		go io.Copy(io.Discard, conn)
		for line := range strings.SplitSeq(tt.lines, "|") {
			fmt.Fprint(conn, line+"\r\n")
		}
		conn.Close()
		<-end
		var got []string
		for _, h := range heard {
			switch what, rest, _ := strings.Cut(h, " "); {
			case what == "mail" && rest != "Q1 SIZE=10 BODY=7BIT" && rest != "Q2 ":
				t.Errorf("%q: MAIL was told as %q", tt.lines, h)
			case what == "aborted" || what == "unknown":
				got = append(got, h)
			}
		}
		if strings.Join(got, " ") != tt.want || q.unfinished() != 0 {
			t.Errorf("%q: heard %q, want %q; %d left open", tt.lines, got, tt.want, q.unfinished())
		}
	}
}
