package applets

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/applets/cmdline"
)

// watched is a server whose log is read as it comes.
type watched struct {
	t    *testing.T
	cmd  *exec.Cmd
	addr string
	log  *bufio.Scanner
}

// watch starts a server in the foreground, as root or as whoever may be nobody, with
// a socket of ours to listen on.
func watch(t *testing.T, root bool, argv ...string) *watched {
	t.Helper()
	dir := inetdDir(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // then its log ends
	t.Cleanup(cancel)
	w := &watched{t: t, addr: l.Addr().String(), cmd: exec.CommandContext(ctx, "/proc/self/exe", append(argv[1:], "-C", filepath.Join(dir, "cf"), "-oserver-user=nobody")...)}
	w.cmd.Args[0], w.cmd.Dir, w.cmd.ExtraFiles = argv[0], "/", []*os.File{f}
	w.cmd.Env = append(os.Environ(), "HOME="+dir, "LISTEN_FDS=1", "LISTEN_PID=0")
	if !root {
		w.cmd.Args = w.cmd.Args[:len(w.cmd.Args)-1] // it is root's to say
	}
	if os.Getuid() == 0 && !root {
		w.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := w.cmd.StderrPipe()
	if err == nil {
		err = w.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	w.log = bufio.NewScanner(out)
	return w
}

// until reads the log up to a line that has the words, and returns those before it.
func (w *watched) until(words string) (before string) {
	w.t.Helper()
	for w.log.Scan() {
		if strings.Contains(w.log.Text(), words) {
			return before
		}
		before += w.log.Text() + "\n"
	}
	w.t.Fatalf("the log ends without %q:\n%s", words, before)
	return ""
}

func (w *watched) signal(sig syscall.Signal) {
	w.t.Helper()
	if err := w.cmd.Process.Signal(sig); err != nil {
		w.t.Fatal(err)
	}
}

// say has a conversation with the server, a reply of one line for each.
func (w *watched) say(lines ...string) {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for _, line := range append([]string{""}, lines...) {
		if line != "" {
			conn.Write([]byte(line + "\r\n"))
		}
		if _, err := in.ReadString('\n'); err != nil {
			w.t.Fatalf("%q: %v", line, err)
		}
	}
}

// TestSignals: each start form of the original's audits with -a; SIGUSR1 turns that
// off and on again, SIGUSR2 does nothing, and SIGTSTP ends the server as SIGTERM.
func TestSignals(t *testing.T) { testSignals(t, false) }

func testSignals(t *testing.T, root bool) {
	for _, argv := range [][]string{
		{"postoffice", "-q5m", "-bD", "-a"},
		{"postoffice", "-a", "-d", "-bd"},
		{"smtpd", "-bD", "-a"},
	} {
		t.Run(strings.Join(argv, " "), func(t *testing.T) {
			w := watch(t, root, argv...)
			w.until("auditing on")
			w.say("HELO c.example", "QUIT")
			w.until("AUDIT:  0:      127.0.0.1:CONN:220:")
			w.until("AUDIT:  0:      127.0.0.1:HELO:250:HELO c.example")
			w.until("AUDIT:  0:      127.0.0.1:QUIT:221:")
			w.signal(syscall.SIGUSR1)
			w.until("auditing off")
			w.signal(syscall.SIGUSR2)
			w.say("HELO c.example", "QUIT")
			w.signal(syscall.SIGUSR1)
			if before := w.until("auditing on"); strings.Contains(before, "AUDIT:") || !strings.Contains(before, "client connected") {
				t.Errorf("while auditing is off, the log has:\n%s", before)
			}
			w.signal(syscall.SIGTSTP)
			for w.log.Scan() { // to the end of all its processes
			}
			if err := w.cmd.Wait(); err != nil {
				t.Errorf("after SIGTSTP: %v", err)
			}
		})
	}
}

// TestPlainNames: under the name postoffice, and under any that no program has, a
// flag that comes first makes it sendmail with the flags that the original had there
// (S12): what is not known there is told, and what the original ignored is taken.
func TestPlainNames(t *testing.T) {
	for _, tt := range []struct {
		argv string // parted by |
		code int
		want string // on standard error
	}{
		{"postoffice|-bX", 64, "postoffice: mode -bX is not known\n"},
		{"mta|-bX", 64, "mta: mode -bX is not known\n"},
		{"/opt/Mail|-a|-d|-A|x|-B|8BITMIME|-h|3|-G|-U|-i|-m|-n|-v|-R|192.0.2.1|-bX", 64, "Mail: mode -bX is not known\n"},
		{"postoffice|-bd|-q45x", 64, "postoffice: -q45x: want a time such as 30m, 2h or 1h30m\n"},
		{"postoffice|-Z", 64, "postoffice: no flag -Z\n"},
		{"postoffice|-a|-C|/nonexistent/cf|-bd", 66, "postoffice: /nonexistent/cf: "},
		{"smtpd|-a|-R|192.0.2.1|-A|x|-B|x|-h|3|-G|-U|-m|-n|-v|-bX", 64, "smtpd: mode -bX is not smtpd's\n"},
		{"sendmail|-a|-bX", 64, "sendmail: no flag -a\n"},
		{"postoffice|nosuch|-bX", 64, "postoffice: no applet \"nosuch\"\n"},
		{"mta|nosuch", 64, "mta: no applet \"nosuch\"\n"},
	} {
		var out, errs bytes.Buffer
		env := &cmdline.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
		code := programs().Run(t.Context(), env, strings.Split(tt.argv, "|"))
		if code != tt.code || !strings.HasPrefix(errs.String(), tt.want) || out.Len() > 0 {
			t.Errorf("%q: exit code %d, %q, want %d, %q", tt.argv, code, errs.String(), tt.code, tt.want)
		}
	}
}
