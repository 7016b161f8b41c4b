package masquerade

import (
	"bytes"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"postoffice/internal/smtp"
	"postoffice/internal/watched"
)

const lines = `# who is who elsewhere
root            me@example.org.
Alice@host.test alice@example.net

bob             bob@example.org more
@old.test.      @new.test
@one.test       all@example.org
carol
x@              y@z.test
`

// names has the lines as its file, and example.org for this machine's names, which are
// host.test and localhost.
func names(t *testing.T, domain, text string) (*Names, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	o := Options{
		Domain: domain, Log: slog.New(slog.NewTextHandler(&log, nil)),
		OurOwn: func(d string) bool { return smtp.EqualFold(d, "host.test") || smtp.EqualFold(d, "localhost") },
		Ours:   func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.1") },
	}
	if text != "" {
		o.File = filepath.Join(t.TempDir(), "senders")
		if err := os.WriteFile(o.File, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return New(o), &log
}

func TestPath(t *testing.T) {
	both, log := names(t, "example.org", lines)
	file, _ := names(t, "", lines)
	domain, _ := names(t, "example.org", "")
	for _, tt := range []struct {
		n        *Names
		in, want string
	}{
		{both, "root", "me@example.org"}, {both, "ROOT@Host.Test", "me@example.org"}, {both, "root@far.test", "root@far.test"},
		{both, "alice@host.test", "alice@example.net"}, {both, "alice", "alice@example.org"}, {both, "dave@localhost", "dave@example.org"},
		{both, "bob@host.test", "bob@example.org"}, // its line is told, and masquerade holds
		{both, "Eve@old.test", "Eve@new.test"}, {both, "eve@one.test", "all@example.org"}, {both, "eve@far.test", "eve@far.test"},
		{file, "root", "me@example.org"}, {file, "dave@host.test", "dave@host.test"}, {file, "dave", "dave"},
		{domain, "root@host.test", "root@example.org"}, {domain, "root@sub.host.test", "root@sub.host.test"},
		{both, "", ""}, {nil, "root", "root"},
	} {
		var p smtp.Path
		if tt.in != "" {
			var err error
			if p, err = smtp.ParseAddress(tt.in); err != nil {
				t.Fatal(err)
			}
		}
		if got := tt.n.Path(p).String(); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
	for _, want := range []string{":5", ":8", ":9"} {
		if strings.Count(log.String(), "senders"+want) != 1 {
			t.Errorf("line %s is not told once:\n%s", want, log)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 3 {
		t.Errorf("%d lines told:\n%s", n, log)
	}
	if New(Options{}) != nil {
		t.Error("names without any option")
	}
}

// TestOwn: mail that passes through is nobody's to change.
func TestOwn(t *testing.T) {
	n, _ := names(t, "example.org", "")
	for client, want := range map[string]bool{
		"alice[uid 2001]": true, "bounce": true, "localhost[127.0.0.1]:4000": true, "x[::1]:1": true, "host.test[192.0.2.1]:4000": true,
		"far.test[192.0.2.9]:4000": false, "a[uid 0][192.0.2.9]:25": false, "[127.0.0.1][192.0.2.9]:25": false,
	} {
		if n.Own(client) != want {
			t.Errorf("%q: %v", client, !want)
		}
	}
	if (*Names)(nil).Own("alice[uid 2001]") {
		t.Error("nobody's names")
	}
}

// TestHeader: addresses of senders are rewritten in all their forms, both of cron's
// among them, and nothing else is.
func TestHeader(t *testing.T) {
	n, _ := names(t, "example.org", lines)
	for in, want := range map[string]string{
		"From: root (Cron Daemon)\n":                            "From: me@example.org (Cron Daemon)\n",
		"From: \"(Cron Daemon)\" <root>\n":                      "From: \"(Cron Daemon)\" <me@example.org>\n",
		"From: root@host.test (Cron Daemon)\n":                  "From: me@example.org (Cron Daemon)\n",
		"FROM : \"root@host.test\" <alice@host.test>\n":         "FROM : \"root@host.test\" <alice@example.net>\n",
		"From: A B\n <dave@localhost>,\n far@far.test\n":        "From: A B\n <dave@example.org>,\n far@far.test\n",
		"Sender: root\nReply-To: root, list@far.test\n":         "Sender: me@example.org\nReply-To: me@example.org, list@far.test\n",
		"To: root\nCc: root@host.test\nX-From: root\n":          "To: root\nCc: root@host.test\nX-From: root\n",
		"From: far@far.test\n":                                  "From: far@far.test\n",
		"From: =?utf-8?q?r=C3=B6ot?= <root@host.test>\n":        "From: =?utf-8?q?r=C3=B6ot?= <me@example.org>\n",
		"From: no address at all <<\n":                          "From: no address at all <<\n",
		"From: root " + strings.Repeat("(x)\n ", 20_000) + "\n": "",
	} {
		if want == "" {
			want = in // too long
		}
		const rest = "Subject: root@host.test\n\nFrom: root\nbody without an end"
		for name, src := range map[string]io.Reader{"whole": strings.NewReader(in + rest), "by octets": iotest.OneByteReader(strings.NewReader(in + rest))} {
			got, err := io.ReadAll(n.Header(src))
			if err != nil || string(got) != want+rest {
				t.Errorf("%s, %.60q: %.200q, %v; want %.200q", name, in, got, err, want+rest)
			}
		}
	}
	broken := iotest.ErrReader(io.ErrClosedPipe)
	if _, err := io.ReadAll(n.Header(io.MultiReader(strings.NewReader("From: root\n"), broken))); err != io.ErrClosedPipe {
		t.Errorf("a message that can't be read: %v", err)
	}
}

// TestAnew: a file that changes is read again, in a moment.
func TestAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := names(t, "", "root a@example.org\n")
		for _, want := range []string{"a@example.org", "bb@example.org"} {
			if got := n.Path(smtp.Path{Local: "root"}).String(); got != want {
				t.Errorf("%q, want %q", got, want)
			}
			if err := os.WriteFile(n.o.File, []byte("root bb@example.org\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			time.Sleep(watched.LookWait)
		}
	})
}

// FuzzFile: whatever stands in the file, what it leads to is a whole address, and a
// header with it reads as before but for that.
func FuzzFile(f *testing.F) {
	f.Add(lines, "root")
	f.Add("\"a b\" \"c,d\"@e.test", "\"a b\"")
	f.Fuzz(func(t *testing.T, text, who string) {
		p, err := smtp.ParseAddress(who)
		if err != nil || p.IsNull() {
			return
		}
		to, ok := parse(text, func(int, string) {}).find(p, true)
		if !ok {
			return
		}
		if again, err := smtp.ParseAddress(to.String()); err != nil || again != to || to.Domain == "" {
			t.Errorf("%q leads to %+v, which reads %+v, %v", who, to, again, err)
		}
	})
}
