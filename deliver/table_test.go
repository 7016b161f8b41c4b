package deliver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// A case of TestA41 prepares a rig and names a recipient.
type a41 struct {
	name string
	want outcome.Action
	dsn  string // "" not looked at
	to   string
	prep func(r *rig)
}

// at makes the peer 192.0.2.1 answer reply to verb.
func at(verb string, act testenv.Action) func(*rig) {
	return func(r *rig) {
		r.peer("192.0.2.1", &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
			if ev.Verb == verb {
				return act
			}
			return testenv.Action{}
		}})
	}
}

func says(verb, reply string) func(*rig) { return at(verb, testenv.Action{Reply: reply}) }

// fails makes connections fail with err.
func fails(err error) func(*rig) {
	return func(r *rig) {
		r.o.Remote.Dial = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
		}
	}
}

// boxSays makes alice's mailbox answer.
func boxSays(res local.Result) func(*rig) {
	return func(r *rig) { r.mailer.answer = func(string) (local.Result, bool) { return res, true } }
}

func dnsSays(acts ...testenv.Act) func(*rig) {
	return func(r *rig) {
		d := testenv.NewDNS(r.t, "x.example. 60 IN MX 10 mx.x.example.", "mx.x.example. 60 IN A 192.0.2.1")
		r.dns(d.Addr())
		d.Script("MX x.example", acts...)
		r.peer("192.0.2.1", &testenv.Sink{})
	}
}

func zone(records ...string) func(*rig) {
	return func(r *rig) {
		r.dns(testenv.NewDNS(r.t, records...).Addr())
		r.peer("192.0.2.1", &testenv.Sink{})
	}
}

// needsTLS makes the message one that needs TLS, for a host that has it but for a change.
func needsTLS(change func(*testenv.Sink)) func(*rig) {
	return func(r *rig) {
		r.params = []smtp.Param{{Name: smtp.ParamTLS}}
		change(r.obedient("192.0.2.1"))
	}
}

const literal1 = "a@[192.0.2.1]"

