//go:build e2e

package milters

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// site is a server with one filter at a socket, and a client of the network beside it.
func site(t *testing.T, settings ...string) (one *lan.Site, client *lan.Host, socket string) {
	t.Helper()
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	host := l.Host("one.test")
	client = l.Host("client.test")
	socket = host.Path("filter.sock")
	one = host.Install(append([]string{"filter=" + socket + " name=tested fail=tempfail"}, settings...)...)
	return one, client, socket
}

// filter starts a filter and waits for its socket.
func filter(one *lan.Site, socket string, args ...string) *lan.Process {
	one.T.Helper()
	p := one.Start(one.Command(context.Background(), args...))
	lan.Until(one.T, 20*time.Second, "the filter listens", func() bool {
		if _, err := os.Stat(socket); err != nil {
			return false
		}
		return os.Chmod(socket, 0o777) == nil
	})
	return p
}

// send sends a letter to bob, and returns what became of it in his mailbox.
func send(one *lan.Site, client *lan.Host, letter string) string {
	one.T.Helper()
	conn, err := client.Dial(one.IP + ":25")
	if err != nil {
		one.T.Fatal(err)
	}
	defer conn.Close()
	d, err := lan.NewDialogue(conn, "client.test")
	if err == nil {
		err = d.Send("joe@one.test", "bob@one.test", letter)
	}
	if err != nil {
		one.T.Fatal(err)
	}
	d.Quit()
	lan.Until(one.T, 20*time.Second, "bob has the letter", func() bool {
		b, _ := os.ReadFile(one.Mailbox("bob"))
		return len(b) > 0
	})
	b, err := os.ReadFile(one.Mailbox("bob"))
	if err != nil {
		one.T.Fatal(err)
	}
	return string(b)
}

const letter = "From: joe@one.test\nTo: bob@one.test\nSubject: Greetings\n folded\nDate: Mon, 2 Mar 2026 10:00:00 +0000\nMessage-ID: <a@one.test>\n\nHello,\n\n..two dots, and a last line\n"

// dkimpy verifies a message with a key that it is given instead of DNS.
const dkimpy = `
import dkim, sys
key = open(sys.argv[1], "rb").read()
d = dkim.DKIM(sys.stdin.buffer.read())
try:
    good = d.verify(dnsfunc=lambda name, timeout=5: key)
except dkim.ValidationError:
    good = False
print("GOOD" if good else "BAD")
`

// signer is an OpenDKIM that signs all for one.test, once it is started, and what dkimpy
// says of a letter then.
type signer struct {
	one          *lan.Site
	socket, conf string
	record       string
}

func newSigner(one *lan.Site, socket string) *signer {
	t := one.T
	t.Helper()
	s := &signer{one, socket, one.Path("opendkim.conf"), one.Path("record")}
	key := one.Path("key.pem")
	lan.Sh(t, "openssl", "genrsa", "-out", key, "2048")
	public := lan.Sh(t, "sh", "-c", "openssl rsa -in "+key+" -pubout -outform DER 2>/dev/null | base64 -w0")
	lan.WriteFile(t, s.record, "v=DKIM1; k=rsa; p="+strings.TrimSpace(public))
	lan.WriteFile(t, s.conf, strings.Join([]string{"Domain one.test", "Selector s", "KeyFile " + key, "Mode s", "Canonicalization relaxed/simple",
		"Socket local:" + socket, "InternalHosts 0.0.0.0/0", "RequireSafeKeys no", "Syslog no", "Background no", ""}, "\n"))
	return s
}

func (s *signer) start() *lan.Process {
	s.one.T.Helper()
	return filter(s.one, s.socket, "/usr/sbin/opendkim", "-x", s.conf, "-f", "-P", s.one.Path("pid"))
}

// verify returns GOOD or BAD.
func (s *signer) verify(text string) string {
	s.one.T.Helper()
	cmd := exec.Command("/usr/bin/python3", "-c", dkimpy, s.record)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.one.T.Fatalf("dkimpy: %v\n%s\n%q", err, out, text)
	}
	return strings.TrimSpace(string(out))
}

// inMailbox is the one message of a mailbox, without the mailbox's own first and last
// line.
func inMailbox(text string) string {
	_, message, _ := strings.Cut(strings.TrimSuffix(text, "\n"), "\n")
	return message
}

// TestOpenDKIM: OpenDKIM signs what comes, and dkimpy finds the signature in what a
// mailbox got to be good; changed by one octet it doesn't.
func TestOpenDKIM(t *testing.T) {
	one, client, socket := site(t)
	s := newSigner(one, socket)
	s.start()
	one.Serve()
	got := send(one, client, letter)
	if !strings.Contains(got, "DKIM-Signature: v=1;") {
		t.Fatalf("it isn't signed:\n%s", got)
	}
	message := inMailbox(got)
	if said := s.verify(message); said != "GOOD" {
		t.Errorf("dkimpy says %s of\n%s", said, message)
	}
	if said := s.verify(strings.Replace(message, "Hello", "Hallo", 1)); said != "BAD" {
		t.Errorf("dkimpy says %s of a message that was changed", said)
	}
	if n := strings.Count(message, "DKIM-Signature:"); n != 1 {
		t.Errorf("it has %d signatures", n)
	}
}

// program writes a program of a filter's and returns its path.
func program(one *lan.Site, name string) string {
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		one.T.Fatal(err)
	}
	path := one.Path(name)
	lan.WriteFile(one.T, path, string(text))
	return path
}
