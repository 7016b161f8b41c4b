package shadow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/applets/privsep/birth"
	"postoffice/applets/smtpd/login"
	"postoffice/internal/account"
	"postoffice/internal/testenv"
)

// TestMain runs the process where this binary is started as one.
func TestMain(m *testing.M) {
	os.Exit(testenv.Main(m.Run, func(argv0 string) func() int {
		if argv0 != Role {
			return nil
		}
		return func() int {
			if err := Run(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return 0
		}
	}))
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestClosed: which lines of shadow(5) let nobody in, on the day 20,000.
func TestClosed(t *testing.T) {
	for line, want := range map[string]string{
		"$6$x$y:19000:0:99999:7:::": "", "$6$x$y:19000:0:99999:7:::more": "", "$6$x$y::::::": "", "$6$x$y:-1:-1:-1:-1:-1:-1:": "",
		"$6$x$y:21000:0:10:7:::":     "", // of a clock that was wrong
		"!$6$x$y:19000:0:99999:7:::": "locked", "!!:19000:0:99999:7:::": "locked", "*:19000:0:99999:7:::": "locked", ":19000:0:99999:7:::": "no password",
		"$6$x$y:19000:0:99999:7::20000:": "expired", "$6$x$y:19000:0:99999:7::0:": "expired", "$6$x$y:19000:0:99999:7::20001:": "",
		"$6$x$y:0:0:99999:7:::": "has to be changed", "$6$x$y:19990:0:10:7:::": "too old", "$6$x$y:19990:0:11:7:::": "", "$6$x$y:19990:0:10:7:30::": "too old",
		"$6$x$y:soon:0:99999:7:::": "no number", "$6$x$y:19000:0:99999:7::99999999999999999999:": "no number", "$6$x$y:19000:0": "too few", "$6$x$y": "too few",
	} {
		err := closedBy(strings.Split(line, ":"), 20000)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "$6$")) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// TestLine: what a file has of a name; one that is cut or empty has nothing to say (A36).
func TestLine(t *testing.T) {
	long := strings.Repeat("x", 2*maxLine)
	for _, tt := range []struct{ text, name, want string }{
		{"root:*:1\nalice:a:2\nalice:b:3\n", "alice", "[a 2]"},
		{"alice:a:2\n", "alic", "[]"}, {"alice:a:2\n", "Alice", "[]"}, {"alice:a:2\n", "", "[]"},
		{"long:" + long + "\nalice:a:2\n", "alice", "[a 2]"}, {"alice:" + long + "\nbob:b\n", "alice", "[]"},
		{"bob:" + long + "alice:a:2\nx:y\n", "alice", "[]"},
		{"alice:a:2\nbob:b", "alice", "breaks off"}, {"", "alice", "empty"}, {"\n", "alice", "[]"},
	} {
		fields, err := lineOf(strings.NewReader(tt.text), tt.name)
		got := fmt.Sprint(fields)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%.40q of %.40q: %.80s, want %s", tt.name, tt.text, got, tt.want)
		}
	}
}

// FuzzLine: a line that is found begins one of the file's.
func FuzzLine(f *testing.F) {
	f.Add("root:*:1\nalice:a:2\n", "alice")
	f.Fuzz(func(t *testing.T, text, name string) {
		if strings.ContainsAny(name, "\n:") {
			return // no name of passwd(5)
		}
		fields, err := lineOf(strings.NewReader(text), name)
		if err == nil && fields != nil && !strings.Contains("\n"+text, "\n"+name+":"+strings.Join(fields, ":")+"\n") {
			t.Errorf("%q of %q is %q", name, text, fields)
		}
		if fields != nil {
			closedBy(fields, 20000)
		}
	})
}

// machine are files of accounts, and what a master does with them.
type machine struct {
	dir  string
	pids []int
	ends []<-chan error
}

func newMachine(t *testing.T) *machine {
	m := &machine{dir: t.TempDir()}
	must(t, os.Chmod(m.dir, 0o755), os.Chmod(filepath.Dir(m.dir), 0o755))
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

// write puts a file in the place of another one, as passwd(1) does.
func (m *machine) write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	must(t, os.WriteFile(m.path(".new"), []byte(text), mode), os.Chmod(m.path(".new"), mode), os.Rename(m.path(".new"), m.path(name)))
}

// start starts a process for the files, which only root can read.
func (m *machine) start(context.Context) (*os.File, error) {
	p, err := Start(Options{
		Passwd: m.path("passwd"), Shadow: m.path("shadow"), UID: account.Shadow,
		Open: func() (*os.File, error) { return Open(m.path("shadow")) },
	})
	if err != nil {
		return nil, err
	}
	m.pids, m.ends = append(m.pids, p.PID()), append(m.ends, p.Ended)
	return p.Link, nil
}

// crypt is a hash by crypt(3) of the system.
func crypt(t *testing.T, password, setting string) string {
	t.Helper()
	out, err := exec.Command("perl", "-e", "print crypt($ARGV[0], $ARGV[1])", password, setting).Output()
	must(t, err)
	return string(out)
}

const someone = "root:x:0:0::/root:/bin/sh\nalice:x:1001:1001::/home/alice:/bin/bash\nBob:x:1002:1002::/home/bob:/usr/sbin/nologin\n" +
	"locked:x:1003:1003::/:/bin/sh\nbare:x:1004:1004::/:/bin/sh\nodd@us.example:x:1005:1005::/:/bin/sh\ntoor:x:0:0::/root:/bin/sh\nfresh:x:1006:1006::/:/bin/sh\n"

// TestProcess: a real process, which root alone could give the file, lets in whom login(1)
// would by a password, reads the file anew where another one takes its place, and is
// started again where it has ended.
func TestProcess(t *testing.T) {
	m := newMachine(t)
	hash := func(password string) string { return crypt(t, password, "$6$rounds=1000$salt$") }
	lines := fmt.Sprintf("root:%[1]s:19000::::::\nalice:%[2]s:19000:0:99999:7:::\nBob:%[1]s:19000:0:99999:7:::\nlocked:!%[1]s:19000:0:99999:7:::\nodd@us.example:%[1]s:19000::::::\ntoor:%[1]s:19000::::::\nfresh:%[1]s:0::::::\nghost:%[1]s:19000::::::\n",
		hash("sesame"), crypt(t, "sesame", "$y$j75$abc."))
	m.write(t, "passwd", someone, 0o644)
	m.write(t, "shadow", lines, 0o600)
	s := OnDemand(m.start)
	try := func(name, password string, want login.Answer, user string) {
		t.Helper()
		x := s.Begin(login.Client{}, login.Plain)
		defer x.Close()
		_, r := x.Step(t.Context(), []byte("\x00"+name+"\x00"+password))
		if r.Answer != want || r.User != user || r.Err != nil && (strings.Contains(r.Err.Error(), "$") || strings.Contains(r.Err.Error(), password)) {
			t.Errorf("%s with %q: %+v, want %v of %q", name, password, r, want, user)
		}
	}
	try("alice", "sesame", login.Yes, "alice")
	try("bob", "sesame", login.Yes, "Bob") // whatever the shell
	try("alice", "Sesame", login.No, "alice")
	for _, name := range []string{"locked", "bare", "root", "toor", "fresh"} {
		try(name, "sesame", login.No, name)
	}
	for _, name := range []string{"ghost", "nobody", "odd@us.example", "alice@us.example", "alice:x"} {
		try(name, "sesame", login.Unknown, "")
	}
	if got := s.Mechanisms(); len(got) != 1 || got[0].Name != login.Plain {
		t.Errorf("mechanisms %v", got)
	}
	m.write(t, "shadow", strings.ReplaceAll(lines, hash("sesame"), hash("another")), 0o600)
	try("bob", "sesame", login.No, "Bob")
	try("bob", "another", login.Yes, "Bob")
	m.write(t, "shadow", lines[:len(lines)-1], 0o600)
	try("alice", "sesame", login.Later, "")
	must(t, os.Remove(m.path("shadow")))
	try("alice", "sesame", login.Later, "")
	m.write(t, "shadow", lines, 0o600)
	try("alice", "sesame", login.Yes, "alice")
	m.looks(t)
	p, err := os.FindProcess(m.pids[0])
	must(t, err, p.Kill())
	<-m.ends[0]
	if !testenv.Eventually(func() bool { // the server sees it a moment later
		x := s.Begin(login.Client{}, login.Plain)
		defer x.Close()
		_, r := x.Step(t.Context(), []byte("\x00alice\x00sesame"))
		return r.Answer == login.Yes
	}) || len(m.pids) != 2 {
		t.Errorf("after a kill nobody can log in, processes %v", m.pids)
	}
}

// looks holds what the first process has.
func (m *machine) looks(t *testing.T) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.pids[0]))
	must(t, err)
	uid := account.Shadow
	if os.Getuid() != 0 {
		uid = os.Getuid()
	}
	for _, want := range []string{
		fmt.Sprintf("Uid:\t%d\t%d\t%d\t%d\n", uid, uid, uid, uid), "NoNewPrivs:\t1\n", "CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("status has no %q:\n%s", want, status)
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", m.pids[0]))
	if err != nil {
		return // only root may look
	}
	for _, fd := range fds {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", m.pids[0], fd.Name()))
		if strings.HasPrefix(to, "/") && to != os.DevNull && to != m.path("shadow") && !strings.HasPrefix(to, "/sys/fs/cgroup/") { // the runtime's
			t.Errorf("it has %s open", to)
		}
	}
}

