//go:build e2e

package flow

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestMendedAlias: an alias that names a program which isn't there holds mail
// up; when it is mended, in the text or in the text and its database, the next
// run gives that mail to the new program, once, and to nobody else again.
func TestMendedAlias(t *testing.T) {
	for _, mode := range lan.Modes {
		for _, db := range []bool{false, true} {
			name := mode.Name
			if db {
				name += ", newaliases"
			}
			t.Run(name, func(t *testing.T) {
				s := newAgents(t, mode.Install)
				says := func(program string) {
					lan.WriteFile(t, s.Path("aliases"), `bugs: "`+program+`", `+s.out+"/kept\n")
					if db {
						s.Applet("newaliases")
					}
				}
				says("|/nonexistent/prog -x")
				s.Serve()
				if out, err := s.TryApplet("Subject: first\n\n", "sendmail", "-f", "alice", "bugs"); err != nil {
					t.Fatalf("sendmail: %v\n%s", err, out)
				}
				lan.Until(t, 20*time.Second, "the program is missed", func() bool { return lan.Contains(s.Log, "program can't be started") })
				says("|cat >> " + s.out + "/bugs")
				s.Applet("runq")
				s.Drained(20 * time.Second)
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
	s := newAgents(t, (*lan.Host).Install)
	says := func(text string) { lan.WriteFile(t, s.home+"/.forward", text) }
	says("\\alice\n|/nonexistent/prog\n")
	s.Serve()
	if out, err := s.TryApplet("Subject: first\n\n", "sendmail", "-f", "alice", "alice"); err != nil {
		t.Fatalf("sendmail: %v\n%s", err, out)
	}
	lan.Until(t, 20*time.Second, "the program is missed", func() bool { return lan.Contains(s.Log, "program can't be started") })
	says("\\alice\n\"|cat >> " + s.home + "/kept\"\n")
	s.Applet("runq")
	s.Drained(20 * time.Second)
	for _, file := range []string{s.home + "/kept", s.Mailbox("alice")} {
		if n := count(file, "Subject: first\n"); n != 1 {
			t.Errorf("%s has the message %d times", file, n)
		}
	}
}

// TestReroute: what waits for an address goes to the one that its alias has by
// now, with and without a server.
func TestReroute(t *testing.T) {
	for _, mode := range lan.Modes {
		for _, served := range []bool{true, false} {
			name := mode.Name + ", no server"
			if served {
				name = mode.Name + ", served"
			}
			t.Run(name, func(t *testing.T) {
				s := newAgents(t, func(h *lan.Host, settings ...string) *lan.Site {
					return mode.Install(h, append(settings, "relay-host=[10.77.0.2]:2626")...)
				})
				says := func(member string) {
					lan.WriteFile(t, s.Path("aliases"), "team: "+member+", "+s.out+"/kept\n")
				}
				says("x@two.test")
				if served {
					s.Serve()
				}
				if out, err := s.TryApplet("Subject: first\n\n", "sendmail", "-f", "alice", "team"); err != nil {
					t.Fatalf("sendmail: %v\n%s", err, out)
				}
				var m struct{ ID string }
				lan.Until(t, 20*time.Second, "the message was refused", func() bool {
					out, _ := onQueue(s.Site, "list", "--json", "--to", "x@two.test", "--reason", "*refused*")
					return json.Unmarshal([]byte(out), &m) == nil && m.ID != ""
				})
				says(s.out + "/new")
				wantQueue(s.Site, 0, m.ID+": would be tried now, expanded anew\n", "retry", "-n", "--reroute", m.ID)
				if wantQueue(s.Site, 0, m.ID, "list", "--to", "x@two.test"); served {
					wantQueue(s.Site, 0, m.ID+": to be tried now, expanded anew\n", "retry", "--reroute", "--to", "x@*")
				} else {
					wantQueue(s.Site, 0, `{"id":"`+m.ID+`","action":"retry","ok":true,"code":0}`, "retry", "--reroute", "--json", "--to", "x@*")
				}
				s.Drained(20 * time.Second)
				for _, file := range []string{"/new", "/kept"} {
					if n := count(s.out+file, "Subject: first\n"); n != 1 {
						t.Errorf("%s has the message %d times", file, n)
					}
				}
			})
		}
	}
}
