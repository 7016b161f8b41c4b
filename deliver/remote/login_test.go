package remote

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"postoffice/deliver/outcome"
	"postoffice/internal/smarthost"
	"postoffice/internal/testenv"
)

// What servers say to a client that didn't log in: temporary where relay-host
// says it, and told; from an exchanger it is what it says. Invariant 5 of the
// design: no login that fails at a smarthost turns into a bounce.
func TestRelayHostWantsLogin(t *testing.T) {
	for _, tt := range []struct {
		name, verb, reply string
		temporary         bool
	}{
		{"Gmail", "MAIL", "530-5.7.0 Authentication Required. For more information, go to\n530 5.7.0  https://support.google.com/mail/?p=WantAuthError x - gsmtp", true},
		{"Microsoft 365", "MAIL", "530 5.7.57 Client not authenticated to send mail.", true},
		{"Exchange", "MAIL", "530 5.7.1 Client was not authenticated", true},
		{"SendGrid", "MAIL", "550 Unauthenticated senders not allowed", true},
		{"Amazon SES", "MAIL", "530 Authentication required", true},
		{"Postfix, a sender of its own", "RCPT", "553 5.7.1 <s@us.example>: Sender address rejected: not logged in", true},
		{"Exim of cPanel", "RCPT", "550-Please turn on SMTP Authentication in your mail client.\n550-us.example [192.0.2.9]:4000 is not permitted to relay\n550 through this server without authentication.", true},
		{"T-Online", "MAIL", "550 5.7.0 Need to authenticate via SMTP-AUTH-Login", true},
		{"Yandex", "MAIL", "530 5.7.7 Email sending without authentication is forbidden", true},
		{"hMailServer", "RCPT", "530 SMTP authentication is required.", true},
		{"Postfix at port 587", "RCPT", "554 5.7.1 <unknown[192.0.2.9]>: Client host rejected: Access denied", true},
		{"qmail with a patch for AUTH", "RCPT", "553 sorry, you don't authenticate or the domain isn't in my list of allowed rcpthosts (#5.7.1)", true},
		{"Comcast", "MAIL", "550 5.1.0 Authentication required", true},
		{"after POP only", "RCPT", "550 5.7.1 POP before SMTP: check your mail first", true},
		{"to be encrypted", "MAIL", "530 5.7.0 Must issue a STARTTLS command first", true},
		{"mechanism too weak", "MAIL", "534 5.7.9 Authentication mechanism is too weak", true},
		{"credentials bad", "MAIL", "535 5.7.8 Authentication credentials invalid", true},
		{"encryption for this mechanism", "MAIL", "538 5.7.11 Encryption required", true},
		{"by its status alone", "DATA", "554 5.7.8 no", true},
		{"by its code alone", ".", "530 no", true},

		{"no such user", "RCPT", "550 5.1.1 <login@x.example>: no such user, authenticated or not", false},
		{"relaying, not a word of login", "RCPT", "554 5.7.1 <a@x.example>: Relay access denied", false},
		{"a name that is a login's words", "RCPT", "554 5.7.1 <client@host.rejected.example>: Recipient address rejected: Access denied", false},
		{"a block list", "RCPT", "554 5.7.1 Service unavailable; client [192.0.2.9] blocked", false},
		{"a sender that SPF doesn't name", "MAIL", "550 5.7.1 s@us.example is not authenticated: SPF fail", false},
		{"a message refused", ".", "552 5.7.0 This message was blocked because its content presents a potential security issue", false},
		{"a message refused by its text", ".", "550 5.7.1 Unauthenticated email from us.example is not accepted", false},
		{"a mailbox that is full", "RCPT", "552 5.2.2 log in and make room", false},
		{"an address that is told again", "RCPT", "550 <login@password.example>: no such user", false},
		{"a domain that is told again", "RCPT", "550 5.7.1 relaying to sasl.example. is denied", false},
		{"a page to read", "RCPT", "550 5.7.1 blocked, see https://x.example/?from=authentic", false},
		{"a sender whose name is a check's", "RCPT", "553 5.7.1 <spf@dmarc.example>: Sender address rejected: not logged in", true},
		{"a page about a check", "MAIL", "550 5.7.1 not authenticated, see http://www.openspf.example/Why", false},
	} {
		for _, relay := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.sink(mxAddr, &testenv.Sink{Answer: at(tt.verb, reply(tt.reply))})
				hop := HopTo(targets()[:1])
				if relay {
					hop = HopToRelay(relayHost, targets()[:1])
				}
				p := &pooled{world: w, Pool: NewPool()}
				j := p.job(hop, "a", 1)
				var got outcome.Outcome
				j.Answer = func(x Answer) { got = x.Outcomes[0] }
				p.Start(t.Context(), t.Context(), true)
				p.Add(j)
				p.Wait()
				want := outcome.Bounced
				if relay && tt.temporary {
					want = outcome.Deferred
				}
				if got.Action != want || errors.Is(got.Err, ErrLogin) != (want == outcome.Deferred) || !strings.Contains(strings.ReplaceAll(tt.reply, "\n", " "), strings.Fields(got.Reply.Text)[0]) {
					t.Errorf("%s, relay-host %v: %+v, want %v", tt.name, relay, got, want)
				}
			})
		}
	}
}

