//go:build e2e

package faults

import (
	"bufio"
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/e2e/letters"
)

// borderSite is a root tree that runs, with a second host to talk to it.
func borderSite(t *testing.T, prefix ...string) *keeper {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.3", "one.test. IN MX 10 one.test.")
	two := l.Host("two.test")
	k := newKeeper(l.Host("one.test").Install("trusted=10.77.0.2", "minfree=0"), two)
	k.prefix = prefix
	k.up()
	return k
}

// descriptors are what a process has open, as /proc shows it.
func descriptors(t *testing.T, pid int) map[int]string {
	t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	all := map[int]string{}
	for _, e := range lan.ReadDir(t, dir) {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if name, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil { // it may be closed by now
			all[fd] = name
		}
	}
	return all
}

// uids are the real, effective, saved and file system ids of each thread.
func uids(t *testing.T, pid int) []string {
	t.Helper()
	var all []string
	status, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "status"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range status {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		for line := range strings.Lines(string(text)) {
			if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
				all = append(all, strings.Join(strings.Fields(ids), " "))
			}
		}
	}
	return all
}

// TestOnlyTheMasterIsRoot looks at the tree while sessions and deliveries are
// under way: the server, which holds every connection and every file of the
// spool, has the server-user's ids in each thread, and the signer its own; the master, which is root,
// has neither a connection nor a file of the spool, and an inherited descriptor
// on /etc/shadow reaches no child (A71, A77).
func TestOnlyTheMasterIsRoot(t *testing.T) {
	k := borderSite(t, "sh", "-c", `exec 9</etc/shadow; exec "$@"`, "sh")
	f := letters.NewFleet(k.Site, k.from, 6000, "alice@one.test", "bob@one.test")
	f.Write(4, net.JoinHostPort(k.IP, k.port))
	seen := map[string]bool{}
	for end, last := time.After(3*time.Second), time.After(time.Minute); ; {
		for pid, argv0 := range k.Family() {
			master := pid == k.cmd.Process.Pid
			for fd, name := range descriptors(t, pid) {
				kind, _, _ := strings.Cut(name, ":")
				seen[kind] = true
				switch {
				case !master && name == "/etc/shadow":
					t.Fatalf("%s has descriptor %d on %s", argv0, fd, name)
				case master && strings.HasPrefix(name, k.Path("queue")):
					t.Fatalf("the master has descriptor %d on %s", fd, name)
				}
			}
			for _, ids := range uids(t, pid) {
				want := "901 901 901 901" // the server-user's
				if argv0 == "postoffice: signer" {
					want = "65531 65531 65531 65531"
				}
				if !master && ids != want {
					t.Fatalf("%s: ids %s, want %s", argv0, ids, want)
				}
				if master && !strings.HasPrefix(ids, "0 ") {
					t.Fatalf("the master: ids %s, want root's real id", ids)
				}
			}
		}
		out := k.Run("ss", "-Htnp", "state", "established")
		for line := range strings.Lines(out) {
			if strings.Contains(line, "pid="+strconv.Itoa(k.cmd.Process.Pid)+",") {
				t.Fatalf("the master has a connection: %s", line)
			}
		}
		select {
		case <-end:
			if len(f.Snapshot()) > 0 && seen["socket"] {
				return
			}
			end = time.After(time.Second)
		case <-last:
			t.Fatalf("nothing was under way: %d letters, descriptors %v", len(f.Snapshot()), seen)
		default:
		}
	}
}

// TestSignalsOfUsers has a user signal both processes.
func TestSignalsOfUsers(t *testing.T) {
	k := borderSite(t)
	for pid, argv0 := range k.Family() {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		out, err := k.As(ctx, "alice", "kill", "-TERM", strconv.Itoa(pid)).CombinedOutput()
		cancel()
		if err == nil {
			t.Errorf("alice may signal %s (%d): %s", argv0, pid, out)
		}
	}
	if !k.running() || !k.greets() {
		t.Error("the server is gone")
	}
}

