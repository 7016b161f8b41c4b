//go:build e2e

package flow

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"postoffice/internal/e2e/lan"
)

// TestFewDescriptors: a server that has next to no descriptors left refuses no
// recipient for good that it would take with some.
func TestFewDescriptors(t *testing.T) {
	l := lan.New(t)
	zone := []string{"one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test."}
	const most = 20 // rounds, in each of which up to four descriptors are to spare
	for spare := range 5 * most {
		zone = append(zone, fmt.Sprintf("ours%d.test. IN MX 10 one.test.", spare))
	}
	l.DNS(zone...)
	one, client := l.Host("one.test").Install(), l.Host("client.test")
	one.Serve()
	pid := one.PidOf("postoffice: server")
	limit := func(n string) {
		t.Helper()
		if out, err := one.As(t.Context(), "postoffice", "prlimit", "--pid", strconv.Itoa(pid), "--nofile="+n+":").CombinedOutput(); err != nil {
			t.Fatalf("prlimit: %v\n%s", err, out)
		}
	}
	later, rounds := 0, 0
	// Other descriptors are closed meanwhile: a round may feel nothing.
	for i := 0; i%5 != 0 || later == 0 && i < 5*most; i++ {
		spare := i % 5
		rounds = i/5 + 1
		conn, err := client.Dial(one.IP + ":25")
		if err != nil {
			t.Fatal(err)
		}
		d, err := lan.NewDialogue(conn, "client.test")
		if err != nil {
			t.Fatal(err)
		}
		limit(strconv.Itoa(firstFree(t, pid) + spare))
		ours := fmt.Sprintf("alice@ours%d.test", i)
		if err := d.Expect("MAIL FROM:<x@client.test>", "250"); err != nil {
			t.Logf("%d to spare: MAIL: %v", spare, err)
		}
		for _, to := range []string{"alice@[10.77.0.2]", ours, "alice@one.test", "postmaster"} {
			reply, err := d.Say("RCPT TO:<" + to + ">")
			if err != nil || strings.HasPrefix(reply, "5") && !strings.HasPrefix(reply, "503") {
				t.Errorf("%d to spare: %s: %s, %v", spare, to, reply, err)
			}
			if strings.HasPrefix(reply, "4") {
				later++
			}
		}
		limit("512")
		for _, to := range []string{"alice@[10.77.0.2]", ours} {
			if err := d.Expect("RSET", "250"); err != nil {
				t.Error(err)
			}
			if err := d.Send("x@client.test", to, "Subject: again\n\n"); err != nil {
				t.Errorf("with descriptors: %s: %v", to, err)
			}
		}
		d.Quit()
	}
	if later == 0 {
		t.Error("nothing was put off: the limit was not felt")
	}
	if n := len(one.Messages("alice")); n > 10*rounds {
		t.Errorf("alice has %d messages, want %d at most", n, 10*rounds)
	}
}

// firstFree is the lowest number that no descriptor of a process has.
func firstFree(t *testing.T, pid int) int {
	has := map[string]bool{}
	for _, e := range lan.ReadDir(t, fmt.Sprintf("/proc/%d/fd", pid)) {
		has[e.Name()] = true
	}
	n := 0
	for has[strconv.Itoa(n)] {
		n++
	}
	return n
}
