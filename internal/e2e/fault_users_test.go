//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// scratch is a directory of the host that belongs to a user.
func (h *host) scratch(name string, uid int) string {
	h.t.Helper()
	dir := h.path(name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Chown(dir, uid, uid); err != nil {
		h.t.Fatal(err)
	}
	return dir
}

// program writes a shell script that anybody may run.
func (h *host) program(name, text string) string {
	h.t.Helper()
	file := h.path(name)
	writeFile(h.t, file, "#!/bin/sh\n"+text)
	if err := os.Chmod(file, 0o755); err != nil {
		h.t.Fatal(err)
	}
	return file
}

// TestProgramsOfUsers sends real messages to a program of an alias and to one
// of a .forward, and looks at what they have: the ids and groups of default-user
// and of alice, descriptors 0 to 2 and no other although the master was started
// with one on /etc/shadow, umask 077, the right to run set-id programs, and no
// variable of ours (A43, A77).
func TestProgramsOfUsers(t *testing.T) {
	k := borderSite(t, "sh", "-c", `exec 9</etc/shadow; exec "$@"`, "sh")
	group := filepath.Join("/etc/netns", k.ns, "group")
	text, err := os.ReadFile(group)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, group, string(text)+"staff:x:950:bob,alice\nothers:x:951:bob\n")
	show := k.program("show", `d=$1; : >$d/made
{ id; ls -l /proc/self/fd; grep -E '^(Uid|Gid|Groups|NoNewPrivs|CapEff|SigIgn|SigBlk):' /proc/self/status; umask; pwd; env; cat; } >$d/new 2>&1
mv $d/new $d/shown
`)
	nobody, alice := k.scratch("nobodys", 65534), k.scratch("alices", 2001)
	writeFile(t, k.path("aliases"), "prog: \"|"+show+" "+nobody+"\"\n")
	writeFile(t, k.path("home", "alice", ".forward"), "|"+show+" "+alice+"\n")
	if err := os.Chown(k.path("home", "alice", ".forward"), 2001, 2001); err != nil {
		t.Fatal(err)
	}
	l := newLedger()
	for _, to := range []string{"prog@one.test", "alice@one.test"} {
		if err := k.send(l, newLetter(to, 3000)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		dir, ids, groups string
		uid              int
	}{
		{nobody, "65534", "65534", 65534},
		{alice, "2001", "950 2001", 2001},
	} {
		file := filepath.Join(tt.dir, "shown")
		until(t, 30*time.Second, file+" is there", func() bool { return contains(file, "writer@two.test") })
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(strings.ReplaceAll(string(b), "\t", " "), "\n", " \n") // status ends lists in a blank
		got = strings.ReplaceAll(got, "  \n", " \n")
		got = strings.ReplaceAll(got, "SigIgn: 0000000080000000", "SigIgn: 0000000000000000") // glibc's own, if make started us
		for _, want := range []string{
			"Uid: " + strings.Repeat(tt.ids+" ", 4), "Gid: " + strings.Repeat(tt.ids+" ", 4), "Groups: " + tt.groups + " \n",
			"NoNewPrivs: 0 ", "CapEff: 0000000000000000 ", "SigBlk: 0000000000000000 ", "SigIgn: 0000000000000000 ", "\n0077 ",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", tt.dir, want, got)
			}
		}
		for _, fd := range regexp.MustCompile(`(?m) (\d+) -> (.*)$`).FindAllStringSubmatch(got, -1) {
			if fd[1] > "2" && !strings.HasPrefix(fd[2], "/proc/") { // ls's own
				t.Errorf("%s: A77: descriptor %s is %s", tt.dir, fd[1], fd[2])
			}
		}
		info, err := os.Stat(filepath.Join(tt.dir, "made"))
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != tt.uid || int(st.Gid) != tt.uid || info.Mode() != 0o600 {
			t.Errorf("%s: a new file has uid %d, gid %d, mode %v, want %d, %[5]d, 0600", tt.dir, st.Uid, st.Gid, info.Mode(), tt.uid)
		}
	}
	for pid, argv0 := range k.family() {
		user, ok := strings.CutPrefix(argv0, "postoffice: user ")
		for _, ids := range uids(t, pid) {
			if want := map[string]string{"nobody": "65534 65534 65534 65534", "alice": "2001 2001 2001 2001"}[user]; ok && ids != want {
				t.Errorf("%s has ids %s, want %s", argv0, ids, want)
			}
		}
	}
	k.drained(20 * time.Second)
	k.end()
}