// TestSubmissionWithoutRights is A70: with no_new_privs a user submits to a
// daemon; without one the message waits in maildrop/, and where that isn't they are
// told what to do, in few words, with exit code 75.
// An error in the configuration keeps no mail from a daemon that runs.
func TestSubmissionWithoutRights(t *testing.T) {
	k := borderSite(t)
	l := letters.NewLedger()
	noNew := []string{"setpriv", "--no-new-privs", "--"}
	if code, words := k.sendmail(l, "bob", letters.New("alice@one.test", 500), noNew...); code != 0 || words != "" {
		t.Errorf("with a daemon: exit code %d, said %q, want 0 and nothing", code, words)
	}
	good, err := os.ReadFile(k.Config)
	if err != nil {
		t.Fatal(err)
	}
	lan.WriteFile(t, k.Config, string(good)+"qretrun=3d\n")
	if code, words := k.sendmail(l, "bob", letters.New("alice@one.test", 500), noNew...); code != 0 || !strings.Contains(words, "qretrun") {
		t.Errorf("with a typo in %s: exit code %d, said %q, want 0 and the error told", k.Config, code, words)
	}
	lan.WriteFile(t, k.Config, string(good))
	s := k.Site
	delivered(s, l, 2)
	k.end()
	if code, words := k.sendmail(l, "bob", letters.New("alice@one.test", 500), noNew...); code != 0 || words != "" {
		t.Errorf("without a daemon: exit code %d, said %q, want 0 and nothing", code, words)
	}
	if err := os.Chmod(s.Path("queue", "maildrop"), 0o700); err != nil {
		t.Fatal(err)
	}
	code, words := k.sendmail(l, "bob", letters.New("alice@one.test", 500), noNew...)
	lines := strings.Count(strings.TrimSpace(words), "\n") + 1
	if code != 75 || words == "" || lines > 2 {
		t.Errorf("without daemon and maildrop/: exit code %d, said %d lines: %q, want 75, what is wrong and a hint", code, lines, words)
	}
	recovered(s)
	l.Outcome(t, l.Snapshot(), 0, mailboxes(s), nil)
}

// TestReloadIsAllOrNothing is A80: on SIGHUP a configuration with an error
// changes nothing and the log says where it is; a good one is in force.
func TestReloadIsAllOrNothing(t *testing.T) {
	k := borderSite(t)
	size := func() string {
		conn, err := k.from.Dial(net.JoinHostPort(k.IP, k.port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		r := bufio.NewReader(conn)
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte("EHLO two.test\r\n"))
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if value, ok := strings.CutPrefix(line[4:], "SIZE "); ok {
				return strings.TrimSpace(value)
			}
			if line[3] == ' ' {
				return ""
			}
		}
	}
	old := size()
	k.Configure("listen="+k.IP+":25", "size=123456", "qretrun=3d")
	k.cmd.Process.Signal(syscall.SIGHUP)
	lan.Until(t, 10*time.Second, "the log tells of the error", func() bool { return lan.Contains(k.log.Name(), "qretrun") || lan.Contains(k.Site.Log, "qretrun") })
	if got := size(); got != old {
		t.Errorf("SIZE is %s after a bad reload, want %s", got, old)
	}
	k.Configure("listen="+k.IP+":25", "size=123456")
	k.cmd.Process.Signal(syscall.SIGHUP)
	lan.Until(t, 10*time.Second, "the good configuration is in force", func() bool { return size() == "123456" })
}

