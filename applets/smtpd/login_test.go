package smtpd

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/applets/smtpd/login"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// TestRefusalTakesTheSame: whatever a source takes for its no, in sum a refusal takes a
// whole number of steps. A66.
func TestRefusalTakesTheSame(t *testing.T) {
	for _, tt := range []struct{ taken, want time.Duration }{
		{0, 2 * time.Second}, {time.Millisecond, 2*time.Second - time.Millisecond}, {time.Second, time.Second}, {2 * time.Second, 0},
		{3 * time.Second, time.Second}, {61 * time.Second, time.Second},
	} {
		if got := roundUp(failedLoginWait, failedLoginWait, tt.taken); got != tt.want {
			t.Errorf("after %v: %v, want %v", tt.taken, got, tt.want)
		}
	}
}

// asker is a login.Source that takes some time to say a challenge.
type asker time.Duration

func (asker) Mechanisms() []login.Mechanism { return []login.Mechanism{{Name: "SCRAM-SHA-256"}} }

func (a asker) Begin(login.Client, string) login.Exchange { return a }

func (a asker) Step(context.Context, []byte) ([]byte, login.Result) {
	time.Sleep(time.Duration(a))
	return []byte("r=x"), login.Result{}
}

func (asker) Close() {}

// TestChallengeTakesTheSame: how long a challenge takes doesn't tell whether it is an
// account's: who breaks each login off is asked as often as a session has commands. A66.
func TestChallengeTakesTheSame(t *testing.T) {
	for taken, want := range map[time.Duration]time.Duration{0: challengeStep, 25 * time.Microsecond: challengeStep, 9 * time.Millisecond: challengeStep, 12 * time.Millisecond: 2 * challengeStep} {
		synctest.Test(t, func(t *testing.T) {
			o := loginOptions(&memQueue{})
			o.Logins = asker(taken)
			c := dialFrom(t, New(o), Submission, clearAddr)
			c.do("EHLO x")
			for _, line := range []string{"AUTH SCRAM-SHA-256 eA==", "eA=="} {
				begin := time.Now()
				if r := c.do(line); r.Code != 334 || time.Since(begin) != want {
					t.Errorf("%s, of %v: %v after %v, want %v", line, taken, r, time.Since(begin), want)
				}
			}
			if r := c.do("*"); r.Code != 501 {
				t.Errorf("broken off: %v", r)
			}
		})
	}
}

// passwords are a login.Source.
type passwords map[string]string

func (passwords) Mechanisms() []login.Mechanism { return []login.Mechanism{{Name: login.Plain}} }

func (p passwords) Begin(login.Client, string) login.Exchange { return passwordCheck{p} }

type passwordCheck struct{ passwords }

func (c passwordCheck) Step(_ context.Context, response []byte) ([]byte, login.Result) {
	parts := strings.Split(string(response), "\x00")
	switch {
	case len(parts) == 3 && parts[1] == "later":
		return nil, login.Result{Answer: login.Later, Err: errors.New("the service is away")}
	case len(parts) == 3 && parts[1] == "elsewhere":
		return nil, login.Result{Answer: login.Later, Err: errors.New("the other service is away"), Refused: true}
	case len(parts) == 3 && parts[2] != "" && c.passwords[parts[1]] == parts[2]:
		return nil, login.Result{Answer: login.Yes, User: parts[1]}
	}
	return nil, login.Result{Answer: login.No}
}

func (passwordCheck) Close() {}

func plain(user, password string) string {
	return "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password))
}

// loginOptions are a server's where alice can log in, without TLS from 203.0.113.0/24.
func loginOptions(q Queue) Options {
	o := options(q)
	o.Logins = passwords{"alice": "sesame"}
	clear := netip.MustParsePrefix("203.0.113.0/24")
	o.ClearLogins = clear.Contains
	return o
}

const clearAddr = "203.0.113.7:40000"

