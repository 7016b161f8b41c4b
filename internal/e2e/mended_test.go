//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMendedAlias: an alias that names a program which isn't there holds mail
// up; when it is mended, in the text or in the text and its database, the next
// run gives that mail to the new program, once, and to nobody else again.
func TestMendedAlias(t *testing.T) {
	for _, mode := range modes {
		for _, db := range []bool{false, true} {
			name := mode.name
			if db {
				name += ", newaliases"
			}
			t.Run(name, func(t *testing.T) {
				s := newAgents(t, mode.install)
				says := func(program string) {
					writeFile(t, s.path("aliases"), `bugs: "`+program+`", `+s.out+"/kept\n")
					if db {
						s.applet("newaliases")
					}
				}
				says("|/nonexistent/prog -x")
				s.serve()
				if out, err := s.tryApplet("Subject: first\n\n", "sendmail", "-f", "alice", "bugs"); err != nil {
					t.Fatalf("sendmail: %v\n%s", err, out)
				}
				until(t, 20*time.Second, "the program is missed", func() bool { return contains(s.log, "program can't be started") })
				says("|cat >> " + s.out + "/bugs")
				s.applet("runq")
				s.drained(20 * time.Second)
				for _, file := range []string{"/bugs", "/kept"} {
					if n := count(s.out+file, "Subject: first\n"); n != 1 {
						t.Errorf("%s has the message %d times", file, n)
					}
				}
			})
		}
	}
}

func count(file, text string) int {
	b, _ := os.ReadFile(file)
	return strings.Count(string(b), text)
}

// TestMendedForward is the same of a program in a .forward.
func TestMendedForward(t *testing.T) {
	s := newAgents(t, (*host).install)
	says := func(text string) { writeFile(t, s.home+"/.forward", text) }
	says("\\alice\n|/nonexistent/prog\n")
	s.serve()
	if out, err := s.tryApplet("Subject: first\n\n", "sendmail", "-f", "alice", "alice"); err != nil {
		t.Fatalf("sendmail: %v\n%s", err, out)
	}
	until(t, 20*time.Second, "the program is missed", func() bool { return contains(s.log, "program can't be started") })
	says("\\alice\n\"|cat >> " + s.home + "/kept\"\n")
	s.applet("runq")
	s.drained(20 * time.Second)
	for _, file := range []string{s.home + "/kept", s.mailbox("alice")} {
		if n := count(file, "Subject: first\n"); n != 1 {
			t.Errorf("%s has the message %d times", file, n)
		}
	}
}

// TestReroute: what waits for an address goes to the one that its alias has by
// now, with and without a server.
func TestReroute(t *testing.T) {
	for _, mode := range modes {
		for _, served := range []bool{true, false} {
			name := mode.name + ", no server"
			if served {
				name = mode.name + ", served"
			}
			t.Run(name, func(t *testing.T) {
				s := newAgents(t, func(h *host, settings ...string) *site {
					return mode.install(h, append(settings, "relay-host=[10.77.0.2]:2626")...)
				})
				says := func(member string) {
					writeFile(t, s.path("aliases"), "team: "+member+", "+s.out+"/kept\n")
				}
				says("x@two.test")
				if served {
					s.serve()
				}
				if out, err := s.tryApplet("Subject: first\n\n", "sendmail", "-f", "alice", "team"); err != nil {
					t.Fatalf("sendmail: %v\n%s", err, out)
				}
				var m struct{ ID string }
				until(t, 20*time.Second, "the message was refused", func() bool {
					out, _ := s.onQueue("list", "--json", "--to", "x@two.test", "--reason", "*refused*")
					return json.Unmarshal([]byte(out), &m) == nil && m.ID != ""
				})
				says(s.out + "/new")
				s.wantQueue(0, m.ID+": would be tried now, expanded anew\n", "retry", "-n", "--reroute", m.ID)
				if s.wantQueue(0, m.ID, "list", "--to", "x@two.test"); served {
					s.wantQueue(0, m.ID+": to be tried now, expanded anew\n", "retry", "--reroute", "--to", "x@*")
				} else {
					s.wantQueue(0, `{"id":"`+m.ID+`","action":"retry","ok":true,"code":0}`, "retry", "--reroute", "--json", "--to", "x@*")
				}
				s.drained(20 * time.Second)
				for _, file := range []string{"/new", "/kept"} {
					if n := count(s.out+file, "Subject: first\n"); n != 1 {
						t.Errorf("%s has the message %d times", file, n)
					}
				}
			})
		}
	}
}
