package applets

import (
	"bytes"
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

	"postoffice/applets/control"
	"postoffice/applets/service"
	"postoffice/internal/testenv"
)

// private is an ordinary user's mail system, as root nobody's, with real
// processes and a sink for a relay-host.
type private struct {
	t   *testing.T
	dir string
}

func newPrivate(t *testing.T, sink *testenv.Sink) private {
	t.Helper()
	dir := inetdDir(t)
	f, err := os.OpenFile(filepath.Join(dir, "cf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(sink.Start(t), ":")
	free, err := net.Listen("tcp", testenv.OwnAddress()+":0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, "relay-host=[%s]:%s\nlisten=%s\n", host, port, free.Addr())
	free.Close()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return private{t, dir}
}

func (p private) command(argv ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", append([]string{"-C", filepath.Join(p.dir, "cf")}, argv[1:]...)...)
	cmd.Args[0] = argv[0]
	cmd.Dir = "/"
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	return cmd
}

// run runs a program and returns its exit code and standard error.
func (p private) run(argv ...string) (int, string) {
	p.t.Helper()
	return p.send("Subject: x\n\nhello\n", argv...)
}

// send is run with a standard input.
func (p private) send(text string, argv ...string) (int, string) {
	p.t.Helper()
	cmd := p.command(argv...)
	cmd.Stdin = strings.NewReader(text)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), errs.String()
}

// serve runs a server until the test ends.
func (p private) serve() {
	p.t.Helper()
	cmd := p.command("smtpd", "-bD")
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	var err error
	if !testenv.Eventually(func() bool {
		client, failed := control.Dial(p.t.Context(), filepath.Join(p.dir, "run", service.Control))
		if err = failed; err == nil {
			client.Close()
		}
		return err == nil
	}) {
		p.t.Fatal(err)
	}
}

// TestWatchReal is -v, --wait and runq -v with real processes: where a server
// runs, and where none does.
func TestWatchReal(t *testing.T) {
	answer := func(ev testenv.Event) testenv.Action {
		switch {
		case ev.Verb == "RCPT" && strings.Contains(ev.Line, "<stranger"):
			return testenv.Action{Reply: "550 5.1.1 who is that"}
		case ev.Verb == "RCPT" && strings.Contains(ev.Line, "<later"):
			return testenv.Action{Reply: "450 4.2.1 not now"}
		}
		return testenv.Action{}
	}
	for _, daemon := range []bool{false, true} {
		t.Run(fmt.Sprintf("daemon %v", daemon), func(t *testing.T) {
			p := newPrivate(t, &testenv.Sink{Extensions: []string{"PIPELINING"}, Answer: answer})
			if daemon {
				p.serve()
			}
			code, said := p.run("sendmail", "-v", "friend@far.example")
			talk, outcome := conversation("friend"), regexp.MustCompile(`(?m)^sendmail: friend@far\.example: delivered: \[127.0.0.1\]:\d+ said: 250 .*\n`)
			if code != 0 || !outcome.MatchString(said) || !talk.MatchString(outcome.ReplaceAllString(said, "")) { // the end of the session may come later
				t.Errorf("-v: exit code %d, it said\n%swant\n%s", code, said, talk)
			}
			for _, tt := range []struct {
				to, words string
				code      int
			}{
				{"friend", "", 0},
				{"later", "later@far.example: not delivered yet: [127.0.0.1]:|said: 450 4.2.1 not now|need not be sent again", 75},
				{"stranger", "stranger@far.example: failed, and goes back to the sender: |said: 550 5.1.1 who is that|unknown", 67},
			} {
				code, said := p.run("sendmail", "--wait=30s", tt.to+"@far.example")
				if code != tt.code || !inOrder(said, tt.words) || tt.words == "" && said != "" {
					t.Errorf("--wait to %s: exit code %d, want %d, it said\n%s", tt.to, code, tt.code, said)
				}
			}
			if code, said := p.run("sendmail", "-odq", "-v", "friend@far.example"); code != 0 || said != "" {
				t.Errorf("-odq -v: exit code %d, it said\n%s", code, said)
			}
			code, said = p.run("runq", "-v")
			id := `runq: [0-9A-Z]+: `
			for _, want := range []string{`127\.0\.0\.1 << RCPT TO:<friend@far\.example>`, id + `friend@far\.example: delivered`, id + `later@far\.example: not delivered yet`} {
				if code != 0 || !regexp.MustCompile(want).MatchString(said) {
					t.Errorf("runq -v: exit code %d, no %q in what it said\n%s", code, want, said)
				}
			}
		})
	}
}

// conversation is what -v says of a message to one recipient.
func conversation(to string) *regexp.Regexp {
	said := []string{"OPEN", ">> 220 .*", "<< EHLO us.example", ">> 250-.*", ">> 250 .*",
		"<< MAIL FROM:<.*>", "<< RCPT TO:<" + to + "@far.example>", "<< DATA", ">> 250 .*", ">> 250 .*", ">> 354 .*", `<< \.`, ">> 250 .*",
		"<< QUIT", ">> 221 .*", "CLOSE"}
	const who = `      127\.0\.0\.1 `
	return regexp.MustCompile("^" + who + strings.Join(said, "\n"+who) + "\n$")
}

// TestAliasFaultKeepsMail: a line of the alias file that can't be understood,
// and a database that is damaged, refuse nothing to programs of this machine:
// the message waits, and what is told names file, line and command, in no
// library's words.
func TestAliasFaultKeepsMail(t *testing.T) {
	for _, daemon := range []bool{false, true} {
		for _, tt := range []struct{ name, file, text, words string }{
			{"line", "aliases", "team: boss\nspam: :blackhole:\n", `/aliases: line 2: alias spam: ":blackhole:" names nothing|mend it and run "newaliases"`},
			{"database", "aliases.db", strings.Repeat("x", 5000), `/aliases.db: damaged; run "newaliases"`},
		} {
			t.Run(fmt.Sprintf("%s, daemon %v", tt.name, daemon), func(t *testing.T) {
				p := newPrivate(t, &testenv.Sink{})
				path := filepath.Join(p.dir, tt.file)
				if err := os.WriteFile(path, []byte(tt.text), 0o644); err != nil {
					t.Fatal(err)
				}
				if os.Getuid() == 0 {
					if err := os.Chown(path, 65534, 65534); err != nil {
						t.Fatal(err)
					}
				}
				if daemon {
					p.serve()
				}
				if code, said := p.run("sendmail", "spam"); code != 0 || said != "" {
					t.Errorf("exit code %d, it said\n%s", code, said)
				}
				code, said := p.run("sendmail", "--wait=30s", "spam")
				if code != 75 || !inOrder(said, "not delivered yet|"+tt.words+"|need not be sent again") || strings.Contains(said, "pebble") {
					t.Errorf("--wait: exit code %d, it said\n%s", code, said)
				}
			})
		}
	}
}