// A41: what is permanent and what is not.
var permanence = []a41{
	// what the peer says
	{"takes it", outcome.Delivered, "2.0.0", literal1, at("", testenv.Action{})},
	{"250 without a status", outcome.Delivered, "2.0.0", literal1, says(".", "250 ok")},
	{"RCPT 550", outcome.Bounced, "5.1.1", literal1, says("RCPT", "550 5.1.1 no such user")},
	{"RCPT 553 without a status", outcome.Bounced, "5.0.0", literal1, says("RCPT", "553 no")},
	{"RCPT 450", outcome.Deferred, "4.2.0", literal1, says("RCPT", "450 4.2.0 greylisted")},
	{"RCPT 452", outcome.Deferred, "4.5.3", literal1, says("RCPT", "452 4.5.3 too many")},
	{"MAIL 550", outcome.Bounced, "5.7.1", literal1, says("MAIL", "550 5.7.1 not you")},
	{"MAIL 451", outcome.Deferred, "4.7.1", literal1, says("MAIL", "451 4.7.1 not now")},
	{"DATA 554 (B66)", outcome.Bounced, "5.6.0", literal1, says("DATA", "554 5.6.0 no")},
	{"DATA 451", outcome.Deferred, "4.3.0", literal1, says("DATA", "451 4.3.0 later")},
	{"final 554", outcome.Bounced, "5.7.1", literal1, says(".", "554 5.7.1 spam")},
	{"final 452", outcome.Deferred, "4.3.1", literal1, says(".", "452 4.3.1 full")},
	{"greeting 421 (A54)", outcome.Deferred, "4.7.0", literal1, says("", "421 4.7.0 busy")},
	{"greeting 554 (A54)", outcome.Deferred, "", literal1, says("", "554 5.7.1 go away")},
	{"no greeting (R20)", outcome.Deferred, "", literal1, at("", testenv.Action{Drop: true})},
	{"lost at MAIL", outcome.Deferred, "", literal1, at("MAIL", testenv.Action{Drop: true})},
	{"lost at DATA", outcome.Deferred, "", literal1, at("DATA", testenv.Action{Drop: true})},
	{"lost at the final dot (A37)", outcome.Deferred, "", literal1, at(".", testenv.Action{Drop: true})},
	{"odd reply", outcome.Deferred, "", literal1, at("MAIL", testenv.Action{Raw: "hello\r\n"})},
	{"150 reply", outcome.Deferred, "", literal1, at("RCPT", testenv.Action{Raw: "150 x\r\n"})},
	{"mixed codes", outcome.Deferred, "", literal1, at("RCPT", testenv.Action{Raw: "250-a\r\n550 b\r\n"})},
	// the network
	{"connection refused (R6)", outcome.Deferred, "4.4.1", literal1, fails(syscall.ECONNREFUSED)},
	{"no route", outcome.Deferred, "4.4.1", literal1, fails(syscall.EHOSTUNREACH)},
	{"no network", outcome.Deferred, "4.4.1", literal1, fails(syscall.ENETUNREACH)},
	{"connection timed out", outcome.Deferred, "4.4.1", literal1, fails(syscall.ETIMEDOUT)},
	{"no descriptors left", outcome.Deferred, "4.4.1", literal1, fails(syscall.EMFILE)},
	{"not permitted", outcome.Deferred, "4.4.1", literal1, fails(syscall.EPERM)},
	// DNS
	{"NXDOMAIN", outcome.Bounced, "5.1.2", "a@gone.example", zone("x.example. 60 IN A 192.0.2.1")},
	{"null MX", outcome.Bounced, "5.1.10", "a@null.example", zone("null.example. 60 IN MX 0 .")},
	{"MX is us (A58)", outcome.Bounced, "5.4.6", "a@ours.example", zone("ours.example. 60 IN MX 0 us.example.")},
	{"SERVFAIL", outcome.Deferred, "", "a@x.example", dnsSays(testenv.Code(dns.RcodeServerFailure))},
	{"REFUSED", outcome.Deferred, "", "a@x.example", dnsSays(testenv.Code(dns.RcodeRefused))},
	{"DNS silent", outcome.Deferred, "", "a@x.example", dnsSays(testenv.Silent)},
	{"no DNS server", outcome.Deferred, "", "a@x.example", func(r *rig) { r.dns("127.0.0.1:1") }},
	{"domain without address", outcome.Deferred, "", "a@bare.example", zone("bare.example. 60 IN TXT x")},
	// relay-host is ours to mend
	{"relay-host NXDOMAIN", outcome.Deferred, "", "a@x.example", func(r *rig) {
		zone("x.example. 60 IN A 192.0.2.1")(r)
		r.o.RelayHost = "gone.example"
	}},
	{"relay-host down", outcome.Deferred, "", "a@x.example", func(r *rig) { r.o.RelayHost = "[192.0.2.1]" }},
	{"relay-host nonsense", outcome.Deferred, "", "a@x.example", func(r *rig) { r.o.RelayHost = "[x" }},
	{"relay-host without DNS", outcome.Delivered, "", "a@x.example", func(r *rig) {
		r.o.RelayHost, r.o.LocalByDNS = "[192.0.2.1]", true
		r.peer("192.0.2.1", &testenv.Sink{})
	}},
	{"local-by-dns without DNS", outcome.Deferred, "", "a@x.example", func(r *rig) { r.o.LocalByDNS = true }},
	// what needs TLS (RFC 8689); deliver/remote's TestRequireTLS has all of it
	{"REQUIRETLS not offered", outcome.Bounced, "5.7.30", literal1, needsTLS(func(s *testenv.Sink) { s.Extensions = []string{"X"} })},
	{"no TLS for REQUIRETLS", outcome.Bounced, "5.7.10", literal1, needsTLS(func(s *testenv.Sink) { s.TLS = nil })},
	{"no TLS now for REQUIRETLS", outcome.Deferred, "", literal1, needsTLS(func(s *testenv.Sink) {
		s.Answer = func(ev testenv.Event) testenv.Action {
			if ev.Verb == "STARTTLS" {
				return testenv.Action{Reply: "454 4.7.0 not now"}
			}
			return testenv.Action{}
		}
	})},
	// here
	{"mailbox", outcome.Delivered, "2.0.0", "alice", func(*rig) {}},
	{"no such user", outcome.Bounced, "5.1.1", "no-one", func(*rig) {}},
	{"passwd not readable", outcome.Deferred, "4.3.0", "alice", func(r *rig) { r.users.breakWith(syscall.EIO) }},
	{"mailbox refuses", outcome.Bounced, "5.2.1", "alice", boxSays(refuse("never"))},
	{"mailbox defers", outcome.Deferred, "4.2.0", "alice", boxSays(later("locked"))},
	{"disk full", outcome.Deferred, "4.2.2", "alice", boxSays(local.Result{Outcome: outcome.Outcome{Reply: smtp.Reply{Code: 452, Status: "4.2.2", Text: "full"}, Err: syscall.ENOSPC}})},
	{"quota", outcome.Deferred, "", "alice", boxSays(local.Result{Outcome: outcome.Outcome{Err: syscall.EDQUOT}})},
	{"master gone", outcome.Deferred, "", "alice", boxSays(local.Result{Outcome: outcome.Outcome{Err: errors.New("the link to the master is closed")}})},
	{"a zero result", outcome.Deferred, "", "alice", boxSays(local.Result{})},
	{"alias loop", outcome.Deferred, "4.4.6", "loop", func(r *rig) { r.alias("loop: pool\npool: loop\n") }},
	{"empty list", outcome.Deferred, "4.3.5", "list", func(r *rig) { r.alias("list: :include:/x\n") }},
	{"broken .forward", outcome.Deferred, "4.3.5", "alice", func(r *rig) { r.mailer.forwards = map[string]string{"alice": "\"open"} }},
	{"program that fails", outcome.Bounced, "5.3.0", "prog", func(r *rig) {
		r.alias("prog: \"|x\"\n")
		r.mailer.running = func(local.Job) local.Result {
			return local.Result{Outcome: outcome.Outcome{Action: outcome.Bounced, Reply: smtp.Reply{Code: 550, Status: "5.3.0", Text: "exit 1"}, Err: errors.New("exit 1")}}
		}
	}},
	{"program that defers", outcome.Deferred, "", "prog", func(r *rig) {
		r.alias("prog: \"|x\"\n")
		r.mailer.running = func(local.Job) local.Result {
			return local.Result{Outcome: outcome.Outcome{Err: errors.New("exit 75")}}
		}
	}},
	{"too many hops (A62)", outcome.Bounced, "5.4.6", "alice", func(r *rig) { r.o.Hops = 1 }},
}

