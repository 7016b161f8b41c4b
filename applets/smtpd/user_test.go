package smtpd

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
)

// TestServeUser: a session held for somebody who isn't there is theirs, whoever
// runs this process and whatever is said in it, and the policy sees that.
func TestServeUser(t *testing.T) {
	q := &memQueue{}
	o := options(q)
	o.Account = func(uid int) (login, full string, err error) {
		switch uid {
		case 2001:
			return "alice", "Alice A.", nil
		case 2002:
			return "", "", syscall.EMFILE
		}
		return "", "", nil
	}
	s := New(o)
	// Who can't be told from an account that has no name comes again.
	ours, theirs := net.Pipe()
	go s.ServeUser(t.Context(), theirs, 2002)
	if reply, err := bufio.NewReader(ours).ReadString('\n'); err != nil || !strings.HasPrefix(reply, "421 ") {
		t.Errorf("accounts that can't be read: %q, %v, want 421", reply, err)
	}
	for _, tt := range []struct {
		uid  int
		user string
	}{{2001, "alice"}, {2999, "uid-2999"}} {
		ours, theirs := net.Pipe()
		end := make(chan error, 1)
		go func() { end <- s.ServeUser(t.Context(), theirs, tt.uid) }()
		r := bufio.NewReader(ours)
		for _, line := range []string{"", "HELO root", "MAIL FROM:<root>", "RCPT TO:<bob>", "DATA", "Subject: x\r\n\r\nx\r\n.", "QUIT"} {
			if line != "" {
				if _, err := fmt.Fprintf(ours, "%s\r\n", line); err != nil {
					t.Fatal(err)
				}
			}
			if reply, err := r.ReadString('\n'); err != nil || reply[0] > '3' {
				t.Fatalf("%q: %q, %v", line, reply, err)
			}
		}
		if err := <-end; err != nil {
			t.Error(err)
		}
		all := q.messages()
		m := all[len(all)-1]
		if c := m.Client; c.UID != tt.uid || c.User != tt.user || !c.Absent || !c.Local || c.Kind != Local {
			t.Errorf("uid %d: the client is %+v", tt.uid, c)
		}
		if want := fmt.Sprintf("Received: from %s (uid %d)\n", tt.user, tt.uid); !strings.HasPrefix(m.Data, want) {
			t.Errorf("%q, want %q in front", m.Data, want)
		}
	}
}
