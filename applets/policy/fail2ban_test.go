//go:build e2e

package policy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/applets/filters"
	"postoffice/applets/smtpd"
	"postoffice/applets/smtpd/greykeeper"
	"postoffice/applets/smtpd/greylist"
	"postoffice/internal/filterline"
	"postoffice/internal/maillog"
	"postoffice/internal/peer"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/internal/testenv/testfilter"
)

// The filter for fail2ban, and the program that says what it finds.
const fail2banFilter = "../../packaging/fail2ban/postoffice.conf"

// noQueue takes no message to its end.
type noQueue struct{}

func (noQueue) Room(context.Context) (peer.Amount, error) {
	return peer.Amount{Octets: 1 << 30, Files: 1 << 30}, nil
}
func (noQueue) Held(context.Context) *peer.Held { return &peer.Held{} }
func (noQueue) NewID() (string, error)          { return "Q1", nil }

func (noQueue) Begin(context.Context, *smtpd.Transaction) (smtpd.Incoming, error) {
	return &unkept{}, nil
}

// unkept is a message that is never committed.
type unkept struct{ bytes.Buffer }

func (u *unkept) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(u.Bytes()).ReadAt(p, off)
}
func (u *unkept) Instead(context.Context, *smtpd.Transaction) (smtpd.Incoming, error) {
	return &unkept{}, nil
}
func (*unkept) ID() string                   { return "Q1" }
func (*unkept) More() []string               { return nil }
func (*unkept) Hold(string)                  {}
func (*unkept) Commit(context.Context) error { return errors.New("no queue") }
func (*unkept) Release()                     {}
func (*unkept) Abort()                       {}

// converse sends lines until one is refused, and returns what that was answered; it is
// empty where nothing is refused.
func converse(t *testing.T, s *smtpd.Server, k smtpd.Kind, address string, lines []string) string {
	t.Helper()
	ours, theirs := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- s.ServeConn(t.Context(), wire{theirs, address}, k) }()
	defer func() {
		ours.Close()
		<-ended
	}()
	in := bufio.NewReader(ours)
	for _, line := range append([]string{""}, lines...) {
		if line != "" {
			if _, err := fmt.Fprintf(ours, "%s\r\n", line); err != nil {
				t.Fatal(err)
			}
		}
		r, err := smtp.ReadReply(in)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if r.Code >= 400 && r.Status != "5.5.1" && r.Status != "5.5.4" { // those are about the words of a line
			if _, err := io.WriteString(ours, "QUIT\r\n"); err == nil { // else it was sent away
				_, _ = smtp.ReadReply(in)
			}
			return r.String()
		}
	}
	return ""
}

// hostile is what a client calls itself that would look like another.
const hostile = `x" client refused client=x[203.0.113.99]:25 reply="554 5.7.1 x`

