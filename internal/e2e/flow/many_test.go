//go:build e2e

package flow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
)

// manyPeak is what a process may hold of memory at most for 200,000 recipients, in
// KiB.
const manyPeak = 384 << 10

// manyTo are n recipients at the next host.
func manyTo(n int) []string {
	to := make([]string, n)
	for i := range to {
		to[i] = fmt.Sprintf("%x@two.test", i)
	}
	return to
}

// TestManyRecipients: 100,000 recipients by sendmail -t, and as many operands as
// execve(2) takes, with a server and without one, each reach all their recipients
// once.
func TestManyRecipients(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.3", "two.test. IN A 10.77.0.2", "two.test. IN MX 10 two.test.")
	sink := &testenv.Sink{Discard: true}
	go sink.Serve(l.Host("two.test").Listen("25"))
	t.Cleanup(sink.Close)
	s := l.Host("one.test").Install("minfree=0", "size=0")

	operands, header := most(t, s), manyTo(100_000)
	for _, tt := range []struct {
		name, user string
		served     bool
	}{
		{"served", "alice", true}, {"left by alice", "alice", false}, {"by root alone", "root", false},
	} {
		want := 0
		send := func(to []string, text string, args ...string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			cmd := s.As(ctx, tt.user, append([]string{lan.Applet("sendmail"), "-C", s.Config}, args...)...)
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%.2000s", tt.name, err, out)
			}
			want += len(to)
		}
		serve := func() *lan.Process {
			p := s.Serve()
			lan.Until(t, 20*time.Second, "the server is ready", func() bool { return lan.Contains(s.Log, "server ready") })
			return p
		}
		before := len(sink.Messages())
		p := serve()
		if !tt.served {
			p.Stop()
		}
		meter := lan.Meter{Hosts: []*lan.Host{s.Host}}
		for name, status := range meter.During(func() {
			send(header, "Subject: "+tt.name+"\nBcc: "+strings.Join(header, ",\n\t")+"\n\nx\n", "-t")
			send(operands, "Subject: "+tt.name+"\n\nx\n", operands...)
			if !tt.served {
				p = serve()
			}
			lan.Until(t, 5*time.Minute, tt.name+": all have it", func() bool { return s.Applet("mailq") == "Mail queue is empty.\n" })
		}) {
			t.Logf("%s: %s: at most %d KiB", tt.name, name, status.Peak)
			if status.Peak > manyPeak {
				t.Errorf("%s takes more than %d KiB", name, manyPeak)
			}
		}
		p.Stop()
		got := map[string]int{}
		all := 0
		for _, m := range sink.Messages()[before:] {
			for _, to := range m.To() {
				got[to]++
				all++
			}
		}
		for _, to := range slices.Concat(header, operands) {
			got[to]--
		}
		for to, n := range got {
			if n != 0 {
				t.Errorf("%s: %s got it %d times too often", tt.name, to, n)
				break
			}
		}
		if all != want {
			t.Errorf("%s: %d copies, want %d", tt.name, all, want)
		}
	}
}

// most are as many recipients as a command line of the site's has room for.
func most(t *testing.T, s *lan.Site) []string {
	t.Helper()
	fits := func(n int) bool {
		cmd := s.As(t.Context(), "alice", append([]string{"/bin/true", lan.Applet("sendmail"), "-C", s.Config}, manyTo(n)...)...)
		err := cmd.Run()
		if err != nil && !errors.Is(err, syscall.E2BIG) && !errors.As(err, new(*exec.ExitError)) {
			t.Fatal(err)
		}
		return err == nil
	}
	few, many := 1000, 1_000_000
	for many-few > 1000 {
		if n := (few + many) / 2; fits(n) {
			few = n
		} else {
			many = n
		}
	}
	t.Logf("%d operands", few)
	return manyTo(few)
}

// TestLargestDrop: the longest envelope that somebody can leave in maildrop/ takes
// a bounded part of the server's memory, and is in the queue for all.
func TestLargestDrop(t *testing.T) {
	const n = 1 << 19
	one := unserved(t)
	one.Configure("listen="+one.IP+":25", "queue-only", "minfree=0")
	var b strings.Builder
	b.WriteString("postoffice drop 1\n")
	for i := range n {
		fmt.Fprintf(&b, "to <%x%s@two.test> NOTIFY=NEVER\n", i, strings.Repeat("x", 25))
	}
	b.WriteString("\nSubject: to many\n\nx\n")
	lan.WriteFile(t, one.Path("many"), b.String())
	if err := os.Chmod(one.Path("many"), 0o644); err != nil {
		t.Fatal(err)
	}
	one.Script("alice", fmt.Sprintf("cd %s && umask 027 && cp %s MANY", one.Path("queue", "maildrop"), one.Path("many")))
	meter := lan.Meter{Hosts: []*lan.Host{one.Host}}
	for name, status := range meter.During(func() {
		one.Serve()
		lan.Until(t, 5*time.Minute, "it is picked up", func() bool { return len(lan.ReadDir(t, one.Path("queue", "maildrop"))) == 0 })
	}) {
		t.Logf("%s: at most %d KiB", name, status.Peak)
		if status.Peak > manyPeak {
			t.Errorf("%s takes more than %d KiB", name, manyPeak)
		}
	}
	if lan.Contains(one.Log, "drop set aside") || !lan.Says(one.Log, "message queued") {
		t.Error("it is not in the queue")
	}
	got := 0
	for _, file := range lan.ReadDir(t, one.Path("queue", "queue")) {
		text, err := os.ReadFile(one.Path("queue", "queue", file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got += strings.Count(string(text), "@two.test")
	}
	if got != n {
		t.Errorf("%d recipients are in the queue, want %d", got, n)
	}
}
