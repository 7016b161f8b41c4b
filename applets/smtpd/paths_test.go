package smtpd

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"postoffice/internal/testenv"
)

// refuseAll has every RCPT of a stranger's refused with 5xx, on a session each
// so that A14 does not do it. What the policy refuses here the shipped one must
// refuse too: applets/server has the same paths.
func refuseAll(t *testing.T, paths []string) {
	for _, path := range paths {
		synctest.Test(t, func(t *testing.T) {
			c := dial(t, New(options(&memQueue{})))
			c.do("EHLO client.example")
			c.do("MAIL FROM:<s@client.example>")
			if r := c.do("RCPT TO:" + path); !r.Permanent() || r.Code == 421 || strings.ContainsFunc(r.Text, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("RCPT TO:%q: %v, want a clean 5xx", path, r)
			}
			if r := c.do("NOOP"); r.Code != 250 {
				t.Errorf("out of step after %q: %v", path, r)
			}
		})
	}
}

// TestRelayPaths has A16's ways around the relay check.
func TestRelayPaths(t *testing.T) {
	refuseAll(t, testenv.RelayPaths())
	for _, path := range []string{"<postmaster>", "<Postmaster@US.example>", "<@far.example:alice@us.example>"} {
		synctest.Test(t, func(t *testing.T) {
			c := dial(t, New(options(&memQueue{})))
			c.do("EHLO client.example")
			c.do("MAIL FROM:<s@client.example>")
			if r := c.do("RCPT TO:" + path); r.Code != 250 {
				t.Errorf("RCPT TO:%s: %v", path, r)
			}
		})
	}
}

// TestProgramPaths has A18's programs, files and lists, and A19's paths: none
// is a recipient.
func TestProgramPaths(t *testing.T) {
	refuseAll(t, testenv.ProgramPaths())
}

// TestOddOctets has A15's: no bad or strange UTF-8 is an address, and no
// look-alike a user.
func TestOddOctets(t *testing.T) {
	refuseAll(t, testenv.OddPaths())
}

// TestNULAnywhere puts a NUL, and a CR, at each offset of MAIL and RCPT (A7,
// A11): one refusal each, and nothing of the line is used.
func TestNULAnywhere(t *testing.T) {
	for _, octet := range []string{"\x00", "\r"} {
		for _, line := range []string{"MAIL FROM:<a@b.example>", "RCPT TO:<alice@us.example>"} {
			for at := range len(line) + 1 {
				if octet == "\r" && at == len(line) {
					continue // see TestLineEnds
				}
				synctest.Test(t, func(t *testing.T) {
					c := dial(t, New(options(&memQueue{})))
					c.do("EHLO client.example")
					if line[0] == 'R' {
						c.do("MAIL FROM:<a@b.example>")
					}
					if r := c.do(line[:at] + octet + line[at:]); !r.Permanent() {
						t.Errorf("%q at %d of %s: %v", octet, at, line, r)
					}
					if r := c.do("NOOP"); r.Code != 250 {
						t.Errorf("%q at %d of %s: out of step: %v", octet, at, line, r)
					}
				})
			}
		}
	}
}

// TestLineEnds has the ends of a command that are none or strange.
func TestLineEnds(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []int
	}{
		{"NOOP\r\r\n", []int{500}},
		{"NOOP\n\r\n", []int{250, 500}},
		{"\r\nNOOP\r\n", []int{500, 250}},
		{"NOOP\r\nNOOP\n", []int{250, 250}},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := dial(t, New(options(&memQueue{})))
			c.send(tt.text)
			for _, want := range tt.want {
				if r := c.read(); r.Code != want {
					t.Errorf("%q: %v, want %d", tt.text, r, want)
				}
			}
			c.do("NOOP")
		})
	}
}

// TestDSNParams: the parameters of RFC 3461 reach the queue as they came, from
// this machine's programs and connections; DSN is offered to nobody.
func TestDSNParams(t *testing.T) {
	for _, tt := range []struct {
		name string
		kind Kind
		addr string
		want string
	}{
		{"a program", Local, strangerAddr, "[RET=HDRS ENVID=a+2Bb NOTIFY=Never ORCPT=rfc822;bob NOTIFY=DELAY]"},
		{"this machine", Relay, "127.0.0.1:40000", "[RET=HDRS ENVID=a+2Bb NOTIFY=Never ORCPT=rfc822;bob NOTIFY=DELAY]"},
		{"a stranger", Relay, strangerAddr, "[]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := &memQueue{}
			c := dialFrom(t, New(options(q)), tt.kind, tt.addr)
			if r := c.do("EHLO c"); strings.Contains(r.Text, "DSN") {
				t.Errorf("offered: %q", r.Text)
			}
			if c.do("MAIL FROM:<a@c.example> ret=HDRS ENVID=a+2Bb").Code == 555 {
				c.do("MAIL FROM:<a@c.example>")
			}
			if c.do("RCPT TO:<bob@us.example> NOTIFY=Never ORCPT=rfc822;bob").Code == 555 {
				c.do("RCPT TO:<bob@us.example>")
			}
			c.do("RCPT TO:<alice@us.example> NOTIFY=DELAY")
			c.do("DATA")
			if r := c.do("x\r\n."); r.Code != 250 {
				t.Fatal(r)
			}
			if got := fmt.Sprint(q.messages()[0].Params); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
