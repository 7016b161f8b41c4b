package applets

import (
	"os"
	"strings"
	"testing"

	"postoffice/internal/config"
	"postoffice/internal/smtp"
	"postoffice/internal/smtpd"
)

func TestSenders(t *testing.T) {
	s := newSenders(&config.Config{ServerUser: "postoffice", TrustedUsers: []string{"www-data"}, LocalDomains: []string{"far.example"}}, "us.example")
	for _, tt := range []struct {
		user string
		uid  int
		from string
		own  bool
	}{
		{"joe", 1000, "joe@us.example", true},
		{"joe", 1000, "joe@US.example", true},
		{"joe", 1000, "joe@localhost", true},
		{"joe", 1000, "joe@far.example", true},
		{"joe", 1000, "joe@else.example", false},
		{"joe", 1000, "Joe@us.example", false},
		{"joe", 1000, "amy@us.example", false},
		{"joe", 1000, "", false},
		{"root", 0, "amy@us.example", true},
		{"toor", 0, "", true},
		{"root", 1000, "amy@us.example", false},
		{"postoffice", 990, "amy@us.example", true},
		{"www-data", 33, "shop@else.example", true},
		{"uid-1234", 1234, "uid-1234@us.example", true},
		{"joe", 1000, "uid-1000@us.example", true},
		{"joe", 1000, "uid-1001@us.example", false},
	} {
		from := smtp.Path{}
		if tt.from != "" {
			from.Local, from.Domain, _ = strings.Cut(tt.from, "@")
		}
		if got := s.own(&smtpd.Client{Kind: smtpd.Submission, UID: tt.uid, User: tt.user}, from); got != tt.own {
			t.Errorf("%s (uid %d) as <%s>: own %v, want %v", tt.user, tt.uid, tt.from, got, tt.own)
		}
	}
}

// TestSenderIsTold: sendmail -f and -r by somebody else leave a trace that the
// caller can't keep out, and can't shape (A67).
func TestSenderIsTold(t *testing.T) {
	own := senders{domains: []string{"us.example"}}
	for _, tt := range []struct{ name, args, want string }{ // want "" is no field
		{"nothing", "bob", ""},
		{"his own", "-f joe bob", ""},
		{"his own, whole", "-r joe@us.example bob", ""},
		{"another", "-f amy bob", "joe@us.example set sender to amy@us.example"},
		{"another's address", "-r amy@far.example bob", "joe@us.example set sender to amy@far.example"},
		{"nobody", "-f <> bob", "joe@us.example set sender to <>"},
		{"words that forge", `-f "a:b"@far.example bob`, `joe@us.example set sender to "a:b"@far.example`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := listen(t, func(o *smtpd.Options) {
				o.OwnSender = func(c *smtpd.Client, from smtp.Path) bool {
					asJoe := *c // the test's user may be root
					asJoe.UID = 1000
					if from.Local == login(os.Getuid()) {
						from.Local = "joe" // who sendmail says the caller is
					}
					return own.own(&asJoe, from)
				}
			})
			if code, stderr := in.sendmail("Subject: x\n\nhello\n", strings.Fields(tt.args)...); code != 0 || len(in.data) != 1 {
				t.Fatalf("exit code %d, %d messages, %q", code, len(in.data), stderr)
			}
			const name = "\nX-Authentication-Warning: "
			_, field, found := strings.Cut(in.data[0], name)
			field, _, _ = strings.Cut(field, "\n")
			if found != (tt.want != "") || field != tt.want || strings.Count(in.data[0], name) > 1 {
				t.Errorf("got %q, want %q:\n%s", field, tt.want, in.data[0])
			}
		})
	}
}
