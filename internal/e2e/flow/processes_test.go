//go:build e2e

package flow

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestNames: pgrep finds master, server and users' processes by the name that
// killall takes, in the foreground and in the background, whatever name the server
// was started by; ps shows which is which, and a SIGHUP to all of them is one to
// the master.
func TestNames(t *testing.T) {
	s := lan.New(t).Host("one.test").Install()
	gate := s.Path("gate")
	if err := syscall.Mkfifo(gate, 0o666); err != nil {
		t.Fatal(err)
	}
	os.Chmod(gate, 0o666)
	lan.WriteFile(t, s.Path("aliases"), "wait: \"|read line <"+gate+"\"\n")
	for _, mode := range []string{"foreground", "background"} {
		t.Run(mode, func(t *testing.T) {
			s := s.On(t)
			stop := func() { syscall.Kill(s.PidOf("postoffice: master"), syscall.SIGTERM) }
			want := []string{"postoffice: master", "postoffice: server", "postoffice: signer", "postoffice: user nobody"}
			if mode == "foreground" {
				p := s.Serve()
				stop, want[0] = p.Stop, lan.Applet("smtpd")
			} else {
				s.Applet("smtpd")
			}
			s.Submit("alice", "Subject: x\n\n", "wait")
			slices.Sort(want)
			var family map[int]string
			lan.Until(t, 20*time.Second, fmt.Sprintf("the processes are %q", want), func() bool {
				family = s.Family() // one that begins has its parent's name for a moment, and then that of its file
				for pid := range family {
					if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err != nil || string(comm) != "postoffice\n" {
						return false
					}
				}
				return slices.Equal(slices.Sorted(maps.Values(family)), want)
			})
			found := strings.Fields(s.Run("pgrep", "-x", "postoffice"))
			for pid, name := range family {
				if !slices.Contains(found, fmt.Sprint(pid)) {
					t.Errorf("pgrep -x postoffice doesn't find %s (%d): %v", name, pid, found)
				}
				if args := s.Run("ps", "-o", "comm=,args=", "-p", fmt.Sprint(pid)); !strings.HasPrefix(args, "postoffice ") || !strings.Contains(args, name) {
					t.Errorf("ps shows %q for %s", args, name)
				}
			}
			for pid := range family {
				syscall.Kill(pid, syscall.SIGHUP)
			}
			lan.Until(t, 20*time.Second, "the configuration is read", func() bool { return lan.Contains(s.Log, "configuration read anew") })
			if after := s.Family(); !maps.Equal(after, family) {
				t.Errorf("after SIGHUP to each: %v, before %v", after, family)
			}
			lan.WriteFile(t, gate, "go\n")
			s.Drained(20 * time.Second)
			stop()
			s.Gone(20 * time.Second)
			os.Remove(s.Log)
		})
	}
}

