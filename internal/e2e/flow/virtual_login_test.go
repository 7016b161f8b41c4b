//go:build e2e

package flow

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/sasl"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// pythonLogin logs in by Python's smtplib under TLS and sends: server, port, name,
// password, sender, recipient.
const pythonLogin = `import smtplib, ssl, sys
server, port, name, password, sender, to = sys.argv[1:]
c = ssl.create_default_context()
c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
s = smtplib.SMTP_SSL(server, 465, timeout=60, context=c) if port == "465" else smtplib.SMTP(server, int(port), timeout=60)
with s:
    if port != "465":
        s.starttls(context=c)
    s.login(name, password)
    print("in", s.esmtp_features.get("auth"))
    s.sendmail(sender, [to], "Subject: from a user without an account\n\ntext\n")
    print("sent")
`

// TestVirtualLogin: a user of a virtual domain logs in on 587 and 465 and sends to another
// machine, as themselves alone; the domain's owner sets another password, and it counts
// at once. The server never has the hashes.
func TestVirtualLogin(t *testing.T) {
	s, client := virtualSite(t, "msp=yes", "msps=yes", "relay-host=[10.77.0.2]:2525")
	sink := &testenv.Sink{Hostname: "relay.test"}
	go sink.Serve(client.Listen("2525"))
	t.Cleanup(sink.Close)
	s.Serve()
	try := func(port, name, password, sender, want string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		out, _ := client.Command(ctx, "python3", "-c", pythonLogin, s.IP, port, name, password, sender, "friend@far.test").CombinedOutput()
		if !strings.Contains(string(out), want) {
			t.Errorf("%s as %s on %s: want %q in\n%s", name, sender, port, want, out)
		}
	}
	try("587", "bob@virtual.test", "x", "bob@virtual.test", "PLAIN LOGIN\nsent")
	try("465", "BOB@Virtual.test", "x", "bob+shop@virtual.test", "sent")
	try("587", "bob@virtual.test", "x", "carol@virtual.test", "553, b'5.7.1 carol@virtual.test is no address of bob@virtual.test")
	try("587", "bob@virtual.test", "y", "bob@virtual.test", "5.7.8 name or password is wrong")
	try("587", "alice@virtual.test", "x", "bob@virtual.test", "5.7.8 name or password is wrong")
	try("587", "bob@off.test", "x", "bob@virtual.test", "5.7.8 name or password is wrong")
	for _, m := range sink.Await(t, 2) {
		if !strings.HasPrefix(m.Mail, "MAIL FROM:<bob") || !strings.Contains(string(m.Wire), "with ESMTPSA ") || !strings.Contains(string(m.Wire), "\r\nMessage-ID: ") {
			t.Errorf("sent on: %s\n%s", m.Mail, m.Wire)
		}
	}

	v, err := sasl.NewVerifier("another")
	if err != nil {
		t.Fatal(err)
	}
	addDomain(t, s, "virtual.test", "bob:{PLAIN}another::::::scram="+v.String()+"\nj\u00fcrgen:{PLAIN}another::::::scram="+v.String()+"\n")
	try("587", "bob@virtual.test", "another", "bob@virtual.test", "sent")
	for version, kinds := range map[uint16][]string{tls.VersionTLS13: {"tls-exporter", "tls-server-end-point"}, tls.VersionTLS12: {"tls-server-end-point", "tls-unique"}} {
		for _, kind := range kinds {
			boundLogin(t, client, s.IP+":465", "bob@virtual.test", "another", version, kind)
		}
	}
	for _, written := range []string{"j\u00fcrgen@virtual.test", "ju\u0308rgen@virtual.test"} { // composed and parted
		boundLogin(t, client, s.IP+":465", written, "another", tls.VersionTLS13, "tls-exporter")
	}
	if !lan.Says(s.Log, `user=j\xc3\xbcrgen@virtual.test`) {
		t.Error("the log doesn't tell who logged in")
	}
	if !lan.Says(s.Log, "client logged in") || lan.Contains(s.Log, "another") {
		t.Error("the log lacks the login, or has the password")
	}
}

// boundLogin logs in by SCRAM-SHA-256-PLUS, once it is offered, in a version of TLS and
// with a kind of binding.
func boundLogin(t *testing.T, from *lan.Host, address, user, password string, version uint16, kind string) {
	t.Helper()
	lan.Until(t, time.Minute, "a bound login", func() bool {
		raw, err := from.Dial(address)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}) // who it is the login proves
		r := bufio.NewReader(conn)
		say := func(line string) smtp.Reply {
			fmt.Fprintf(conn, "%s\r\n", line)
			reply, err := smtp.ReadReply(r)
			if err != nil {
				t.Fatal(err)
			}
			return reply
		}
		if _, err := smtp.ReadReply(r); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(say("EHLO client.test").Text, sasl.ScramSHA256Plus) {
			return false
		}
		state := conn.ConnectionState()
		bindings := sasl.BindingsOf(state, state.PeerCertificates[0])
		i := slices.IndexFunc(bindings, func(b sasl.Binding) bool { return b.Name == kind })
		if i < 0 {
			t.Fatalf("no binding %s: %+v", kind, bindings)
		}
		_, c, err := sasl.Choose([]string{sasl.ScramSHA256Plus}, sasl.Credentials{User: user, Secret: password, Binding: bindings[i]})
		if err != nil {
			t.Fatal(err)
		}
		first, err := c.Next(nil)
		reply := smtp.Reply{}
		for line := "AUTH " + sasl.ScramSHA256Plus + " " + base64.StdEncoding.EncodeToString(first); err == nil; line = base64.StdEncoding.EncodeToString(first) {
			if reply = say(line); reply.Code != 334 {
				break
			}
			challenge, _ := base64.StdEncoding.DecodeString(reply.Text)
			first, err = c.Next(challenge)
		}
		if err != nil || reply.Code != 235 || c.Done() != nil {
			t.Errorf("a login of %q bound by %s: %v, %v, %v", user, kind, reply, err, c.Done())
		}
		if reply := say("MAIL FROM:<" + strings.Replace(user, "u\u0308", "\u00fc", 1) + "> SMTPUTF8"); reply.Code != 250 {
			t.Errorf("%q sends as themselves: %v", user, reply)
		}
		return true
	})
}
