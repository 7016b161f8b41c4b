package route

import (
	"errors"
	"fmt"
	"postoffice/internal/smtp"
	"slices"
	"strings"
	"testing"
)

// A25: what a user wrote can't drive the terminal of whoever asks.
func TestA25DryRun(t *testing.T) {
	r := newSite(t)
	r.files.forwards = map[string]string{"alice": "\"|/bin/x \xc3\xa4\"\nb\xff@x.example\n", "bob": "x"}
	r.files.broken = map[string]error{"bob": errors.New("/home/bob/\x1b[2J\nx: no")}
	for _, user := range []string{"alice", "bob"} {
		for s := range New(r.o).DryRun(t.Context(), smtp.Path{Local: user}, smtp.Path{}) {
			if text := fmt.Sprint(s); strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) {
				t.Errorf("%q", text)
			}
		}
	}
}

// A mailbox step says which way the message would go.
func TestDryRunWay(t *testing.T) {
	for _, tt := range []struct{ mailbox, mailer, user, want string }{
		{"", "", "alice", ""}, {"~/Maildir/", "", "alice", "~/Maildir/"}, {"lmtp:/s", "", "alice", "lmtp:/s"},
		{"~/Maildir/", "/bin/procmail", "alice", "mailer"}, {"~/Maildir/", "/bin/procmail", "root", "~/Maildir/"},
	} {
		r := newSite(t)
		r.o.Mailbox, r.o.Mailer = tt.mailbox, tt.mailer
		for s := range New(r.o).DryRun(t.Context(), smtp.Path{Local: tt.user}, smtp.Path{}) {
			if s.Way != tt.want {
				t.Errorf("%+v: %q", tt, s.Way)
			}
		}
	}
}

// It ends when nobody wants more, and shows the whole way of an address.
func TestDryRun(t *testing.T) {
	r := newSite(t)
	r.alias("team: alice, :include:/l, \"|x\", /f\nowner-team: carol\n")
	r.files.members = map[string]string{"team": "bob\nv@[192.0.2.1]\nv@[127.0.0.1]\ngone\n"}
	r.files.forwards = map[string]string{"bob": "\\bob"}
	var got []string
	for s := range New(r.o).DryRun(t.Context(), smtp.Path{Local: "team"}, path(t, "s@x.example")) {
		line := fmt.Sprintf("%d %s: %s", s.Depth, s.Recipient, s.How)
		if s.File != "" {
			line += fmt.Sprintf(" (%s:%d)", strings.Replace(s.File, r.aliases, "aliases", 1), s.Line)
		}
		if s.User != "" {
			line += fmt.Sprintf(" %s %d", s.User, s.UID)
		}
		for _, h := range s.Hosts {
			line += fmt.Sprintf(" %s:%d %v", h.Name, h.Port, h.Addrs)
		}
		if s.Status != "" {
			line += " " + s.Status
		}
		got = append(got, line+" from "+s.Sender)
	}
	want := []string{
		"0 team: alias from s@x.example",
		"1 alice: mailbox (aliases:1) alice 1000 from owner-team@us.example",
		"1 :include:/l: list (aliases:1) from owner-team@us.example",
		"2 bob: forward (/lists/team:1) from owner-team@us.example",
		"3 \\bob: mailbox (/home/bob/.forward:1) bob 1000 from owner-team@us.example",
		"2 v@[192.0.2.1]: remote (/lists/team:2) [192.0.2.1]:25 [192.0.2.1] from owner-team@us.example",
		"2 v@[127.0.0.1]: failure (/lists/team:3) 5.1.1 from owner-team@us.example",
		"2 gone: failure (/lists/team:4) 5.1.1 from owner-team@us.example",
		"1 \"|x\": program (aliases:1) nobody -1 from owner-team@us.example",
		"1 /f: file (aliases:1) nobody -1 from owner-team@us.example",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for range New(r.o).DryRun(t.Context(), smtp.Path{Local: "team"}, smtp.Path{}) {
		break
	}
}

// The sender of a step is the address that goes out: a bare name with our host
// name behind it, and nothing for the null sender.
func TestDryRunSender(t *testing.T) {
	r := newSite(t)
	for _, tt := range []struct {
		from smtp.Path
		want string
	}{
		{smtp.Path{Local: "root"}, "root@" + r.o.Hostname},
		{smtp.Path{Local: "s", Domain: "x.example"}, "s@x.example"},
		{smtp.Path{}, ""},
	} {
		for s := range New(r.o).DryRun(t.Context(), smtp.Path{Local: "alice"}, tt.from) {
			if s.Sender != tt.want {
				t.Errorf("%v: %q, want %q", tt.from, s.Sender, tt.want)
			}
		}
	}
}

// Anybody may ask where a list leads, and each member may cost a question: the
// dry run of one looks at so many, and says that there are more.
func TestDryRunEnds(t *testing.T) {
	for _, members := range []int{MaxDrySteps - 2, MaxDrySteps - 1, 5 * MaxDrySteps} {
		r := newSite(t)
		var list strings.Builder
		for i := range members {
			fmt.Fprintf(&list, "u%d@[192.0.2.1]\n", i)
		}
		r.alias("all: :include:/l\n")
		r.files.members = map[string]string{"all": list.String()}
		n, cut := 0, false
		for s := range New(r.o).DryRun(t.Context(), smtp.Path{Local: "all"}, path(t, "s@x.example")) {
			n++
			cut = s.How == HowCut
		}
		// The alias and the list are steps as well.
		if want := members+2 > MaxDrySteps; cut != want || n != min(members+2, MaxDrySteps+1) {
			t.Errorf("%d members: %d steps, cut: %v, want %v", members, n, cut, want)
		}
	}
}