// TestLoginRelays: who has logged in may relay (R42), what they lack is completed, Bcc
// goes, and Received says so (RFC 3848), on demand without their address.
func TestLoginRelays(t *testing.T) {
	for _, hide := range []bool{false, true} {
		q := &memQueue{}
		o := loginOptions(q)
		o.HideClient = hide
		c := dialFrom(t, New(o), Submission, clearAddr)
		c.do("EHLO client.example")
		c.do("MAIL FROM:<alice@us.example>")
		if r := c.do("RCPT TO:<bob@far.example>"); r.Code != 550 {
			t.Fatalf("without a login: %v", r)
		}
		c.do("RSET")
		if r := c.do(plain("alice", "sesame")); r.Code != 235 {
			t.Fatalf("AUTH: %v", r)
		}
		if r := c.do("EHLO client.example"); strings.Contains(r.Text, "AUTH") {
			t.Errorf("AUTH is offered once more: %v", r)
		}
		if r := c.do(plain("alice", "sesame")); r.Code != 503 {
			t.Errorf("a second AUTH: %v", r)
		}
		c.envelope("alice@us.example", "bob@far.example")
		if r := c.do("To: bob@far.example\r\nBcc: carol@far.example\r\n\r\ntext\r\n."); r.Code != 250 {
			t.Fatalf("the message: %v", r)
		}
		got := q.messages()[0].Data
		for _, want := range []string{"with ESMTPA ", "\nDate: ", "\nMessage-ID: ", "\nFrom: alice@us.example\n"} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in %s", want, got)
			}
		}
		if strings.Contains(got, "Bcc") || strings.Contains(got, "203.0.113.7") == hide || strings.Contains(got, "client.example") == hide {
			t.Errorf("hide-client=%v: %s", hide, got)
		}
	}
}

// TestWhereLogin: where AUTH is offered, and where it is taken.
func TestWhereLogin(t *testing.T) {
	for _, tt := range []struct {
		name    string
		kind    Kind
		addr    string
		port25  bool
		none    bool // no Logins
		offered bool
		code    int
	}{
		{"587 in the clear", Submission, strangerAddr, false, false, false, 538},
		{"587 where clear text may be", Submission, clearAddr, false, false, true, 235},
		{"25", Relay, clearAddr, false, false, false, 500},
		{"25 by option", Relay, clearAddr, true, false, true, 235},
		{"25 by option, in the clear", Relay, strangerAddr, true, false, false, 538},
		{"no logins", Submission, clearAddr, true, true, false, 500},
	} {
		o := loginOptions(&memQueue{})
		o.LoginsOnRelay = tt.port25
		if tt.none {
			o.Logins = nil
		}
		c := dialFrom(t, New(o), tt.kind, tt.addr)
		if r := c.do("EHLO x"); strings.Contains(r.Text, "\nAUTH PLAIN LOGIN") != tt.offered || strings.Contains(r.Text, "AUTH=") {
			t.Errorf("%s: %v", tt.name, r)
		}
		if r := c.do(plain("alice", "sesame")); r.Code != tt.code {
			t.Errorf("%s: %v, want %d", tt.name, r, tt.code)
		}
	}
}

// TestLoginUnderTLS: under TLS AUTH is offered, and a login from before TLS counts no more
// (RFC 3207 section 4.2).
func TestLoginUnderTLS(t *testing.T) {
	o, trust := tlsOptions(t, &memQueue{})
	logins := loginOptions(o.Queue)
	o.Logins, o.ClearLogins = logins.Logins, logins.ClearLogins
	c := dialFrom(t, New(o), Submission, clearAddr)
	c.do("EHLO x")
	if r := c.do(plain("alice", "sesame")); r.Code != 235 {
		t.Fatal(r)
	}
	if r := c.do("STARTTLS"); r.Code != 220 {
		t.Fatal(r)
	}
	c.secure(trust)
	if r := c.do("EHLO x"); !strings.Contains(r.Text, "AUTH PLAIN LOGIN") {
		t.Errorf("after STARTTLS: %v", r)
	}
	c.do("MAIL FROM:<alice@us.example>")
	if r := c.do("RCPT TO:<bob@far.example>"); r.Code != 550 {
		t.Errorf("the login from before TLS counts: %v", r)
	}
	c.do("RSET")
	if r := c.do(plain("alice", "sesame")); r.Code != 235 {
		t.Errorf("AUTH under TLS: %v", r)
	}
}