func TestA41Permanence(t *testing.T) {
	if len(permanence) < 40 {
		t.Errorf("%d rows, want 40", len(permanence))
	}
	for _, tt := range permanence {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			tt.prep(r)
			id := r.mailText("Received: a\n"+plain, r.now(), "carol@also.example", tt.to)
			if tt.want == outcome.Bounced && strings.Contains(tt.to, "alice") {
				r.mailer.answer = onlyAlice(r.mailer.answer)
			}
			r.pass()
			got := r.actionOf(id)
			if got != tt.want {
				t.Errorf("%v, want %v; log:\n%s", got, tt.want, r.log)
			}
			word := map[outcome.Action]string{outcome.Delivered: "message delivered", outcome.Deferred: "delivery deferred", outcome.Bounced: "message bounced"}[tt.want]
			r.wantLog(word, "qid="+string(id), "dsn="+tt.dsn)
		})
	}
}

// onlyAlice leaves carol's mailbox for the bounce.
func onlyAlice(answer func(string) (local.Result, bool)) func(string) (local.Result, bool) {
	return func(user string) (local.Result, bool) {
		if user != "alice" || answer == nil {
			return local.Result{}, false
		}
		return answer(user)
	}
}

// actionOf says what became of a message with one recipient whose sender is
// carol.
func (r *rig) actionOf(id spool.ID) outcome.Action {
	s, err := r.queue.Read(id)
	switch {
	case err == nil && s.Recipients[len(s.Recipients)-1].State == envelope.Pending:
		return outcome.Deferred
	case err == nil:
		r.t.Errorf("the message is still there, %v", s.Recipients)
		return outcome.Deferred
	case len(r.mailer.box("carol")) > 0:
		return outcome.Bounced
	}
	return outcome.Delivered
}

// Timeouts of a reply and of a whole session are temporary (R47, R51, A39).
func TestA41Timeouts(t *testing.T) {
	for _, tt := range []struct {
		name string
		act  testenv.Action
		verb string
	}{
		{"no greeting", testenv.Action{Hang: true}, ""},
		{"no answer to MAIL", testenv.Action{Hang: true}, "MAIL"},
		{"no answer to the final dot", testenv.Action{Hang: true}, "."},
		{"an octet now and then", testenv.Action{Each: time.Minute}, "EHLO"},
		{"reads nothing", testenv.Action{Stuck: true}, "DATA"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				at(tt.verb, tt.act)(r)
				id := r.mail("carol@also.example", literal1)
				begun := time.Now()
				r.pass()
				if got := r.actionOf(id); got != outcome.Deferred {
					t.Errorf("%v, want deferred", got)
				}
				if took := time.Since(begun); took > 910*time.Second {
					t.Errorf("the session took %v", took)
				}
			})
		})
	}
}

