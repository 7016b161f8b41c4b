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

// TestOwnSender: who has logged in sends as an address of their own, or as one that the
// file of sender-logins gives them; what isn't known now is refused for now.
func TestOwnSender(t *testing.T) {
	path := filepath.Join(t.TempDir(), "senders")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log strings.Builder
	synctest.Test(t, func(t *testing.T) {
		o := world(Options{SenderLogins: path, OwnSender: func(_ context.Context, account string, from smtp.Path) (bool, error) {
			if from.Local == "later" {
				return false, errors.New("aliases are away")
			}
			return from.Local == account, nil
		}})
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		p := New(o, nil)
		try := func(account, from string, code int) {
			t.Helper()
			time.Sleep(watched.LookWait)
			c := stranger()
			c.Account, c.Trusted = account, account != ""
			to := smtp.Path{}
			if from != "" {
				var err error
				if to, err = smtp.ParseAddress(from); err != nil {
					t.Fatal(err)
				}
			}
			if v := p.Session(c).Mail(t.Context(), &smtpd.Transaction{ReversePath: to}); v.Reply.Code != code {
				t.Errorf("%s as %q: %+v, want %d", account, from, v, code)
			}
		}
		try("alice", "alice@us.example", 0)
		try("alice", "bob@us.example", 451) // the file is named, and missing
		write("")
		try("alice", "bob@us.example", 553)
		try("alice", "", 0)
		try("alice", "later@us.example", 451)
		try("", "bob@us.example", 0) // nobody has logged in
		write("# who may send as whom\nSales@Us.example\talice, bob\n@lists.example alice\n")
		p = New(o, p)
		try("Alice", "sales@us.example", 0)
		try("carol", "sales@us.example", 553)
		try("alice", "any@LISTS.example", 0)
		try("bob", "any@lists.example", 553)
		write("sales@us.example carol\n\nnobody\nx@us.example\n@ alice\n@a@b alice\n")
		try("carol", "sales@us.example", 0)
		try("alice", "sales@us.example", 553)
		try("alice", "nobody@us.example", 553)
		for _, line := range []string{":3", ":4", ":5", ":6"} {
			if strings.Count(log.String(), path+line) != 1 {
				t.Errorf("line %s isn't told once: %s", line, &log)
			}
		}
	})
	var told []int
	if err := CheckSenders(path, func(line int, _ string) { told = append(told, line) }); len(told) != 4 || err != nil {
		t.Errorf("lines %v, %v", told, err)
	}
}

// TestOwnSenderForms: a domain of the file, of an account's name or of a sender is the same
// in letters outside ASCII, with A-labels, in capitals and with a dot behind.
func TestOwnSenderForms(t *testing.T) {
	all, problems := parseSenders("info@Bücher.example Anna@BÜCHER.example\n@xn--bcher-kva.example. bob@bücher.example\n@[IPv6:2001:DB8::1] carl\n@a..b anna\n")
	if len(problems) != 1 || problems[0].line != 4 {
		t.Errorf("told of %+v, want line 4 alone", problems)
	}
	for _, tt := range []struct {
		account, from string
		want          bool
	}{
		{"anna@xn--bcher-kva.example", "info@bücher.example", true},
		{"anna@bücher.example", "INFO@XN--BCHER-KVA.example", true},
		{"anna@bücher.example", "any@bücher.example", false},
		{"bob@xn--bcher-kva.example", "any@bücher.example", true},
		{"carl", "any@[IPv6:2001:db8::1]", true},
		{"bob", "any@bücher.example", false},
	} {
		from, err := smtp.ParseAddress(tt.from)
		if err != nil {
			t.Fatal(err)
		}
		if got := mayUse(all, tt.account, from); got != tt.want {
			t.Errorf("%s as %s: %v, want %v", tt.account, tt.from, got, tt.want)
		}
	}
}
