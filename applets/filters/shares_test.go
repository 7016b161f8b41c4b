package filters

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/applets/smtpd"
	"postoffice/internal/filterline"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/internal/testenv/testfilter"
)

// shared is one filter, and mail that begins in a session from an address.
func shared(t *testing.T, f *testfilter.Filter, words string) (set *Set, mail func(addr string) (*Session, smtp.Reply)) {
	t.Helper()
	all, err := filterline.Parse(testenv.ServeFilter(t, f)+" name=f "+words, func(s string) (string, bool) { return s, true })
	if err != nil {
		t.Fatal(err)
	}
	set = New(Options{Filters: all, Hostname: "us.example", Log: slog.New(slog.DiscardHandler)}, nil)
	return set, func(addr string) (*Session, smtp.Reply) {
		from := netip.MustParseAddrPort(addr)
		s := set.Session(&smtpd.Client{Addr: from, Server: netip.MustParseAddrPort("192.0.2.1:25"), Local: from.Addr().IsLoopback(), Hello: "c.example"})
		t.Cleanup(s.Close)
		if v := s.Connect(t.Context()); !v.Accepted() {
			t.Errorf("%s: %v", addr, v.Reply)
		}
		return s, s.Mail(t.Context(), &smtpd.Transaction{ID: "Q1", ReversePath: smtp.Path{Local: "a", Domain: "b.example"}}).Reply
	}
}

// TestShares: one network has at most a quarter of a filter's connections. Who wants more
// is asked to come again, whatever fail= says, another network is filtered, and nothing of
// it counts as the filter's failure.
func TestShares(t *testing.T) {
	set, mail := shared(t, &testfilter.Filter{}, "")
	for i := range maxConns / connShare {
		if _, r := mail("198.51.100.7:40000"); !r.IsZero() {
			t.Fatalf("connection %d: %v", i, r)
		}
	}
	if _, r := mail("198.51.100.7:40000"); r.Code != 451 {
		t.Errorf("beyond its share a client hears %v", r)
	}
	other, r := mail("203.0.113.9:40000")
	if !r.IsZero() {
		t.Errorf("another network hears %v", r)
	}
	if inside := set.all[0].room.Inside(); inside != maxConns/connShare+1 {
		t.Errorf("%d connections are open", inside)
	}
	if line := set.Lines(true)[0]; !strings.HasPrefix(line, "filter:[f] ok ") {
		t.Errorf("it is shown as %s", line)
	}
	other.Close()
	if inside := set.all[0].room.Inside(); inside != maxConns/connShare {
		t.Errorf("%d connections are open when one has ended", inside)
	}
}

// TestBusyTakesNoTurn: who has their share of a filter's connections can't try it when its
// rest is over, and keeps nobody from that.
func TestBusyTakesNoTurn(t *testing.T) {
	set, mail := shared(t, &testfilter.Filter{}, "")
	for range maxConns / connShare {
		mail("198.51.100.7:40000")
	}
	f := set.all[0]
	f.unreachable(errors.New("it ended"))
	f.away.until = time.Time{}
	if _, r := mail("198.51.100.7:40000"); r.Code != 451 {
		t.Errorf("beyond its share a client hears %v", r)
	}
	before := f.room.Inside()
	if _, r := mail("203.0.113.9:40000"); !r.IsZero() || f.room.Inside() != before+1 {
		t.Errorf("another network hears %v, and has %d connections more", r, f.room.Inside()-before)
	}
}

// TestQueueHasRoom: however many connections programs of this machine have by TCP, what
// waits in the queue is judged.
func TestQueueHasRoom(t *testing.T) {
	set, mail := shared(t, &testfilter.Filter{}, "")
	for range maxConns / connShare {
		mail("127.0.0.1:40000")
	}
	if _, r := mail("127.0.0.1:40000"); r.Code != 451 {
		t.Errorf("beyond its share a client hears %v", r)
	}
	client, text := Here("s"), "Subject: x\n\nhello\n"
	tx := &smtpd.Transaction{ID: "Q2", Client: &client, ReversePath: smtp.Path{Local: "a", Domain: "b.example"}, Recipients: []smtp.Recipient{{Path: smtp.Path{Local: "r", Domain: "us.example"}}}}
	j, err := set.Judge(t.Context(), "uid 1000", tx, smtpd.NewMessage(strings.NewReader(text), int64(len(text)), 0, nil))
	if err != nil || !j.Accepted() || len(j.Refused) > 0 {
		t.Errorf("it is %+v, %v", j, err)
	}
}

