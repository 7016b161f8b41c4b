package route

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/deliver/routes"
	"postoffice/internal/smtp"
)

// TestQuotaRCPT: a message for a full mailbox is refused for now, one that never fits for
// good, and what isn't known now, or isn't asked, refuses nothing. The dry run says the
// same.
func TestQuotaRCPT(t *testing.T) {
	const kib = 1 << 10
	s := newSite(t)
	s.o.VirtualQuota = 100 * kib
	s.o.Virtual = virtuals{"v.example": {
		users: []string{"new", "full", "nearly", "own", "free", "hidden"}, aliases: "info: full\n",
		quotas: map[string]int64{"own": 200 * kib, "free": -1},
		used:   map[string]int64{"full": 100 * kib, "nearly": 90 * kib, "own": 150 * kib, "free": 1 << 40, "hidden": -1},
	}}
	for _, tt := range []struct {
		to     string
		octets int64
		want   string
	}{
		{"new", 0, "0 "}, {"new", 98 * kib, "0 "}, {"new", 98*kib + 1, "552 5.2.3"}, {"new", 1<<63 - 1, "552 5.2.3"},
		{"full", 0, "452 4.2.2"}, {"FULL", 5, "452 4.2.2"}, {"full", Unasked, "0 "}, {"full", 1 << 40, "552 5.2.3"},
		{"nearly", 0, "0 "}, {"nearly", 8 * kib, "0 "}, {"nearly", 8*kib + 1, "452 4.2.2"},
		{"own", 48 * kib, "0 "}, {"own", 49 * kib, "452 4.2.2"}, {"own", 199 * kib, "552 5.2.3"},
		{"free", 1 << 40, "0 "}, {"hidden", 5, "0 "}, {"info", 5, "0 "}, {"eve", 5, "550 5.1.1"},
	} {
		for _, trusted := range []bool{false, true} {
			r, err := New(s.o).Recipient(t.Context(), Question{To: path(t, tt.to+"@v.example"), Octets: tt.octets, Trusted: trusted})
			if got := fmt.Sprintf("%d %s", r.Code, r.Status); got != tt.want || err != nil {
				t.Errorf("%s, %d octets: %s, %v; want %s", tt.to, tt.octets, got, err, tt.want)
			}
		}
	}
	for to, want := range map[string]string{
		"new": "mailbox 102400 0", "full": "failure 102400 102400 450 4.2.2", "nearly": "mailbox 102400 92160",
		"own": "mailbox 204800 153600", "free": "mailbox 0 0", "hidden": "mailbox 102400 0", "info": "failure 102400 102400 450 4.2.2",
	} {
		var last DryStep
		for step := range New(s.o).DryRun(t.Context(), path(t, to+"@v.example"), smtp.Path{}) {
			last = step
		}
		got := fmt.Sprint(last.How, " ", last.Quota, " ", last.Used)
		if last.How == HowFailure {
			got += fmt.Sprintf(" %d %s", last.Code, last.Status)
			if last.Permanent || !strings.Contains(last.Reason, "102400") {
				t.Errorf("%s: %+v", to, last)
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
	}
	s.o.VirtualMailbox = "lmtp:/run/store"
	if r, _ := New(s.o).Recipient(t.Context(), Question{To: path(t, "full@v.example"), Octets: 1 << 40}); !r.IsZero() {
		t.Errorf("a bound for what another server has: %v", r)
	}
}

// TestRoutesRCPT: whom a line with error in option routes refuses hears its words at
// RCPT: of a domain that it names everybody, else those who may send elsewhere. The dry
// run tells the line.
func TestRoutesRCPT(t *testing.T) {
	file := filepath.Join(t.TempDir(), "routes")
	text := "# routes\nmoved.example error we are at new.example, write there\nfrom:@bad.example error you are not to send mail\nfrom:ok@bad.example mx.far.example\n* error nobody sends mail from here\nother.example hub.example\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	s.o.LocalByDNS = false
	s.o.LocalDomains = []string{"moved.example"}
	s.o.Routes = routes.New(file, slog.New(slog.DiscardHandler))
	const moved, bad, all = "550 5.7.1 we are at new.example, write there", "550 5.7.1 you are not to send mail", "550 5.7.1 nobody sends mail from here"
	for _, tt := range []struct{ from, to, stranger, trusted, line string }{
		{"a@b.example", "x@moved.example", moved, moved, ":2"},
		{"a@bad.example", "x@moved.example", "550 5.7.1 no mail is relayed", bad, ":3"},
		{"a@bad.example", "x@other.example", "550 5.7.1 no mail is relayed", bad, ":3"},
		{"ok@bad.example", "x@moved.example", "550 5.7.1 no mail is relayed", "0  ", ":4"},
		{"a@b.example", "x@other.example", "550 5.7.1 no mail is relayed", "0  ", ":6"},
		{"a@b.example", "x@third.example", "550 5.7.1 no mail is relayed", all, ":5"},
		{"a@bad.example", "alice", "0  ", "0  ", ""},
	} {
		for _, trusted := range []bool{false, true} {
			want := tt.stranger
			if trusted {
				want = tt.trusted
			}
			r, err := New(s.o).Recipient(t.Context(), Question{From: path(t, tt.from), To: path(t, tt.to), Trusted: trusted})
			if got := fmt.Sprintf("%d %s %s", r.Code, r.Status, r.Text); !strings.HasPrefix(got, want) || err != nil {
				t.Errorf("from %s to %s, trusted %v: %s, %v; want %s", tt.from, tt.to, trusted, got, err, want)
			}
		}
		for step := range New(s.o).DryRun(t.Context(), path(t, tt.to), path(t, tt.from)) {
			want := ""
			if tt.line != "" {
				want = file + tt.line
			}
			if step.Routes != want {
				t.Errorf("from %s to %s: the dry run tells %q, want %q", tt.from, tt.to, step.Routes, want)
			}
		}
	}
	s.o.LocalByDNS = true // what is ours by DNS alone is not known at RCPT
	if r, _ := New(s.o).Recipient(t.Context(), Question{From: path(t, "a@bad.example"), To: path(t, "x@third.example"), Trusted: true}); !r.IsZero() {
		t.Errorf("with local-domains=dns: %v", r)
	}
}