// TestNoFile: why there is no file comes to who logs in, and the process ends with its
// link.
func TestNoFile(t *testing.T) {
	m := newMachine(t)
	m.write(t, "passwd", someone, 0o644)
	must(t, os.Mkdir(m.path("shadow"), 0o700))
	link, err := m.start(t.Context())
	must(t, err)
	s := OnDemand(func(context.Context) (*os.File, error) { return link, nil })
	_, r := s.Begin(login.Client{}, login.Plain).Step(t.Context(), []byte("\x00alice\x00sesame"))
	if r.Answer != login.Later || r.Err == nil || !strings.Contains(r.Err.Error(), "is no file") {
		t.Errorf("%+v", r)
	}
	other, err := m.start(t.Context())
	must(t, err, other.Close())
	if err := <-m.ends[1]; err != nil {
		t.Errorf("the process ended with %v", err)
	}
	if _, r := OnDemand(func(context.Context) (*os.File, error) { return nil, errors.New("no master") }).Begin(login.Client{}, login.Plain).Step(t.Context(), []byte("\x00a\x00b")); r.Answer != login.Later {
		t.Errorf("without a master: %+v", r)
	}
}

// TestHandOut: who says anything else than that it wants the file gets nothing more.
func TestHandOut(t *testing.T) {
	for _, say := range []string{"x", "??", "s/etc/passwd"} {
		ours, theirs, err := birth.Pair()
		must(t, err)
		conn, err := birth.Conn(theirs)
		must(t, err)
		opened := make(chan struct{}, 10)
		ended := make(chan struct{})
		go func() {
			handOut(ours, func() (*os.File, error) {
				opened <- struct{}{}
				return nil, errors.New(strings.Repeat("w", 2*maxWords))
			})
			close(ended)
		}()
		must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		_, err = conn.Write([]byte{askFile})
		must(t, err)
		what, text, f, err := hear(conn)
		if what != sayNone || len(text) != maxWords-1 || f != nil || err != nil {
			t.Errorf("%c, %d octets, %v, %v", what, len(text), f, err)
		}
		_, err = conn.Write([]byte(say))
		must(t, err)
		<-ended
		if len(opened) != 1 {
			t.Errorf("%q: the file was opened %d times", say, len(opened))
		}
		conn.Close()
	}
}