// TestClosedUnasked: a filter that is started again between two messages of a session is
// asked about the second, also where it doesn't want to hear of MAIL and so can't tell then.
func TestClosedUnasked(t *testing.T) {
	const noMail = 1 << 2 // libmilter's SMFIP_NOMAIL
	f := &testfilter.Filter{Closes: "E", Protocol: noMail}
	_, mail := shared(t, f, "fail=tempfail")
	s, r := mail("192.0.2.7:40000")
	tx := &smtpd.Transaction{ID: "Q1", ReversePath: smtp.Path{Local: "a", Domain: "b.example"}}
	for i := range 2 {
		if i > 0 {
			if !testenv.Eventually(s.links[0].conn.Closed) {
				t.Fatal("the filter has not closed its connection")
			}
			r = s.Mail(t.Context(), tx).Reply
		}
		text := "Subject: x\n\nhello\n"
		m := smtpd.NewMessage(strings.NewReader(text), int64(len(text)), 0, nil)
		for _, v := range []smtpd.Verdict{smtpd.Refusal(r), s.Rcpt(t.Context(), tx, smtp.Path{Local: "r", Domain: "us.example"}), s.Data(t.Context(), tx), s.Message(t.Context(), tx, m)} {
			if !v.Accepted() {
				t.Errorf("message %d: %v", i, v.Reply)
			}
		}
	}
	if n := strings.Count(f.Commands(""), "E"); n != 2 {
		t.Errorf("it heard of %d messages: %s", n, f.Commands("D"))
	}
}

// TestRest: a filter that can't be reached is tried by one session when its rest is over,
// and the rests grow up to a bound.
func TestRest(t *testing.T) {
	f := &filter{Filter: filterline.Filter{Name: "f"}}
	begin := func() error { return f.begin("192.0.2.7/32", time.Now()) }
	f.unreachable(errors.New("no socket"))
	if err := begin(); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("who is not let to it hears %v", err)
	}
	f.away = rest{}
	last := f.unreachable(errResting)
	if last != firstRest || !errors.Is(begin(), errResting) {
		t.Errorf("after a failure it rests for %v", last)
	}
	for range 20 {
		next := f.unreachable(errResting)
		if next < last || next > maxRest {
			t.Errorf("a rest of %v follows one of %v", next, last)
		}
		last = next
	}
	if last != maxRest {
		t.Errorf("the longest rest is %v", last)
	}
	f.away.until = f.away.until.Add(-last)
	f.Connect = maxRest
	if begin() != nil || !errors.Is(begin(), errResting) {
		t.Error("when its rest is over not one session tries it")
	}
}

// TestClientConnections: a filter is told how many sessions the client's address has, also
// across a reload.
func TestClientConnections(t *testing.T) {
	line := []filterline.Filter{{Name: "a", Address: "/none"}}
	old := New(Options{Filters: line}, nil)
	client := func(a string) *smtpd.Client { return &smtpd.Client{Addr: netip.MustParseAddrPort(a + ":1")} }
	first, other := old.Session(client("192.0.2.1")), old.Session(client("192.0.2.2"))
	set := New(Options{Filters: line}, old)
	second := set.Session(client("192.0.2.1"))
	told := func(s *Session) string {
		for _, m := range s.connectMacros() {
			if m.Name == "client_connections" {
				return m.Value
			}
		}
		return ""
	}
	if told(first) != "2" || told(second) != "2" || told(other) != "1" {
		t.Errorf("told are %s, %s and %s sessions, want 2, 2 and 1", told(first), told(second), told(other))
	}
	first.Close()
	if told(second) != "1" {
		t.Errorf("with one session less: %s", told(second))
	}
	second.Close()
	other.Close()
	if n := set.clients.Inside(); n != 0 {
		t.Errorf("%d are counted that have gone", n)
	}
}

// TestMacroWords: ciphers have the names that they have for OpenSSL, and the author is who the
// client says, where that can be told.
func TestMacroWords(t *testing.T) {
	for id, want := range map[uint16]string{
		tls.TLS_AES_128_GCM_SHA256:                        "TLS_AES_128_GCM_SHA256",
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:         "ECDHE-RSA-AES256-GCM-SHA384",
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA:            "ECDHE-RSA-AES128-SHA",
	} {
		version := uint16(tls.VersionTLS12)
		if id == tls.TLS_AES_128_GCM_SHA256 {
			version = tls.VersionTLS13
		}
		if got := cipherName(version, tls.CipherSuiteName(id)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for arguments, want := range map[string]string{
		"": "", "SIZE=5": "", "SIZE=5 auth=ann@a.example BODY=8BITMIME": "ann@a.example", "AUTH=<>": "<>", "AUTH=a+2Bb@a.example": "a+b@a.example",
		"AUTH=a+00b": "", "AUTH=a+0Ab": "", "AUTH=" + strings.Repeat("a", 400): "",
	} {
		if got := authorOf(arguments); got != want {
			t.Errorf("%q: %q, want %q", arguments, got, want)
		}
	}
}

// TestAddresses: a filter's host may have addresses at which nothing is, and one that answers
// nothing leaves the others their time.
func TestAddresses(t *testing.T) {
	l, err := net.Listen("tcp", testenv.OwnAddress()+":0")
	testenv.Must(t, err)
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	own := netip.MustParseAddr(testenv.OwnAddress())
	c, err := dialTCP(t.Context(), "filter.example:"+port, func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{own.Next(), own}, nil
	})
	testenv.Must(t, err)
	c.Close()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		for left := 3; left > 0; left-- {
			one, cancel := partOf(ctx, left)
			begin := time.Now()
			<-one.Done()
			if took := time.Since(begin); took != 4*time.Second {
				t.Errorf("with %d left one has %v, want 4 s", left, took)
			}
			cancel()
		}
	})
}
