//go:build e2e

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/e2e/letters"
)

// TestProgramsOfUsers sends real messages to a program of an alias and to one
// of a .forward, and looks at what they have: the ids and groups of default-user
// and of alice, descriptors 0 to 2 and no other although the master was started
// with one on /etc/shadow, umask 077, the right to run set-id programs, and no
// variable of ours (A43, A77).
func TestProgramsOfUsers(t *testing.T) {
	k := borderSite(t, "sh", "-c", `exec 9</etc/shadow; exec "$@"`, "sh")
	group := k.Path("etc", "group")
	text, err := os.ReadFile(group)
	if err != nil {
		t.Fatal(err)
	}
	lan.WriteFile(t, group, string(text)+"staff:x:950:bob,alice\nothers:x:951:bob\n")
	show := k.Program("show", `d=$1; : >$d/made
{ id; ls -l /proc/self/fd; grep -E '^(Uid|Gid|Groups|NoNewPrivs|CapEff|SigIgn|SigBlk):' /proc/self/status; umask; pwd; env; cat; } >$d/new 2>&1
mv $d/new $d/shown
`)
	nobody, alice := k.Scratch("nobodys", 65534), k.Scratch("alices", 2001)
	lan.WriteFile(t, k.Path("aliases"), "prog: \"|"+show+" "+nobody+"\"\n")
	lan.WriteFile(t, k.Path("home", "alice", ".forward"), "|"+show+" "+alice+"\n")
	if err := os.Chown(k.Path("home", "alice", ".forward"), 2001, 2001); err != nil {
		t.Fatal(err)
	}
	l := letters.NewLedger()
	for _, to := range []string{"prog@one.test", "alice@one.test"} {
		if err := k.send(l, letters.New(to, 3000)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		dir, uids, gids, groups string
		uid, gid                int
	}{
		{nobody, "65534", "65533", "65533", 65534, 65533},
		{alice, "2001", "2001", "950 2001", 2001, 2001},
	} {
		file := filepath.Join(tt.dir, "shown")
		lan.Until(t, 30*time.Second, file+" is there", func() bool { return lan.Contains(file, "writer@two.test") })
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(strings.ReplaceAll(string(b), "\t", " "), "\n", " \n") // status ends lists in a blank
		got = strings.ReplaceAll(got, "  \n", " \n")
		got = strings.ReplaceAll(got, "SigIgn: 0000000080000000", "SigIgn: 0000000000000000") // glibc's own, if make started us
		for _, want := range []string{
			"Uid: " + strings.Repeat(tt.uids+" ", 4), "Gid: " + strings.Repeat(tt.gids+" ", 4), "Groups: " + tt.groups + " \n",
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
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != tt.uid || int(st.Gid) != tt.gid || info.Mode() != 0o600 {
			t.Errorf("%s: a new file has uid %d, gid %d, mode %v, want %d, %d, 0600", tt.dir, st.Uid, st.Gid, info.Mode(), tt.uid, tt.gid)
		}
	}
	for pid, argv0 := range k.Family() {
		user, ok := strings.CutPrefix(argv0, "postoffice: user ")
		for _, ids := range uids(t, pid) {
			if want := map[string]string{"nobody": "65534 65534 65534 65534", "alice": "2001 2001 2001 2001"}[user]; ok && ids != want {
				t.Errorf("%s has ids %s, want %s", argv0, ids, want)
			}
		}
		wantCaps(t, pid, argv0)
	}
	k.Drained(20 * time.Second)
	k.end()
}

// wantCaps looks at the capabilities of each thread of a running server's
// process: the master has what it uses (setuid, setgid, setpcap, kill, chown,
// dac_override, net_bind_service), the others have none, and the server can't get
// one. What users' processes start may, as sudo(8) needs it.
func wantCaps(t *testing.T, pid int, argv0 string) {
	t.Helper()
	const none = "0000000000000000"
	want := map[string]string{"CapInh": none, "CapPrm": none, "CapEff": none, "CapAmb": none}
	switch {
	case argv0 == "postoffice: server", argv0 == "postoffice: signer":
		want["CapBnd"] = none
	case !strings.HasPrefix(argv0, "postoffice: user "):
		want["CapPrm"], want["CapEff"] = "00000000000005e3", "00000000000005e3"
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			continue // it has just ended
		}
		for line := range strings.Lines(string(b)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
			if w, ok := want[name]; ok && value != w {
				t.Errorf("%s, thread %s: %s %s, want %s", argv0, task, name, value, w)
			}
		}
	}
}

// TestServerKilledWhileAProgramRuns kills the server, and then the whole tree,
// while programs run: each message is run once or twice, none is lost, and no
// program of the killed tree is left behind.
func TestServerKilledWhileAProgramRuns(t *testing.T) {
	k := borderSite(t)
	dir := k.Scratch("runs", 65534)
	gate := k.Path("gate") // a FIFO: each run waits for one line of it
	if err := syscall.Mkfifo(gate, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(gate, 0o666); err != nil {
		t.Fatal(err)
	}
	hold := k.Program("hold", `cat >/dev/null; echo begun >>$1/begun; read line <$2; echo run >>$1/run`)
	lan.WriteFile(t, k.Path("aliases"), "slow: \"|"+hold+" "+dir+" "+gate+"\"\n")
	count := func(name string) int {
		b, _ := os.ReadFile(filepath.Join(dir, name))
		return strings.Count(string(b), "\n")
	}
	l := letters.NewLedger()
	send := func() {
		t.Helper()
		if err := k.send(l, letters.New("slow@one.test", 2000)); err != nil {
			t.Fatal(err)
		}
	}
	send()
	lan.Until(t, 20*time.Second, "the program runs", func() bool { return count("begun") == 1 })
	if err := syscall.Kill(k.PidOf("postoffice: server"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	lan.Until(t, 30*time.Second, "a new server answers", k.greets)
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
	lan.Until(t, 20*time.Second, "it is over", func() bool { return count("run") == 1 })
	k.Applet("runq")
	f.WriteString("go\n") // if it runs again
	k.Drained(40 * time.Second)
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
	lan.Until(t, 20*time.Second, "the program runs", func() bool { return count("begun") == begun+1 })
	if err := k.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-k.done
	k.Gone(20 * time.Second)
	lan.Until(t, 10*time.Second, "the program is ended", func() bool {
		out, _ := k.Try("pgrep", "-f", hold)
		return strings.TrimSpace(out) == ""
	})
	k.up()
	lan.Until(t, 40*time.Second, "the program runs again", func() bool {
		k.TryApplet("", "runq")
		return count("begun") == begun+2
	})
	open().WriteString("go\n")
	k.Drained(40 * time.Second)
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
		file := k.Path("home", user, ".forward")
		lan.WriteFile(t, file, text)
		if err := os.Chown(file, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	nobodys, carols := k.Scratch("nobodys", 65534), k.Scratch("carols", 2003)
	lan.WriteFile(t, k.Path("aliases"), "archive: "+nobodys+"/box\n")
	forward("alice", 2001, "bob\n")
	forward("bob", 2002, "alice\n")
	forward("carol", 2003, carols+"/box, \\carol\n")
	l := letters.NewLedger()
	for _, to := range []string{"alice@one.test", "carol@one.test", "archive@one.test"} {
		if err := k.send(l, letters.New(to, 500)); err != nil {
			t.Fatal(err)
		}
	}
	k.Drained(30 * time.Second)
	owner := func(file string) int {
		info, err := os.Stat(file)
		if err != nil {
			return -1
		}
		return int(info.Sys().(*syscall.Stat_t).Uid)
	}
	for file, uid := range map[string]int{
		k.Mailbox("alice"): 2001, k.Mailbox("bob"): -1, k.Mailbox("carol"): 2003,
		nobodys + "/box": 65534, carols + "/box": 2003,
	} {
		if got := owner(file); got != uid {
			t.Errorf("%s belongs to uid %d, want %d (-1: not there)", file, got, uid)
		}
	}
}

// TestTermWhileAProgramRuns ends the server while a program runs that never
// ends, whatever it is asked: all ends by itself, the program too, and
// the message waits.
func TestTermWhileAProgramRuns(t *testing.T) {
	k := borderSite(t)
	dir := k.Scratch("runs", 65534)
	sleep := k.Program("sleeper", `trap "" TERM; echo begun >>$1/begun; sleep 1000`)
	lan.WriteFile(t, k.Path("aliases"), "slow: \"|"+sleep+" "+dir+"\"\n")
	if err := k.send(letters.NewLedger(), letters.New("slow@one.test", 2000)); err != nil {
		t.Fatal(err)
	}
	lan.Until(t, 20*time.Second, "the program runs", func() bool { return lan.Contains(dir+"/begun", "begun") })
	k.cmd.Process.Signal(syscall.SIGTERM)
	k.Gone(20 * time.Second)
	<-k.done
	if code := k.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if out, _ := k.Try("pgrep", "-f", sleep); strings.TrimSpace(out) != "" {
		t.Errorf("the program still runs: %s", out)
	}
	if out := k.Applet("mailq"); !strings.Contains(out, "writer@two.test") {
		t.Errorf("the message is not in the queue: %s", out)
	}
}
