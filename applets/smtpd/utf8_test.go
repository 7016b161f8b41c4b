package smtpd

import (
	"net/netip"
	"strings"
	"testing"

	"postoffice/internal/smtp"
)

// A15, RFC 6531 section 4.3: the transaction keeps SMTPUTF8, the domain has A-labels, the
// trace field says how it came and names nobody outside ASCII.
func TestA15Kept(t *testing.T) {
	q := &memQueue{}
	o := options(q)
	o.Trusted = func(netip.Addr) (local, trusted bool) { return false, true }
	c := dial(t, New(o))
	for _, line := range []string{
		"EHLO c", "MAIL FROM:<j\u00f6e@b\u00fccher.example> BODY=8BITMIME SMTPUTF8", "RCPT TO:<\u0434\u0430@far.example>", "BDAT 9 LAST\r\nA: \u00e4\r\n\r\n",
	} {
		c.send(line)
		if !strings.HasPrefix(line, "BDAT") {
			c.send("\r\n")
		}
		if r := c.read(); r.Code != 250 {
			t.Fatalf("%s: %v", line, r)
		}
	}
	all := q.messages()
	if len(all) != 1 {
		t.Fatal(all)
	}
	m := all[0]
	if _, kept := smtp.FindParam(m.Params, smtp.ParamUTF8); !kept || m.From != (smtp.Path{Local: "j\u00f6e", Domain: "xn--bcher-kva.example"}) || m.To[0] != (smtp.Path{Local: "\u0434\u0430", Domain: "far.example"}) {
		t.Errorf("kept %v of %v to %v", m.Params, m.From, m.To)
	}
	if head, _, _ := strings.Cut(m.Data, "\nA:"); !strings.Contains(head, " with UTF8SMTP id Q1;\n") || !smtp.IsASCII(head) {
		t.Errorf("trace field %q", head)
	}
}