// R38: A accepted and B deferred at one host, five runs: A has one copy. A55.
func TestR38NoSecondCopy(t *testing.T) {
	r := newRig(t)
	sink := r.peer("192.0.2.1", &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
		if ev.Verb == "RCPT" && strings.Contains(ev.Line, "<b@") {
			return testenv.Action{Reply: "450 4.2.0 not now"}
		}
		if ev.Verb == "RCPT" && strings.Contains(ev.Line, "<c@") {
			return testenv.Action{Reply: "550 5.1.1 never heard of"}
		}
		return testenv.Action{}
	}})
	r.mail("carol@us.example", "a@[192.0.2.1]", "b@[192.0.2.1]", "c@[192.0.2.1]")
	for range 5 {
		r.pass()
	}
	r.want("active: carol@us.example -> a@[192.0.2.1] delivered", "active: carol@us.example -> b@[192.0.2.1] pending",
		"active: carol@us.example -> c@[192.0.2.1] bounced")
	if got := sink.Messages(); len(got) != 1 || fmt.Sprint(got[0].To()) != "[a@[192.0.2.1]]" {
		t.Errorf("sink got %v", got)
	}
	if text := r.wantBox("carol", 1)[0]; strings.Contains(text, "<a@") || strings.Contains(text, "<b@") || !strings.Contains(text, "<c@") {
		t.Errorf("the bounce does not name c alone (B65):\n%s", text)
	}
}

// R39: temporary answers alone make no bounce.
func TestR39NoEmptyBounce(t *testing.T) {
	r := newRig(t)
	says("RCPT", "450 4.2.0 not now")(r)
	r.mail("carol@us.example", "a@[192.0.2.1]", "b@[192.0.2.1]")
	for range 3 {
		r.pass()
	}
	r.wantBox("carol", 0)
}

// R1: each host gets exactly its own recipients and text.
func TestR1Hosts(t *testing.T) {
	r := newRig(t)
	var sinks []*testenv.Sink
	var to []string
	for i := range 9 {
		addr := fmt.Sprintf("192.0.2.%d", i+1)
		sinks = append(sinks, r.peer(addr, &testenv.Sink{}))
		to = append(to, fmt.Sprintf("a%d@[%s]", i, addr), fmt.Sprintf("b%d@[%s]", i, addr))
	}
	for n := range 5 {
		r.mailText(fmt.Sprintf("%s%d\n", plain, n), r.now(), fmt.Sprintf("s%d@x.example", n), to...)
	}
	r.pass()
	r.want()
	for i, s := range sinks {
		if len(s.Messages()) != 5 {
			t.Errorf("host %d got %d messages", i, len(s.Messages()))
		}
		for _, m := range s.Messages() {
			n := strings.TrimSuffix(strings.TrimPrefix(m.From(), "s"), "@x.example")
			want := fmt.Sprintf("[a%d@[192.0.2.%d] b%[1]d@[192.0.2.%[2]d]]", i, i+1)
			if fmt.Sprint(m.To()) != want || m.Text() != plain+n+"\n" {
				t.Errorf("host %d got %v from %s:\n%s", i, m.To(), m.From(), m.Text())
			}
		}
	}
}

// More than 100 recipients at one host are several transactions.
func TestManyRecipients(t *testing.T) {
	r := newRig(t)
	sink := r.peer("192.0.2.1", &testenv.Sink{})
	var to []string
	for i := range 250 {
		to = append(to, fmt.Sprintf("u%d@[192.0.2.1]", i))
	}
	r.mail("s@x.example", to...)
	r.pass()
	r.want()
	total := 0
	for _, m := range sink.Messages() {
		if len(m.Rcpt) > 100 {
			t.Errorf("a transaction of %d recipients", len(m.Rcpt))
		}
		total += len(m.Rcpt)
	}
	if total != 250 || sink.Sessions() != 1 {
		t.Errorf("%d recipients in %d sessions", total, sink.Sessions())
	}
}