// At a port for those who log in a policy against the envelope of somebody who doesn't is
// a wish for a login, whatever the words; behind a login it is what it says.
func TestSubmissionWantsLogin(t *testing.T) {
	for _, tt := range []struct {
		relay, verb, reply string
		want               outcome.Action
	}{
		{"submission://mx.example", "RCPT", "554 5.7.1 <a@x.example>: Recipient address rejected: Access denied", outcome.Deferred},
		{"submission://mx.example", "MAIL", "550 5.7.1 no", outcome.Deferred},
		{"submission://mx.example", "RCPT", "550 5.1.1 no such user", outcome.Bounced},
		{"submission://mx.example", ".", "554 5.7.1 spam", outcome.Bounced},
		{"submission://u@mx.example", "RCPT", "554 5.7.1 <a@x.example>: Recipient address rejected: Access denied", outcome.Bounced},
		{"smtp://mx.example", "RCPT", "554 5.7.1 <a@x.example>: Recipient address rejected: Access denied", outcome.Bounced},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newSmarthost(t, tt.relay, func(s *testenv.Sink, _ *smarthost.Trust) {
				s.Users = nil
				if tt.relay == "submission://u@mx.example" {
					s.Users = map[string]string{"u": secret}
				}
				s.Answer = at(tt.verb, reply(tt.reply))
			})
			defer w.close()
			if o := w.send("a"); o.Action != tt.want {
				t.Errorf("%s, %q to %s: %+v, want %v", tt.relay, tt.reply, tt.verb, o, tt.want)
			}
		})
	}
}

// TestSmarthostRefusesSender: what a smarthost says behind a good login of a sender that
// isn't ours there is an answer about the message: it goes back at once, with words that
// say what to do. What it says for now stays so, and what says nothing of the sender has
// no such words.
func TestSmarthostRefusesSender(t *testing.T) {
	for _, tt := range []struct {
		name, verb, reply string
		want              outcome.Action
		told              bool
	}{
		{"Microsoft 365", "MAIL", "550 5.7.60 SMTP; Client does not have permissions to send as this sender", outcome.Bounced, true},
		{"Microsoft 365 at the end", ".", "554 5.2.252 SendAsDenied; me@example.org not allowed to send as root@us.example; STOREDRV.Submission.Exception:SendAsDeniedException", outcome.Bounced, true},
		{"Postfix", "RCPT", "553 5.7.1 <root@us.example>: Sender address rejected: not owned by user me@example.org", outcome.Bounced, true},
		{"Exim", "MAIL", "550 Sender verify failed", outcome.Bounced, true},
		{"GMX and Web.de", ".", "554-Transaction failed\n554 Unauthorized sender address.", outcome.Bounced, true},
		{"Yahoo", ".", "550 Request failed; Mailbox unavailable: From header address is not allowed", outcome.Bounced, true},
		{"OVH", "MAIL", "553 5.7.1 <root@us.example>: Sender address rejected: not owned by user", outcome.Bounced, true},
		{"Zoho", "RCPT", "553 Sender is not allowed to relay emails", outcome.Bounced, true},
		{"Amazon SES", ".", "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: root@us.example", outcome.Bounced, false},
		{"a sender's domain", "MAIL", "501 5.1.8 Domain of sender address does not exist", outcome.Bounced, true},
		{"not now", "MAIL", "450 4.7.1 <root@us.example>: Sender address rejected: try again", outcome.Deferred, false},
		{"too large", "MAIL", "552 5.3.4 too large", outcome.Bounced, false},
		{"a recipient", "RCPT", "550 5.1.1 no such user", outcome.Bounced, false},
		{"content", ".", "554 5.7.1 spam", outcome.Bounced, false},
		{"a login after all", "RCPT", "553 5.7.1 <root@us.example>: Sender address rejected: not logged in", outcome.Deferred, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newSmarthost(t, "submissions://me@example.org@mx.example", func(s *testenv.Sink, _ *smarthost.Trust) { s.Answer = at(tt.verb, reply(tt.reply)) })
				defer w.close()
				o := w.send("a")
				if o.Action != tt.want || errors.Is(o.Err, ErrSender) != tt.told || o.Reply.IsZero() {
					t.Errorf("%q to %s: %+v, want %v, told %v", tt.reply, tt.verb, o, tt.want, tt.told)
				}
				if o := w.send("b"); o.Action != tt.want || strings.Contains(w.log.String(), "login failed") { // nothing is said of the login
					t.Errorf("the next one: %+v; %s", o, w.log)
				}
			})
		})
	}
}

var relayHost = smarthost.Host{Name: "mx.example", MX: true}

// A session with relay-host is never used for mail that an MX record led to
// the same host.
func TestRelayHostIsAHopOfItsOwn(t *testing.T) {
	if HopTo(targets()).Key == HopToRelay(relayHost, targets()).Key {
		t.Error("one key")
	}
}
