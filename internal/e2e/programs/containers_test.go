//go:build e2e

package programs

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
)

// podman is a site with a podman of its own, whose containers are in the site's network.
func podman(t *testing.T) *lan.Site {
	s := lan.New(t).Host("one.test").Install()
	s.Enter = []string{"nsenter", "--net=/run/netns/" + s.Namespace, "--"} // the host's own mounts lack those of cgroups
	conf := func(name, text string) string {
		lan.WriteFile(t, s.Path(name), text)
		return s.Path(name)
	}
	t.Setenv("CONTAINERS_CONF", conf("containers.conf", `[containers]
netns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "`+s.Path("libpod")+`"
volume_path = "`+s.Path("volumes")+`"
`))
	t.Setenv("CONTAINERS_STORAGE_CONF", conf("storage.conf", fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", s.Path("graph"), s.Path("podman"))))
	t.Cleanup(func() {
		if out, err := s.Try("podman", "rm", "-af", "-t", "0"); err != nil {
			t.Error(err, out)
		}
	})
	return s
}

// TestContainersPage does what docs/containers.md says, as it stands there, and looks at
// what comes of it.
func TestContainersPage(t *testing.T) {
	s := podman(t)
	pages := blocks(t, "containers.md", "sh")
	const makes, starts, looks, sends, stops, owns = 0, 1, 2, 3, 4, 5
	do := func(n int) string {
		t.Helper()
		dir := s.Dir
		if n == makes {
			dir = testenv.Root()
		}
		return s.Run("sh", "-euc", "cd "+dir+"\n"+pages[n])
	}
	do(makes)
	do(starts)
	ready := func(name string) {
		t.Helper()
		lan.Until(t, 20*time.Second, name+" answers", func() bool { return strings.Contains(s.Run("podman", "logs", name), "server ready") })
	}
	ready("mail")
	s.Run("podman", "kill", "-s", "HUP", "mail")
	lan.Until(t, 20*time.Second, "the configuration is read anew", func() bool { return strings.Contains(s.Run("podman", "logs", "mail"), "configuration read anew") })
	if out := s.Run("podman", "logs", "mail"); strings.Contains(out, "option not changed") { // what holds below process 1 still does
		t.Error(out)
	}
	do(sends)
	box := s.Path("volumes", "mail-boxes", "_data", "root")
	lan.Until(t, 20*time.Second, "the mail is delivered", func() bool { return lan.Contains(box, "Subject: from beside\n") })
	if text, _ := os.ReadFile(box); !strings.Contains(string(text), "Return-Path: <uid-1000@mail.example.org>\n") {
		t.Errorf("the sender is not who sent it:\n%s", text)
	}
	if out := do(looks); !strings.Contains(out, "message delivered") {
		t.Errorf("the log on standard output:\n%s", out)
	}
	ends(t, s, func() { do(stops) })

	// What it left belongs to another number by now.
	queue := s.Path("volumes", "mail-queue", "_data")
	s.Run("chown", "-R", "4321:4321", queue)
	s.Run("podman", "start", "mail")
	lan.Until(t, 20*time.Second, "mail answers again", func() bool {
		return strings.Count(s.Run("podman", "logs", "mail"), "server ready") == 2
	})
	do(sends)
	lan.Until(t, 20*time.Second, "the second mail is delivered", func() bool {
		text, _ := os.ReadFile(box)
		return strings.Count(string(text), "Subject: from beside\n") == 2
	})
	if err := filepath.WalkDir(queue, func(name string, _ os.DirEntry, err error) error {
		if out := s.Run("stat", "-c", "%u", name); err == nil && strings.TrimSpace(out) != "900" {
			t.Errorf("%s belongs to uid %s", name, out)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	s.Run("podman", "stop", "-t", "10", "mail")

	do(owns)
	ready("own")
	if out := s.Run("sh", "-c", "printf 'Subject: mine\\n\\n' | podman exec -i own /usr/sbin/postoffice sendmail root"); out != "" {
		t.Error(out)
	}
	lan.Until(t, 20*time.Second, "the user has it", func() bool {
		return strings.Contains(s.Run("podman", "logs", "own"), "message delivered")
	})
}

// ends has a container end while a client is in the middle of a message: by itself, with
// exit code 0, before it would be killed.
func ends(t *testing.T, s *lan.Site, stop func()) {
	t.Helper()
	var c net.Conn
	lan.Until(t, 20*time.Second, "port 25 answers", func() bool {
		var err error
		c, err = s.Dial(s.IP + ":25")
		return err == nil
	})
	defer c.Close()
	for _, line := range []string{"", "EHLO c.example\r\n", "MAIL FROM:<a@c.example>\r\n", "RCPT TO:<root@example.org>\r\n", "DATA\r\n"} {
		if _, err := c.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		if n, err := c.Read(b); err != nil || b[0] > '3' {
			t.Fatalf("%q: %v, %q", line, err, b[:n])
		}
	}
	stop()
	if code := strings.TrimSpace(s.Run("podman", "inspect", "-f", "{{.State.ExitCode}}", "mail")); code != "0" {
		t.Errorf("exit code %s, want 0: 137 is that it was killed", code)
	}
}

// TestImageReproducible: the same binary makes the same image.
func TestImageReproducible(t *testing.T) {
	s := lan.New(t).Host("one.test").Install()
	for _, name := range []string{"a", "b"} {
		s.Run("sh", "-euc", "cd "+testenv.Root()+" && go run testdata/tools/image.go -version 1 /bin/true "+s.Path(name))
	}
	s.Run("cmp", s.Path("a"), s.Path("b"))
}
