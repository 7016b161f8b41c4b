package policy

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
	"postoffice/internal/watched"
)

// TestHostsFiles: what the two files say counts for who connects next, without a
// restart, and what becomes of who is denied is option forbidden's to say.
func TestHostsFiles(t *testing.T) {
	dir := t.TempDir()
	deny := filepath.Join(dir, "hosts.deny")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(deny, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		o := world(Options{HostsDeny: deny, HostsAllow: filepath.Join(dir, "none")})
		p := New(o, nil)
		ask := func() smtpd.Verdict {
			time.Sleep(watched.LookWait) // no time passes outside
			return p.Session(stranger()).Connect(t.Context())
		}
		want := func(text string, code int, refuse bool, words string) {
			t.Helper()
			write(text)
			v := ask()
			if v.Reply.Code != code || v.Refuse != refuse || !strings.Contains(v.Reply.Text+v.Greeting, words) {
				t.Errorf("%q: %+v, want %d with %q", text, v, code, words)
			}
		}
		if v := ask(); !v.Accepted() {
			t.Errorf("without a file: %+v", v)
		}
		want("smtpd: .far.example\n", 554, true, "mx.far.example [198.51.100.7]: the administrator has closed")
		want("smtpd: ALL EXCEPT .far.example\n", 0, false, "")
		want("smtp: 198.51.100.: setenv WHY too much from %a\n", 554, true, "too much from 198.51.100.7")
		want("ALL: ALL: setenv DENY go away\n", 521, false, "go away")
		p = New(o, p)
		if v := ask(); v.Accepted() {
			t.Error("a reload forgets the file")
		}
		o.Forbidden = Forbidden{Take: true, Folder: "junk"}
		p = New(o, p)
		if v := ask(); !v.Accepted() || v.Mark.Folder != "junk" || v.Mark.Reason != "go away" || v.Greeting != "\nmail is taken, and marked as unwanted, from mx.far.example [198.51.100.7]: go away" {
			t.Errorf("forbidden=folder:junk: %+v", v)
		}
		if c := with(func(c *smtpd.Client) { c.Trusted = true }); !p.Session(c).Connect(t.Context()).Accepted() {
			t.Error("a trusted client is denied")
		}
	})
}

// TestUnread: what a file says that can't be read refuses nobody for good. Of
// hosts.deny nothing follows; whom hosts.deny denies while hosts.allow isn't known is
// asked to come again; and what was read once goes on.
func TestUnread(t *testing.T) {
	dir := t.TempDir()
	allow, deny := filepath.Join(dir, "allow"), filepath.Join(dir, "deny")
	make := func(path, text string) { // "" is what can't be read, whoever tries
		t.Helper()
		err := os.RemoveAll(path)
		if text == "" {
			err = errors.Join(err, os.Mkdir(path, 0o755))
		} else {
			err = errors.Join(err, os.WriteFile(path, []byte(text), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			name                     string
			allow, deny, later, last string // later, last: what the two are afterwards
			first, then              int
		}{
			{"hosts.deny", "ALL: 10.", "", "ALL: 10.", "ALL: ALL", 0, 554},
			{"hosts.allow", "", "ALL: ALL", "ALL: .far.example", "ALL: ALL", 421, 0},
			{"hosts.allow, which does not matter", "", "ALL: 10.", "", "ALL: 10.", 0, 0},
			{"hosts.allow, known before", "ALL: .far.example", "ALL: ALL", "", "ALL: ALL", 0, 0},
			{"hosts.deny, known before", "ALL: 10.", "ALL: ALL", "ALL: 10.", "", 554, 554},
		} {
			var log strings.Builder
			o := world(Options{HostsAllow: allow, HostsDeny: deny, Forbidden: Forbidden{}})
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			make(allow, tt.allow)
			make(deny, tt.deny)
			p := New(o, nil)
			p.Look()
			if told := strings.Contains(log.String(), "hosts file unreadable"); told != (tt.allow == "" || tt.deny == "") {
				t.Errorf("%s: told at the start\n%s", tt.name, &log)
			}
			for _, code := range []int{tt.first, tt.then} {
				v := p.Session(stranger()).Connect(t.Context())
				if v.Reply.Code != code || code == 421 && v.Reply.Status != "4.4.3" {
					t.Errorf("%s: %+v, want %d", tt.name, v, code)
				}
				make(allow, tt.later)
				make(deny, tt.last)
				time.Sleep(watched.LookWait) // no time passes outside
			}
		}
	})
}

// TestUnsure: what may be otherwise once DNS answers refuses nobody for good, and marks
// no mail: a client whose name a rule asks for, and any that may be one of option
// trusted or localmx (B38).
func TestUnsure(t *testing.T) {
	deny := filepath.Join(t.TempDir(), "deny")
	if err := os.WriteFile(deny, []byte("ALL: ALL EXCEPT .far.example\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	silent := with(func(c *smtpd.Client) { c.Name, c.Naming = "", smtpd.Uncertain })
	for _, tt := range []struct {
		name   string
		client *smtpd.Client
		unsure bool // about option trusted
		code   int
	}{
		{"named", stranger(), false, 0},
		{"its name isn't known now", silent, false, 421},
		{"nameless", with(func(c *smtpd.Client) { c.Name, c.Naming = "", smtpd.Unnamed }), false, 554},
		{"nameless, may be trusted", with(func(c *smtpd.Client) { c.Name, c.Naming = "", smtpd.Unnamed }), true, 421},
	} {
		for _, take := range []bool{false, true} {
			o := world(Options{HostsDeny: deny, Forbidden: Forbidden{Take: take}})
			o.Unsure = func() bool { return tt.unsure }
			v := New(o, nil).Session(tt.client).Connect(t.Context())
			want := tt.code
			if take && want == 554 {
				want = 0
			}
			if v.Reply.Code != want || want == 421 && (v.Reply.Status != "4.4.3" || v.Mark != smtpd.Mark{}) {
				t.Errorf("%s, taken %v: %+v, want %d", tt.name, take, v, want)
			}
		}
	}
	o := world(Options{VerifyFrom: true, CheckHelo: true, NoDaemon: true, LocalMX: true, DNSCheck: true})
	o.Exchanges = func(context.Context, string) (bool, error) { return false, errSilent }
	s := New(o, nil).Session(with(func(c *smtpd.Client) { c.Hello = "us.example" }))
	if v := s.Connect(t.Context()); !v.Accepted() {
		t.Errorf("connection: %+v", v)
	}
	for what, v := range map[string]smtpd.Verdict{"HELO": s.Helo(t.Context()), "MAIL": s.Mail(t.Context(), &smtpd.Transaction{ReversePath: smtp.Path{Local: "bob", Domain: "us.example"}})} {
		if v.Reply.Code != 451 || v.Refuse {
			t.Errorf("%s of a client that may be an exchanger's: %+v", what, v)
		}
	}
	if v := s.Data(t.Context(), &smtpd.Transaction{}); v.Reply.Code != 550 {
		t.Errorf("nodaemon, which is for everybody: %+v", v)
	}
}

// TestHostsFileOfErrors: a file that nobody could have meant doesn't fill the log.
func TestHostsFileOfErrors(t *testing.T) {
	deny := filepath.Join(t.TempDir(), "deny")
	if err := os.WriteFile(deny, []byte(strings.Repeat("smtpd\n", 1000)), 0o644); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	o := world(Options{HostsDeny: deny})
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	New(o, nil).Look()
	if n := strings.Count(log.String(), "\n"); n != maxTold+1 || !strings.Contains(log.String(), "980 lines more") {
		t.Errorf("%d lines:\n%s", n, &log)
	}
}