// TestServerKilledWhileAProgramRuns kills the server, and then the whole tree,
// while programs run: each message is run once or twice, none is lost, and no
// program of the killed tree is left behind.
func TestServerKilledWhileAProgramRuns(t *testing.T) {
	k := borderSite(t)
	dir := k.scratch("runs", 65534)
	gate := k.path("gate") // a FIFO: each run waits for one line of it
	if err := syscall.Mkfifo(gate, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(gate, 0o666); err != nil {
		t.Fatal(err)
	}
	hold := k.program("hold", `cat >/dev/null; echo begun >>$1/begun; read line <$2; echo run >>$1/run`)
	writeFile(t, k.path("aliases"), "slow: \"|"+hold+" "+dir+" "+gate+"\"\n")
	count := func(name string) int {
		b, _ := os.ReadFile(filepath.Join(dir, name))
		return strings.Count(string(b), "\n")
	}
	l := newLedger()
	send := func() {
		t.Helper()
		if err := k.send(l, newLetter("slow@one.test", 2000)); err != nil {
			t.Fatal(err)
		}
	}
	send()
	until(t, 20*time.Second, "the program runs", func() bool { return count("begun") == 1 })
	if err := syscall.Kill(k.pidOf("postoffice: server"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, 30*time.Second, "a new server answers", k.greets)
	open := func() *os.File {
		f, err := os.OpenFile(gate, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	f := open()
	f.WriteString("go\n")
	until(t, 20*time.Second, "it is over", func() bool { return count("run") == 1 })
	k.applet("runq")
	f.WriteString("go\n") // if it runs again
	k.drained(40 * time.Second)
	if n := count("run"); n < 1 || n > 2 {
		t.Errorf("%d runs after the server was killed, want 1 or 2", n)
	}
	f.Close()

	begun, ran := count("begun"), count("run")
	if err := os.Remove(gate); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(gate, 0o666); err != nil {
		t.Fatal(err)
	}
	os.Chmod(gate, 0o666)
	send()
	until(t, 20*time.Second, "the program runs", func() bool { return count("begun") == begun+1 })
	if err := k.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-k.done
	k.gone(20 * time.Second)
	until(t, 10*time.Second, "the program is ended", func() bool {
		out, _ := k.try("pgrep", "-f", hold)
		return strings.TrimSpace(out) == ""
	})
	k.up()
	until(t, 40*time.Second, "the program runs again", func() bool {
		k.tryApplet("", "runq")
		return count("begun") == begun+2
	})
	open().WriteString("go\n")
	k.drained(40 * time.Second)
	if n := count("run") - ran; n != 1 {
		t.Errorf("%d runs after the tree was killed, want 1: the first was ended", n)
	}
}

// TestWhoOwnsWhatB53: what a .forward or an alias makes belongs to the user
// whose it is, also where two forward to each other.
func TestWhoOwnsWhatB53(t *testing.T) {
	k := borderSite(t)
	forward := func(user string, uid int, text string) {
		t.Helper()
		file := k.path("home", user, ".forward")
		writeFile(t, file, text)
		if err := os.Chown(file, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	nobodys, carols := k.scratch("nobodys", 65534), k.scratch("carols", 2003)
	writeFile(t, k.path("aliases"), "archive: "+nobodys+"/box\n")
	forward("alice", 2001, "bob\n")
	forward("bob", 2002, "alice\n")
	forward("carol", 2003, carols+"/box, \\carol\n")
	l := newLedger()
	for _, to := range []string{"alice@one.test", "carol@one.test", "archive@one.test"} {
		if err := k.send(l, newLetter(to, 500)); err != nil {
			t.Fatal(err)
		}
	}
	k.drained(30 * time.Second)
	owner := func(file string) int {
		info, err := os.Stat(file)
		if err != nil {
			return -1
		}
		return int(info.Sys().(*syscall.Stat_t).Uid)
	}
	for file, uid := range map[string]int{
		k.mailbox("alice"): 2001, k.mailbox("bob"): -1, k.mailbox("carol"): 2003,
		nobodys + "/box": 65534, carols + "/box": 2003,
	} {
		if got := owner(file); got != uid {
			t.Errorf("%s belongs to uid %d, want %d (-1: not there)", file, got, uid)
		}
	}
}

// TestTermWhileAProgramRuns ends the server while a program runs that never
// ends: all is over within 20 seconds, the program too, and the message waits.
func TestTermWhileAProgramRuns(t *testing.T) {
	k := borderSite(t)
	dir := k.scratch("runs", 65534)
	sleep := k.program("sleeper", `echo begun >>$1/begun; sleep 1000`)
	writeFile(t, k.path("aliases"), "slow: \"|"+sleep+" "+dir+"\"\n")
	if err := k.send(newLedger(), newLetter("slow@one.test", 2000)); err != nil {
		t.Fatal(err)
	}
	until(t, 20*time.Second, "the program runs", func() bool { return contains(dir+"/begun", "begun") })
	k.cmd.Process.Signal(syscall.SIGTERM)
	k.gone(20 * time.Second)
	<-k.done
	if code := k.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if out, _ := k.try("pgrep", "-f", sleep); strings.TrimSpace(out) != "" {
		t.Errorf("the program still runs: %s", out)
	}
	if out := k.applet("mailq"); !strings.Contains(out, "writer@two.test") {
		t.Errorf("the message is not in the queue: %s", out)
	}
}
