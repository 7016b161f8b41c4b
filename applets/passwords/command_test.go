package passwords

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postoffice/internal/testenv"
)

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

// commandUser is who runs the commands of tests: somebody else for root, else ourselves.
func commandUser(t *testing.T) string {
	t.Helper()
	if os.Geteuid() == 0 {
		return "nobody"
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return me.Username
}

// TestCommand: what the file doesn't name the command prints, as its user; it has one
// line and ten seconds, and is not root's.
func TestCommand(t *testing.T) {
	who := commandUser(t)
	dir := t.TempDir()
	for d := dir; d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program := func(text string) string {
		name := filepath.Join(dir, fmt.Sprint(len(text)))
		if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return who + ":" + name
	}
	uid := fmt.Sprint(os.Geteuid())
	if u, err := user.Lookup(who); err == nil {
		uid = u.Uid
	}
	for _, tt := range []struct{ name, command, want, err string }{
		{"a line", program("echo tok en"), "tok en", ""},
		{"without its end", program("printf token"), "token", ""},
		{"its words, user and question", program(`echo "$(id -u) $RELAY_USER $RELAY_HOST $1 $2"`) + " a b", uid + " u h a b", ""},
		{"nothing", program("true"), "", "printed nothing"},
		{"two lines", program("echo a; echo b"), "", "more than one line"},
		{"too much", program("head -c 1000000 /dev/zero | tr '\\0' x"), "", "more than 4096 octets"},
		{"it fails", program("echo token; exit 3"), "", "exit status 3"},
		{"it isn't there", who + ":/nonexistent/x", "", "no such file"},
		{"root's", "root:/bin/echo x", "", "never run as root"},
		{"nobody of that name", "no-such-user-here:/bin/echo x", "", "no-such-user-here"},
	} {
		s := NewSource(Options{File: write(t, "h known geheim\n", 0o600), Command: tt.command})
		got, err := s.Password(t.Context(), "h", "u", false)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %q, %v; want %q, %q", tt.name, got, err, tt.want, tt.err)
		}
		if got, err := s.Password(t.Context(), "h", "known", false); got != "geheim" {
			t.Errorf("%s: what the file names: %q, %v", tt.name, got, err)
		}
	}
}

// TestCommandBrokenOff: a command that comes to no end is killed, and what it has started.
func TestCommandBrokenOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := request{Command: "/bin/sh " + script(t, "(echo up; exec sleep 1000) >"+fifo+" & wait")}.run(ctx)
		ended <- err
	}()
	f, err := os.Open(fifo)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewReader(f)
	if line, err := in.ReadString('\n'); line != "up\n" {
		t.Fatal(line, err)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("it came to an end")
	}
	if _, err := in.ReadByte(); err != io.EOF { // nobody holds the other end any more
		t.Error(err)
	}
}

// script writes a shell script.
func script(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(name, []byte(text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestCommandOften: however often somebody asks, the command runs once in a while.
func TestCommandOften(t *testing.T) {
	who := commandUser(t)
	dir := t.TempDir()
	for d := dir; d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "count")
	if err := os.WriteFile(name, []byte("#!/bin/sh\necho x >>"+dir+"/runs\nwc -l <"+dir+"/runs\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := NewSource(Options{Command: who + ":" + name})
	for range 5 {
		if got, err := s.Password(t.Context(), "h", "u", true); strings.TrimSpace(got) != "1" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if got, err := s.Password(t.Context(), "h", "other", true); strings.TrimSpace(got) != "2" {
		t.Errorf("another user: %q, %v", got, err)
	}
	s.Use(*s.now.Load()) // as after SIGHUP
	if got, err := s.Password(t.Context(), "h", "u", true); strings.TrimSpace(got) != "3" {
		t.Errorf("after new settings: %q, %v", got, err)
	}
}