// TestLoginRefused: each refusal takes longer, the third ends the session, and after as
// many as the option allows the address is not asked any more. A66.
func TestLoginRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := loginOptions(&memQueue{})
		o.RefusedLogins = 5
		s := New(o)
		refused := func(want int, wait time.Duration, c *talker) {
			t.Helper()
			begin := time.Now()
			r := c.do(plain("alice", "wrong"))
			if r.Code != want || time.Since(begin) != wait {
				t.Errorf("%v after %v, want %d after %v", r, time.Since(begin), want, wait)
			}
		}
		c := dialFrom(t, s, Submission, clearAddr)
		c.do("EHLO x")
		refused(535, 2*time.Second, c)
		refused(535, 4*time.Second, c)
		refused(421, 6*time.Second, c)
		c = dialFrom(t, s, Submission, clearAddr)
		c.do("EHLO x")
		refused(535, 2*time.Second, c)
		refused(535, 4*time.Second, c)
		refused(454, 0, c)
		if r := c.do(plain("alice", "sesame")); r.Code != 454 || !strings.Contains(r.Text, "try again in") {
			t.Errorf("the right password meanwhile: %v", r)
		}
		if s.refusedLogin.Load() == 0 {
			t.Error("the server doesn't remember that a login was refused")
		}
		if all := s.Limited(); len(all) != 1 || all[0].Kind.String() != "refused logins" {
			t.Errorf("postoffice limits shows %+v", all)
		}
		other := dialFrom(t, s, Submission, "203.0.113.8:40000")
		other.do("EHLO x")
		if r := other.do(plain("alice", "sesame")); r.Code != 235 {
			t.Errorf("from another address: %v", r)
		}
		time.Sleep(time.Hour)
		c = dialFrom(t, s, Submission, clearAddr)
		c.do("EHLO x")
		if r := c.do(plain("later", "sesame")); r.Code != 454 {
			t.Errorf("not now: %v", r)
		}
		if r := c.do(plain("alice", "sesame")); r.Code != 235 {
			t.Errorf("an hour later: %v", r)
		}
	})
}

// TestLoginGuess: while one of several sources can't answer, guesses at what another has
// take as long and count as much as they always do; where none was asked nothing counts.
func TestLoginGuess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := loginOptions(&memQueue{})
		o.RefusedLogins = 3
		s := New(o)
		say := func(c *talker, user string, want int, wait time.Duration) {
			t.Helper()
			begin := time.Now()
			if r := c.do(plain(user, "guess")); r.Code != want || time.Since(begin) != wait {
				t.Errorf("%s: %v after %v, want %d after %v", user, r, time.Since(begin), want, wait)
			}
		}
		dial := func() *talker {
			c := dialFrom(t, s, Submission, clearAddr)
			c.do("EHLO x")
			return c
		}
		c := dial()
		say(c, "later", 454, 0)
		say(c, "later", 454, 0)
		c = dial()
		say(c, "elsewhere", 454, 2*time.Second)
		say(c, "elsewhere", 454, 4*time.Second)
		say(c, "elsewhere", 421, 6*time.Second)
		say(dial(), "alice", 454, 0) // it is not asked
		if all := s.Limited(); len(all) != 1 || all[0].Kind.String() != "refused logins" {
			t.Errorf("postoffice limits shows %+v", all)
		}
	})
}

// TestLoginLater: while nobody can say whether a password is right the third try in a
// session ends it, without a pause; the log has the cause once in five minutes, and how
// many met it; and nobody is kept out for it afterwards.
func TestLoginLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testenv.Log
		o := loginOptions(&memQueue{})
		o.RefusedLogins, o.Log = 3, log.Logger()
		s := New(o)
		dial := func() *talker {
			c := dialFrom(t, s, Submission, clearAddr)
			c.do("EHLO x")
			return c
		}
		session := func() {
			t.Helper()
			c, begin := dial(), time.Now()
			for i, want := range []int{454, 454, 421} {
				if r := c.do(plain("later", "sesame")); r.Code != want {
					t.Fatalf("try %d: %v, want %d", i+1, r, want)
				}
			}
			if _, err := c.r.ReadByte(); err == nil {
				t.Error("the session goes on")
			}
			if wait := time.Since(begin); wait != 0 {
				t.Errorf("it took %v", wait)
			}
		}
		for range 20 {
			session()
		}
		lines := func() int { return strings.Count(log.String(), `msg="login not possible now"`) }
		if n := lines(); n != 1 || !strings.Contains(log.String(), "the service is away") {
			t.Errorf("%d lines: %s", n, log.String())
		}
		c := dial()
		for _, want := range []int{454, 454, 421} { // another cause, which is a refusal too
			if r := c.do(plain("elsewhere", "sesame")); r.Code != want {
				t.Errorf("%v, want %d", r, want)
			}
		}
		if n := lines(); n != 2 {
			t.Errorf("with another cause %d lines: %s", n, log.String())
		}
		c = dial()
		for _, want := range []int{454, 454, 421} { // too many were refused
			if r := c.do(plain("alice", "sesame")); r.Code != want {
				t.Errorf("%v, want %d", r, want)
			}
		}
		time.Sleep(time.Hour)
		session()
		if n := lines(); n != 3 || !strings.Contains(log.String(), "logins=59") {
			t.Errorf("an hour later %d lines: %s", n, log.String())
		}
		if r := dial().do(plain("alice", "sesame")); r.Code != 235 {
			t.Errorf("when the service is back: %v", r)
		}
		if all := s.Limited(); len(all) != 0 {
			t.Errorf("postoffice limits shows %+v", all)
		}
	})
}