// TestFail2ban: an address that a check refuses gets its reply, one line of the log
// that the filter which we ship reads, and nothing else; what passes, and what is
// no fault of the client's, is read by it nowhere. What a client says never looks
// like a line about another (B95).
func TestFail2ban(t *testing.T) {
	dir := t.TempDir()
	deny, named := filepath.Join(dir, "hosts.deny"), filepath.Join(dir, "named")
	for file, text := range map[string]string{deny: "smtpd: ALL\n", named: "smtpd: ALL EXCEPT .far.example\n"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	logFile := filepath.Join(dir, "log")
	log, out, err := maillog.New(maillog.Options{Sink: "file:" + logFile, Program: "smtpd"})
	if err != nil {
		t.Fatal(err)
	}
	nameless := func(n smtpd.Naming) func(context.Context, netip.Addr) (string, smtpd.Naming) {
		return func(context.Context, netip.Addr) (string, smtpd.Naming) { return "", n }
	}
	gone := func(code int, status string) func(context.Context, Question) (smtp.Reply, error) {
		return func(context.Context, Question) (smtp.Reply, error) {
			return smtp.Reply{Code: code, Status: status, Text: "no"}, nil
		}
	}
	grey := greykeeper.New(greykeeper.Stores{Records: new(greylist.Memory), Clients: new(greylist.Memory), Written: new(greylist.Memory), Hours: new(greylist.Memory)},
		greykeeper.Options{Mode: greykeeper.On, Rules: greylist.Rules{Delay: time.Hour}, Age: 14 * 24 * time.Hour}, log)
	open := map[string]bool{} // checks that refuse, and have not refused yet
	for _, c := range checks {
		open[c.name] = true
	}
	for _, name := range []string{"we are its exchanger", "stranger was seen", "whom ours write to"} { // which refuse nobody
		delete(open, name)
	}
	f := &testfilter.Filter{Answers: map[byte]string{'M': testfilter.Reply('r', "")}}
	set, err := filterline.Parse(testenv.ServeFilter(t, f), func(s string) (string, bool) { return s, true })
	testenv.Must(t, err)
	refusing := filters.New(filters.Options{Filters: set, Hostname: "us.example", Log: slog.New(slog.DiscardHandler)}, nil)
	infected := func(context.Context, *smtpd.Client, string, io.Reader) (bool, string, error) {
		return true, "Eicar", nil
	}
	own := func(_ context.Context, account string, from smtp.Path) (bool, error) {
		return from.Local == account, nil
	}
	var banned []string
	lines := map[string]int{} // of the log about each of them
	for i, tt := range []struct {
		name, check string // check: of the table, whose refusal it is
		o           Options
		kind        smtpd.Kind
		client      func(context.Context, netip.Addr) (string, smtpd.Naming)
		lines       []string
		reply       string // of the refusal
		innocent    bool
		login       bool // on the port where clients log in
	}{
		{name: "hosts.deny", check: "hosts files", o: Options{HostsDeny: deny}, reply: "554 5.7.1"},
		{name: "hosts.deny, soft", o: Options{HostsDeny: deny, SoftDeny: true}, reply: "421 4.7.1"},
		{name: "hosts.deny, and it stays", o: Options{HostsDeny: deny}, lines: []string{"QUIT"}, reply: "554 5.7.1"},
		{name: "dnscheck", check: "name leads back", o: Options{DNSCheck: true}, client: nameless(smtpd.Forged), reply: "421 4.7.25"},
		{name: "paranoid", check: "client has a name", o: Options{Paranoid: true}, client: nameless(smtpd.Unnamed), reply: "421 4.7.25"},
		{name: "paranoid, no answer of DNS", o: Options{Paranoid: true}, client: nameless(smtpd.Uncertain), lines: []string{"QUIT"}, innocent: true},
		{name: "checkhelo", check: "HELO is not our name", o: Options{CheckHelo: true}, lines: []string{"EHLO us.example"}, reply: "550 5.7.1"},
		{name: "checkhelo, soft", o: Options{CheckHelo: true, SoftDeny: true}, lines: []string{"EHLO us.example"}, reply: "450 4.7.1"},
		{name: "verify-from", check: "sender is real", o: Options{VerifyFrom: true}, lines: []string{"HELO " + hostile, "MAIL FROM:<bob@us.example>"}, reply: "550 5.7.1"},
		{name: "hosts.deny by name, no answer of DNS", o: Options{HostsDeny: named}, client: nameless(smtpd.Uncertain), reply: "421 4.4.3", innocent: true},
		{name: "hosts.deny, may be trusted", o: Options{HostsDeny: deny, Unsure: func() bool { return true }}, reply: "421 4.4.3", innocent: true},
		{name: "the port for our users", check: "submission is for ours", kind: smtpd.Submission, lines: []string{"HELO x", "MAIL FROM:<>"}, reply: "530 5.7.0"},
		{name: "verify-from, none", o: Options{VerifyFrom: true}, lines: []string{"HELO x", "MAIL FROM:<bob@none.example>"}, reply: "550 5.1.8"},
		{name: "verify-from, no answer of DNS", o: Options{VerifyFrom: true}, lines: []string{"HELO x", "MAIL FROM:<bob@slow.example>"}, reply: "451 4.1.8", innocent: true},
		{name: "nodaemon", check: "no null sender", o: Options{NoDaemon: true}, lines: []string{"HELO x", "MAIL FROM:<>", "RCPT TO:<bob@us.example>", "DATA"}, reply: "550 5.7.1"},
		{name: "greylist", check: "stranger has waited", o: Options{Greylist: grey}, lines: []string{"HELO x", "MAIL FROM:<bob@far.example>", "RCPT TO:<bob@us.example>", "DATA"}, reply: "451 4.7.1", innocent: true},
		{name: "filter", check: "filters", o: Options{Filters: refusing}, lines: []string{"HELO x", "MAIL FROM:<bob@far.example>"}, reply: "550 5.7.1"},
		{name: "av", check: "nothing bad is in it", o: Options{Scan: infected}, lines: []string{"HELO x", "MAIL FROM:<bob@far.example>", "RCPT TO:<bob@us.example>", "DATA", "Subject: x\r\n\r\nhello\r\n."}, reply: "550 5.7.1", innocent: true}, // who passes on mail of others
		{name: "no such user", check: "recipient", o: Options{Recipient: gone(550, "5.1.1")}, lines: []string{"HELO x", "MAIL FROM:<>", "RCPT TO:<bob@us.example>"}, reply: "550 5.1.1"},
		{name: "no answer of DNS", o: Options{Recipient: gone(451, "4.4.3")}, lines: []string{"HELO x", "MAIL FROM:<>", "RCPT TO:<bob@us.example>"}, reply: "451 4.4.3", innocent: true},
		{name: "a wrong password", login: true, lines: []string{"EHLO x", "AUTH PLAIN AGEAYw=="}, reply: "535 5.7.8"},
		{name: "another's sender", check: "sender is the account's", o: Options{OwnSender: own}, login: true,
			lines: []string{"EHLO x", "AUTH PLAIN AGEAYg==", "MAIL FROM:<bob@us.example>"}, reply: "553 5.7.1", innocent: true},
		{name: "a name like a line", lines: []string{"HELO " + hostile, "MAIL FROM:<>", hostile, "QUIT"}, innocent: true},
	} {
		delete(open, tt.check)
		if tt.client == nil {
			tt.client = func(context.Context, netip.Addr) (string, smtpd.Naming) { return "mx.far.example", smtpd.Named }
		}
		address := fmt.Sprintf("198.51.100.%d", i+1)
		if !tt.innocent {
			banned = append(banned, address)
			if lines[address] = 1; len(tt.lines) > 0 && tt.lines[0] != "QUIT" {
				lines[address] = 2 // it was let in first
			}
		}
		o := world(tt.o)
		o.Log = log
		if tt.o.Recipient != nil {
			o.Recipient = tt.o.Recipient
		}
		policy := New(o, nil)
		s := smtpd.New(smtpd.Options{Hostname: "us.example", Checker: policy.Session, Log: log, Queue: noQueue{}, ClientName: tt.client,
			Logins: oneAccount{}, LoginsOnRelay: tt.login, ClearLogins: func(netip.Addr) bool { return true }})
		if got := converse(t, s, tt.kind, address, tt.lines); !strings.HasPrefix(got, tt.reply) {
			t.Errorf("%s: %q, want %s", tt.name, got, tt.reply)
		}
	}
	for name, refuses := range open {
		if refuses {
			t.Errorf("no client is refused by the check %q", name)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	found, err := exec.Command("fail2ban-regex", "--out", "ip", logFile, fail2banFilter).CombinedOutput()
	if err != nil {
		t.Fatalf("fail2ban-regex: %v\n%s", err, found)
	}
	text, _ := os.ReadFile(logFile)
	if got := strings.Fields(string(found)); !slices.Equal(got, banned) {
		t.Errorf("the filter finds %v, want %v, in\n%s", got, banned, text)
	}
	for _, address := range banned {
		if got := strings.Count(string(text), "["+address+"]:4000"); got != lines[address] {
			t.Errorf("%d lines of the log are about %s, want %d:\n%s", got, address, lines[address], text)
		}
	}
}
