package applets

import (
	"os"
	"strings"
	"testing"

	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
)

// TestSenderIsTold: sendmail -f and -r by somebody else leave a trace that the
// caller can't keep out, and can't shape (A67).
func TestSenderIsTold(t *testing.T) {
	for _, tt := range []struct{ name, args, want string }{ // want "" is no field
		{"nothing", "bob", ""},
		{"their own", "-f joe bob", ""},
		{"their own, whole", "-r joe@us.example bob", ""},
		{"another", "-f amy bob", "joe@us.example set sender to amy@us.example"},
		{"another's address", "-r amy@far.example bob", "joe@us.example set sender to amy@far.example"},
		{"nobody", "-f <> bob", "joe@us.example set sender to <>"},
		{"words that forge", `-f "a:b"@far.example bob`, `joe@us.example set sender to "a:b"@far.example`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := listen(t, func(o *smtpd.Options) {
				o.OwnSender = func(_ *smtpd.Client, from smtp.Path) bool {
					if from.Local == login(t, os.Getuid()) {
						from.Local = "joe" // who sendmail says the caller is
					}
					return from.String() == "joe@us.example"
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