// TestOutages: however many causes there are, few are remembered, and those of long ago
// make room.
func TestOutages(t *testing.T) {
	var o outages
	now, told := time.Now(), 0
	for i := range 10 * maxOutages {
		if _, tell := o.met(now, fmt.Errorf("cause %d", i)); tell {
			told++
		}
	}
	if told != maxOutages+1 || len(o.all) != maxOutages+1 {
		t.Errorf("%d were told, %d are remembered", told, len(o.all))
	}
	if more, tell := o.met(now.Add(outageLog), errors.New("another")); !tell || more != 0 || len(o.all) != 1 {
		t.Errorf("later: %v, %d, %d are remembered", tell, more, len(o.all))
	}
}

// crashes is a login.Source with a fault; it counts the exchanges that are open.
type crashes struct{ open *int }

func (crashes) Mechanisms() []login.Mechanism { return []login.Mechanism{{Name: login.Plain}} }

func (c crashes) Begin(login.Client, string) login.Exchange { *c.open++; return c }

func (crashes) Step(_ context.Context, said []byte) ([]byte, login.Result) {
	panic("a fault")
}

func (c crashes) Close() { *c.open-- }

// TestLoginCrash: a fault in a login ends the session, tells nothing of what the client
// said, and leaves no exchange open (A26, A75).
func TestLoginCrash(t *testing.T) {
	var log testenv.Log
	open := 0
	o := loginOptions(&memQueue{})
	o.Logins, o.Log, o.Crash = crashes{&open}, log.Logger(), false
	for _, lines := range [][]string{{plain("alice", "sesame")}, {"AUTH LOGIN", "YWxpY2U=", "c2VzYW1l"}, {"AUTH PLAIN", "AGFsaWNlAHNlc2FtZQ=="}} {
		c := dialFrom(t, New(o), Submission, clearAddr)
		c.do("EHLO x")
		var r smtp.Reply
		for _, line := range lines {
			r = c.do(line)
		}
		if r.Code != 421 {
			t.Errorf("%q: %v", lines, r)
		}
		c.r.ReadByte() // the end
	}
	text := log.String()
	if open != 0 || strings.Count(text, "session crashed") != 3 { // S117
		t.Errorf("%d exchanges are open; %s", open, text)
	}
	for _, secret := range []string{"sesame", "c2VzYW1l", "AGFsaWNlAHNlc2FtZQ=="} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is told: %s", secret, text)
		}
	}
}

// TestMailAuth: where clients may log in MAIL takes the parameter AUTH (RFC 4954 section 5),
// as they write it, and it goes no further.
func TestMailAuth(t *testing.T) {
	q := &memQueue{}
	s := New(loginOptions(q))
	c := dialFrom(t, s, Submission, clearAddr)
	c.do("EHLO x")
	c.do(plain("alice", "sesame"))
	values := []string{"<>", "e+3Dmc2@us.example", "<alice>", "a=b+0Aevil"}
	for _, value := range values {
		if r := c.do("MAIL FROM:<alice@us.example> SIZE=20 AUTH=" + value); r.Code != 250 {
			t.Fatalf("AUTH=%s: %v", value, r)
		}
		c.do("RCPT TO:<bob@far.example>")
		c.do("DATA")
		c.do("Subject: x\r\n\r\ny\r\n.")
	}
	if n := len(q.messages()); n != len(values) {
		t.Fatalf("%d messages", n)
	}
	for _, m := range q.messages() {
		if _, ok := smtp.FindParam(m.Params, "AUTH"); ok || len(m.Params) != 1 {
			t.Errorf("the queue has %v", m.Params)
		}
	}
	c = dialFrom(t, s, Relay, clearAddr)
	c.do("EHLO x")
	if r := c.do("MAIL FROM:<alice@us.example> AUTH=<>"); r.Code != 555 {
		t.Errorf("where nobody may log in: %v", r)
	}
}

