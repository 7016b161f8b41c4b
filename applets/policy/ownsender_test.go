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
