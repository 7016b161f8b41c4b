package applets

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/applets/service"
	"postoffice/internal/smtp"
)

// inetd is sendmail -bs as inetd starts it, with a connection for descriptors 0
// to 2. It returns the other end. As root it runs as nobody, whose the queue is.
func inetd(t *testing.T, dir string) (net.Conn, *exec.Cmd) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	f, err := theirs.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	defer f.Close()
	cmd := exec.Command("/proc/self/exe", "-C", filepath.Join(dir, "cf"), "-bs")
	cmd.Args[0] = "sendmail"
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = "/", f, f, f
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return ours, cmd
}

// inetdDir has a configuration, and a queue of whoever inetd runs as.
func inetdDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "inetd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cf := fmt.Sprintf("queue-dir=%s/q\nmail-dir=%[1]s\nrun-dir=%[1]s/run\ndb-dir=%[1]s/db\naliases=%[1]s/aliases\nhostname=us.example\nlog=file:%[1]s/log\n", dir)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "cf"), []byte(cf), 0o644), os.WriteFile(filepath.Join(dir, "aliases"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestInetd: the peer of -bs on an IP socket is a client of port 25, not a
// program of this machine, and its connection ends when it says QUIT.
func TestInetd(t *testing.T) {
	dir := inetdDir(t)
	uid := os.Getuid()
	if uid == 0 {
		uid = 65534
	}
	conn, cmd := inetd(t, dir)
	c := smtp.NewClient(conn, smtp.ClientOptions{Hello: "c.example"})
	for _, step := range []func() (smtp.Reply, error){c.Greeting, c.Hello} {
		if r, err := step(); err != nil || r.Class() != 2 {
			t.Fatalf("%v, %v", r, err)
		}
	}
	res, err := c.Send(smtp.Transaction{
		ReversePath: smtp.Path{Local: "amy", Domain: "far.example"},
		Recipients:  []smtp.Recipient{{Path: smtp.Path{Local: login(t, uid), Domain: "us.example"}}},
		Body:        strings.NewReader("Subject: x\n\nhello\n"),
	})
	if err != nil || res.Final.Class() != 2 {
		t.Errorf("%+v, %v", res, err)
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v", err)
	}
	got, err := os.ReadFile(filepath.Join(dir, login(t, uid)))
	want := regexp.MustCompile(`(?m)^Received: from c\.example \(localhost \[127\.0\.0\.1\]\)\n\tby us\.example \(postoffice\) with ESMTP id `)
	if err != nil || !want.Match(got) {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		t.Errorf("mailbox: %v\n%s\nlog:\n%s", err, got, log)
	}
	if strings.Contains(string(got), "X-Authentication-Warning") {
		t.Errorf("a client of the network is taken for a program:\n%s", got)
	}
}

// TestInetdTLS: a client of -bs on an IP socket is offered STARTTLS, with a certificate of
// DB-DIR, which is the same for the next one.
func TestInetdTLS(t *testing.T) {
	dir := inetdDir(t)
	var seen [2]string
	for i := range seen {
		conn, cmd := inetd(t, dir)
		c := smtp.NewClient(conn, smtp.ClientOptions{Hello: "c.example"})
		if r, err := c.Greeting(); err != nil || r.Class() != 2 {
			t.Fatalf("%v, %v", r, err)
		}
		if r, err := c.Hello(); err != nil || r.Class() != 2 {
			t.Fatalf("%v, %v", r, err)
		}
		if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
			t.Fatal(err)
		}
		if r, err := c.Hello(); err != nil || r.Class() != 2 {
			t.Fatalf("within TLS: %v, %v", r, err)
		}
		state, _ := c.TLS()
		seen[i] = string(state.PeerCertificates[0].Raw)
		if err := c.Quit(); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v", err)
		}
	}
	if seen[0] != seen[1] {
		t.Error("each session has a certificate of its own")
	}
}

// TestInetdBesideServer: the client is told to come again, nothing else.
func TestInetdBesideServer(t *testing.T) {
	dir := inetdDir(t)
	run, err := service.LockRunDir(filepath.Join(dir, "run"), -1)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	for path, mode := range map[string]os.FileMode{"run": 0o755, "run/lock": 0o644} {
		if err := os.Chmod(filepath.Join(dir, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	conn, cmd := inetd(t, dir)
	c := smtp.NewClient(conn, smtp.ClientOptions{})
	if r, _ := c.Greeting(); r.Code != 421 || strings.Contains(r.Text, "/") {
		t.Errorf("greeting: %v, want 421 and no path", r)
	}
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := conn.Read(make([]byte, 1)); n != 0 {
		t.Errorf("more after that: %v", err)
	}
	if cmd.Wait(); cmd.ProcessState.ExitCode() != 75 {
		t.Errorf("exit code %d, want 75", cmd.ProcessState.ExitCode())
	}
	if log, err := os.ReadFile(filepath.Join(dir, "log")); err != nil || !strings.Contains(string(log), "a mail server runs here") {
		t.Errorf("log: %v\n%s", err, log)
	}
}