// TestLoginLines: lines of an exchange may be as long as RFC 4954 has them, and no longer;
// one that ends in the middle of it ends the session.
func TestLoginLines(t *testing.T) {
	o := loginOptions(&memQueue{})
	c := dialFrom(t, New(o), Submission, clearAddr)
	c.do("EHLO x")
	pad := func(n int) string { return strings.Repeat("A", n) }
	for _, tt := range []struct {
		line string
		code int
	}{
		{"AUTH PLAIN " + pad(12288-len("AUTH PLAIN ")-1), 535}, {"AUTH PLAIN " + pad(12288), 500},
		{"AUTH PLAIN\r\n" + pad(12288), 535}, {"AUTH PLAIN\r\n" + pad(12292), 500},
		{plain("alice", "sesame"), 235}, {"NOOP " + pad(3000), 500},
	} {
		c = dialFrom(t, New(o), Submission, clearAddr)
		c.do("EHLO x")
		r := c.do(tt.line)
		if strings.Contains(tt.line, "\n") {
			r = c.read()
		}
		if strings.HasPrefix(tt.line, "NOOP") {
			c.do(plain("alice", "sesame"))
			r = c.do(tt.line)
		}
		if r.Code != tt.code {
			t.Errorf("%.20s... of %d octets: %v, want %d", tt.line, len(tt.line), r, tt.code)
		}
	}
	c = dialFrom(t, New(o), Submission, clearAddr)
	c.do("EHLO x")
	c.do("AUTH LOGIN")
	c.conn.Close()
}

// heard is a Checker that notes what it is told.
type heard struct {
	domainPolicy
	lines *[]string
}

func (h heard) Replied(verb, line string, _ smtp.Reply) smtp.Reply {
	*h.lines = append(*h.lines, verb+"|"+line)
	return smtp.Reply{}
}

// TestLoginSecrets: what a client says for a login is told nobody, neither where it was
// refused and sent on, nor in the log (A26).
func TestLoginSecrets(t *testing.T) {
	var lines []string
	var log testenv.Log
	o := loginOptions(&memQueue{})
	o.Log = log.Logger()
	o.Checker = func(c *Client) Checker { return heard{domainPolicy{Client: c}, &lines} }
	s := New(o)
	secret := base64.StdEncoding.EncodeToString([]byte("sesame"))
	for _, addr := range []string{clearAddr, strangerAddr} {
		c := dialFrom(t, s, Submission, addr)
		c.do("EHLO x")
		c.do("AUTH LOGIN")
		c.do(base64.StdEncoding.EncodeToString([]byte("alice")))
		c.do(secret)
		c.do(plain("alice", "sesame"))
		c.do("AUTH NTLM " + secret)
		c.do(secret + " " + secret)
		c.do("QUIT")
		for _, odd := range []string{" AUTH PLAIN ", "\tAUTH PLAIN ", "AUTH\tPLAIN\t", "auth=LOGIN ", "AUTHENTICATE PLAIN ", "AUTHPLAIN"} {
			c := dialFrom(t, s, Submission, addr)
			c.do("EHLO x")
			if r := c.do(odd + secret); r.Code != 500 {
				t.Errorf("%q: %v", odd, r)
			}
			c.do(secret)
			c.do("QUIT")
		}
	}
	text := fmt.Sprint(lines) + log.String()
	for _, bad := range []string{secret, "sesame", strings.Fields(plain("alice", "sesame"))[2]} {
		if strings.Contains(text, bad) {
			t.Errorf("%s is told: %s", bad, text)
		}
	}
	if !strings.Contains(text, "AUTH|AUTH LOGIN ***") || !strings.Contains(log.String(), `msg="client logged in"`) {
		t.Errorf("the login isn't told of: %s", text)
	}
}
