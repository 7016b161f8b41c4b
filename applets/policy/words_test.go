package policy

import (
	"context"
	"strings"
	"testing"

	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
)

// TestWordsOfClients: what a reply repeats of a client's words keeps its case (R36),
// and has nothing but printable characters on one line (B95).
func TestWordsOfClients(t *testing.T) {
	o := world(Options{VerifyFrom: true})
	o.Domain = func(context.Context, string) (Place, error) { return Nowhere, nil }
	for domain, want := range map[string]string{
		"None.EXAMPLE":         "domain None.EXAMPLE takes",
		"x\r\n250 ok\x1b[0m\n": `domain x\x0d\x0a250 ok\x1b[0m\x0a takes`,
	} {
		v := New(o, nil).Session(stranger()).Mail(t.Context(), &smtpd.Transaction{ReversePath: smtp.Path{Local: "a", Domain: domain}})
		if wire := string(v.Reply.Append(nil)); !strings.Contains(wire, want) || strings.Count(wire, "\n") != 1 {
			t.Errorf("%q: %q, want %q", domain, wire, want)
		}
	}
}