// TestContainer has the server as process 1 of a PID namespace, as the program of
// a container is: what programs leave behind is reaped there, and SIGTERM to
// process 1 ends all of it.
func TestContainer(t *testing.T) {
	s := lan.New(t).Host("one.test").Install()
	lan.WriteFile(t, s.Path("aliases"), "orphans: \"|sleep 0.1 & sleep 0.1 & echo run >>"+s.Scratch("runs", lan.Nobody.UID)+"/runs\"\n")
	p := s.Start(s.Command(context.Background(), "unshare", "--pid", "--fork", "--mount-proc", lan.Applet("smtpd"), "-bD", "-C", s.Config))
	s.Listening("25")
	first := 0
	for pid := range s.Family() {
		if strings.HasSuffix(status(pid, "NSpid"), "\t1") {
			first = pid
		}
	}
	if first == 0 {
		t.Fatalf("no process 1 among %v", s.Family())
	}
	const messages = 5
	for range messages {
		s.Submit("alice", "Subject: x\n\n", "orphans")
	}
	s.Drained(20 * time.Second)
	if runs, err := os.ReadFile(s.Path("runs", "runs")); strings.Count(string(runs), "run") != messages {
		t.Errorf("%d runs, %v, want %d", strings.Count(string(runs), "run"), err, messages)
	}
	lan.Until(t, 20*time.Second, "no orphan is left", func() bool {
		out := s.Run("ps", "-o", "pid=,stat=,args=", "--ppid", fmt.Sprint(first))
		return strings.Count(out, "\n") == 1 && !strings.Contains(out, "defunct")
	})
	if err := syscall.Kill(first, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.Gone(20 * time.Second)
	<-p.Done
	if code := p.Cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestTimeZone: the TZ that the server was started with is that of its log, of
// the Received field, and of programs; one that names a file is nobody's.
func TestTimeZone(t *testing.T) {
	for _, mode := range lan.Modes {
		t.Run(mode.Name, func(t *testing.T) {
			s := mode.Install(lan.New(t).Host("one.test"))
			forward := s.Path("home", "alice", ".forward")
			lan.WriteFile(t, forward, "\\alice, \"|env >"+s.Path("home", "alice", "env")+"\"\n")
			os.Chown(forward, lan.Alice.UID, lan.Alice.GID)
			for tz, counts := range map[string]bool{"Etc/GMT-14": true, "/usr/share/zoneinfo/Etc/GMT-14": false} {
				os.Remove(s.Log)
				os.Remove(s.Mailbox("alice"))
				cmd := s.Command(context.Background(), "env", "TZ="+tz, lan.Applet("smtpd"), "-bD", "-C", s.Config)
				if s.User != "" {
					cmd = s.As(context.Background(), s.User, "env", "TZ="+tz, lan.Applet("smtpd"), "-bD", "-C", s.Config)
				}
				p := s.Start(cmd)
				s.Listening(mode.Port)
				s.Submit("alice", "Subject: x\n\n", "alice")
				s.Drained(20 * time.Second)
				p.Stop()
				for _, tt := range []struct{ file, want string }{
					{s.Log, "+14:00 smtpd["},
					{s.Mailbox("alice"), " +1400\n"},
					{s.Path("home", "alice", "env"), "TZ="},
				} {
					if b, err := os.ReadFile(tt.file); err != nil || strings.Contains(string(b), tt.want) != counts {
						t.Errorf("TZ=%s: %v, %q in %s is to be %v:\n%s", tz, err, tt.want, tt.file, counts, lan.Tail(string(b), 5))
					}
				}
			}
		})
	}
}

// TestTermOfAUsersServer is SIGTERM to a server that one user has, while a program
// runs that ignores it: all is over, the program too, and the message stays. The
// tests of faults have the same of a root tree.
func TestTermOfAUsersServer(t *testing.T) {
	s := lan.New(t).Host("one.test").InstallFor(lan.Alice)
	program, begun := s.Path("home", "alice", "program"), s.Path("home", "alice", "begun")
	lan.WriteFile(t, program, "#!/bin/sh\ntrap '' TERM\necho begun >"+begun+"\nsleep 1000\n")
	os.Chmod(program, 0o755)
	forward := s.Path("home", "alice", ".forward")
	lan.WriteFile(t, forward, "\"|"+program+"\"\n")
	os.Chown(forward, lan.Alice.UID, lan.Alice.GID)
	p := s.Serve()
	s.Submit("alice", "Subject: x\n\n", "alice")
	lan.Until(t, 20*time.Second, "the program runs", func() bool { return lan.Contains(begun, "begun") })
	p.Cmd.Process.Signal(syscall.SIGTERM)
	s.Gone(12 * time.Second) // of which four are needed; connections have 15
	if out, _ := s.Try("pgrep", "-f", program); strings.TrimSpace(out) != "" {
		t.Errorf("the program still runs: %s", out)
	}
	if out := s.Applet("mailq"); !strings.Contains(out, "alice@one.test") {
		t.Errorf("the message is not in the queue: %s", out)
	}
}

// status is a line of a process's /proc/PID/status; "" if it is not there.
func status(pid int, name string) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimRight(value, "\n")
		}
	}
	return ""
}