// TestTermWithOpenSession has SIGTERM come while a session is open: it gets 421,
// and the tree ends by itself.
func TestTermWithOpenSession(t *testing.T) {
	k := borderSite(t)
	conn, err := k.from.Dial(net.JoinHostPort(k.IP, k.port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	d, err := lan.NewDialogue(conn, "two.test")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Expect("MAIL FROM:<writer@two.test>", "250"); err != nil {
		t.Fatal(err)
	}
	k.cmd.Process.Signal(syscall.SIGTERM)
	if err := d.Expect("", "421"); err != nil {
		t.Errorf("the open session: %v, want 421", err)
	}
	k.Gone(20 * time.Second)
	<-k.done // gone sees a dead process before Wait has its exit code
	if code := k.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestBrokenListener shuts the listening socket down from outside, by a copy of
// the server's descriptor, and takes the port for a while: the server listens
// again when it is free, and nothing has exited (R53).
func TestBrokenListener(t *testing.T) {
	k := borderSite(t)
	before := k.Staff()
	server := k.PidOf("postoffice: server")
	if err := shutdownListener(t, server); err != nil {
		t.Fatal(err)
	}
	var taken net.Listener
	lan.Until(t, 10*time.Second, "the port is ours", func() bool {
		l, err := lan.Inside(k.Host, func() (net.Listener, error) { return net.Listen("tcp4", k.IP+":25") })
		taken = l
		return err == nil
	})
	lan.Until(t, 20*time.Second, "the server finds the port taken", func() bool {
		text := "address already in use"
		return lan.Contains(k.Site.Log, text) || lan.Contains(k.log.Name(), text)
	})
	taken.Close()
	lan.Until(t, 30*time.Second, "the server listens again", k.greets)
	for pid, argv0 := range before {
		if k.Family()[pid] != argv0 {
			t.Errorf("%s (%d) has exited", argv0, pid)
		}
	}
	l := letters.NewLedger()
	if err := k.send(l, letters.New("alice@one.test", 500)); err != nil {
		t.Error(err)
	}
}

// shutdownListener calls shutdown(2) on the TCP listeners of a process.
func shutdownListener(t *testing.T, pid int) error {
	t.Helper()
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	for fd, name := range descriptors(t, pid) {
		if !strings.HasPrefix(name, "socket:") {
			continue
		}
		ours, err := unix.PidfdGetfd(pidfd, fd, 0)
		if err != nil {
			continue // closed by now
		}
		family, err := unix.GetsockoptInt(ours, unix.SOL_SOCKET, unix.SO_DOMAIN)
		listens, err2 := unix.GetsockoptInt(ours, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err == nil && err2 == nil && family == unix.AF_INET && listens == 1 {
			err = unix.Shutdown(ours, unix.SHUT_RDWR)
		}
		unix.Close(ours)
		if err != nil {
			return err
		}
	}
	return nil
}

// TestServerThatDiesIsStartedAgain kills the server three times in a row: each
// time the next one comes later, mail submitted meanwhile waits, and the
// master stays.
func TestServerThatDiesIsStartedAgain(t *testing.T) {
	k := borderSite(t)
	l := letters.NewLedger()
	master := k.cmd.Process.Pid
	for n := range 3 {
		server := k.PidOf("postoffice: server")
		begin := time.Now()
		if err := syscall.Kill(server, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if n == 0 { // the socket is the master's: its backlog holds the session
			if code, words := k.sendmail(l, "bob", letters.New("alice@one.test", 500)); code != 0 && code != 75 {
				t.Errorf("sendmail meanwhile: exit code %d: %s", code, words)
			}
		}
		lan.Until(t, 20*time.Second, "a new server answers", func() bool { return k.greets() })
		if least := time.Duration(1<<n) * time.Second; time.Since(begin) < least {
			t.Errorf("death %d: a new server after %v, want a pause of %v", n+1, time.Since(begin), least)
		}
		if !k.running() || k.cmd.Process.Pid != master {
			t.Fatal("the master has ended")
		}
	}
	if err := k.send(l, letters.New("alice@one.test", 500)); err != nil {
		t.Error(err)
	}
	k.Drained(20 * time.Second)
	k.end()
	recovered(k.Site)
	l.Outcome(t, l.Snapshot(), 3, mailboxes(k.Site), nil)
}
