package policy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"postoffice/applets/smtpd"
	"postoffice/internal/peer"
	"postoffice/internal/smtp"
)

// wire is a connection from an address.
type wire struct {
	net.Conn
	from string
}

func (w wire) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(w.from + ":4000"))
}

// taking is a queue that takes each message, and keeps none.
type taking struct{}

func (taking) Room(context.Context) (peer.Amount, error) {
	return peer.Amount{Octets: 1 << 30, Files: 1 << 30}, nil
}
func (taking) Held(context.Context) *peer.Held { return &peer.Held{} }
func (taking) NewID() (string, error)          { return "Q1", nil }

func (taking) Begin(context.Context, *smtpd.Transaction) (smtpd.Incoming, error) {
	return taken{}, nil
}

type taken struct{}

func (taken) Write(p []byte) (int, error)  { return len(p), nil }
func (taken) ID() string                   { return "Q1" }
func (taken) More() []string               { return nil }
func (taken) Commit(context.Context) error { return nil }
func (taken) Release()                     {}
func (taken) Hold(string)                  {}

func (taken) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }

func (taken) Instead(context.Context, *smtpd.Transaction) (smtpd.Incoming, error) {
	return taken{}, nil
}
func (taken) Abort() {}

// proxy passes on others' connections.
const proxy = "203.0.113.2"

// speak sends lines one after the other, each behind the reply to the one before;
// several with a bar between them go at once. It returns the codes of the replies.
// A line "-" says nothing more until the server hangs up, and none is the client going.
func speak(t *testing.T, s *smtpd.Server, address string, lines ...string) (codes []int) {
	t.Helper()
	ours, theirs := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- s.ServeConn(t.Context(), wire{theirs, address}, smtpd.Relay) }()
	defer func() {
		ours.Close()
		<-ended
	}()
	if address == proxy {
		go io.WriteString(ours, "PROXY TCP4 198.51.100.7 192.0.2.25 4000 25\r\n")
	}
	in := bufio.NewReader(ours)
	for i, line := range append([]string{""}, lines...) {
		if i > 0 && line != "-" {
			go fmt.Fprintf(ours, "%s\r\n", strings.ReplaceAll(line, "|", "\r\n"))
		}
		for range strings.Count(line, "|") + 1 {
			r, err := smtp.ReadReply(in)
			if err != nil {
				return codes
			}
			codes = append(codes, r.Code)
		}
	}
	return codes
}

// recipients of TestGoodness: no such user, nothing known now, and all others.
func testRecipient(_ context.Context, q Question) (smtp.Reply, error) {
	switch to := q.To; {
	case to.Local == "nobody":
		return smtp.Reply{Code: 550, Status: "5.1.1", Text: "no"}, nil
	case to.Local == "later":
		return smtp.Reply{Code: 451, Status: "4.3.0", Text: "later"}, nil
	case to.Domain == "far.example" && !q.Trusted:
		return smtp.Reply{Code: 550, Status: "5.7.1", Text: "no"}, nil
	}
	return smtp.Reply{}, nil
}

// TestGoodnessA89: what each answer is worth, by whole sessions: the table of the first
// postoffice, and nothing for what is allowed or refused for now.
func TestGoodnessA89(t *testing.T) {
	const helo, mail, rcpt = "HELO x", "MAIL FROM:<a@far.example>", "RCPT TO:<bob@us.example>"
	const nobody, later, bad, letter = "RCPT TO:<nobody@us.example>", "RCPT TO:<later@us.example>", "MAIL FROM:<a@none.example>", "Subject: x\r\n\r\n."
	deny := filepath.Join(t.TempDir(), "hosts.deny")
	if err := os.WriteFile(deny, []byte("smtpd: 198.51.100.9: setenv DENY cut\nsmtpd: 198.51.100.8\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(t.TempDir(), "hosts.deny")
	if err := os.WriteFile(named, []byte("smtpd: ALL EXCEPT .far.example\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		o      Options
		from   string // 198.51.100.7
		naming smtpd.Naming
		lines  []string
		want   []int // the points, one after the other
	}{
		{name: "nothing is said"},
		{name: "QUIT alone", lines: []string{"QUIT"}},
		{name: "no message", lines: []string{helo, "EHLO x", "NOOP", "VRFY bob", "EXPN bob", "HELP", "RSET", "QUIT"}},
		{name: "unknown", lines: []string{helo, "XYZZY", "CONN", "QUIT x", "QUIT"}},
		{name: "a message", lines: []string{helo, mail, rcpt, "DATA", letter, "QUIT"}, want: []int{4}},
		{name: "for three", lines: []string{helo, mail, rcpt, rcpt, rcpt, "DATA", letter}, want: []int{6}},
		{name: "in chunks", lines: []string{helo, mail, rcpt, "BDAT 3\r\nx", "BDAT 3 last \r\nx", "QUIT"}, want: []int{4}},
		{name: "in chunks that are refused", o: Options{NoDaemon: true}, lines: []string{helo, "MAIL FROM:<>", rcpt, "BDAT 3\r\nx", "BDAT 3 last\r\nx", "QUIT"}},
		{name: "a chunk out of order", lines: []string{helo, "BDAT 3 LAST\r\nx", "QUIT"}, want: []int{-2}},
		{name: "one that is not sent", lines: []string{helo, mail, rcpt, rcpt, "RSET", "QUIT"}},
		{name: "two", lines: []string{helo, mail, rcpt, "DATA", letter, mail, rcpt, "DATA", letter}, want: []int{4, 4}},
		{name: "nobody", lines: []string{helo, mail, nobody, nobody, "QUIT"}, want: []int{-2, -2}},
		{name: "nobody, in a message", lines: []string{helo, mail, nobody, rcpt, "DATA", letter}, want: []int{-2, 4}},
		{name: "nobody alone", lines: []string{helo, mail, nobody, "DATA"}, want: []int{-2}},
		{name: "later", lines: []string{helo, mail, later, "DATA", "QUIT"}},
		{name: "elsewhere", lines: []string{helo, mail, "RCPT TO:<bob@far.example>"}, want: []int{-2}},
		{name: "MAIL refused", o: Options{VerifyFrom: true}, lines: []string{helo, bad, "QUIT"}, want: []int{-2}},
		{name: "MAIL refused, softly", o: Options{VerifyFrom: true, SoftDeny: true}, lines: []string{helo, bad, "QUIT"}},
		{name: "MAIL later", o: Options{VerifyFrom: true}, lines: []string{helo, "MAIL FROM:<a@slow.example>", "QUIT"}},
		{name: "MAIL misspelt", lines: []string{helo, "MAIL FROM a", "RCPT b"}, want: []int{-2}},
		{name: "out of order", lines: []string{helo, rcpt, "DATA", "DATA", mail, mail}, want: []int{-2, -2, -2}},
		{name: "no recipient", lines: []string{helo, mail, "DATA"}, want: []int{-2}},
		{name: "sent on behind a refusal", o: Options{VerifyFrom: true}, lines: []string{helo, bad + "|" + rcpt + "|" + rcpt + "|DATA"}, want: []int{-2}},
		{name: "sent on behind a refusal for now", o: Options{VerifyFrom: true}, lines: []string{helo, "MAIL FROM:<a@slow.example>|" + rcpt + "|DATA"}},
		{name: "and then out of order", o: Options{VerifyFrom: true}, lines: []string{helo, bad, rcpt, "DATA", rcpt}, want: []int{-2, -2}},
		{name: "too big, as it says", lines: []string{helo, mail + " SIZE=1001", "QUIT"}},
		{name: "too big", lines: []string{helo, mail, rcpt, "DATA", strings.Repeat("x", 1001) + "\r\n."}},
		{name: "null sender", o: Options{NoDaemon: true}, lines: []string{helo, "MAIL FROM:<>", rcpt, "DATA"}},
		{name: "checkhelo", o: Options{CheckHelo: true}, lines: []string{"HELO us.example", mail, "QUIT"}, want: []int{-4}},
		{name: "checkhelo, softly", o: Options{CheckHelo: true, SoftDeny: true}, lines: []string{"HELO us.example", "QUIT"}},
		{name: "hosts.deny", o: Options{HostsDeny: deny}, from: "198.51.100.8", lines: []string{mail, rcpt, "QUIT"}, want: []int{-10}},
		{name: "hosts.deny, softly", o: Options{HostsDeny: deny, SoftDeny: true}, from: "198.51.100.8", want: []int{-10}},
		{name: "hosts.deny, taken", o: Options{HostsDeny: deny, Forbidden: Forbidden{Take: true}}, from: "198.51.100.8", lines: []string{"QUIT"}, want: []int{-5}},
		{name: "cut off", o: Options{HostsDeny: deny}, from: "198.51.100.9", want: []int{-10}},
		{name: "paranoid", o: Options{Paranoid: true}, naming: smtpd.Unnamed, want: []int{-10}},
		{name: "paranoid, taken", o: Options{Paranoid: true, Forbidden: Forbidden{Take: true}}, naming: smtpd.Unnamed, lines: []string{"QUIT"}, want: []int{-5}},
		{name: "paranoid, DNS says nothing", o: Options{Paranoid: true}, naming: smtpd.Uncertain, lines: []string{"QUIT"}},
		{name: "hosts.deny, DNS says nothing", o: Options{HostsDeny: named}, naming: smtpd.Uncertain},
		{name: "dnscheck", o: Options{DNSCheck: true}, naming: smtpd.Forged, want: []int{-10}},
		{name: "silence", lines: []string{"-"}, want: []int{-2}},
		{name: "silence behind MAIL", lines: []string{helo, mail, "-"}, want: []int{-1}},
		{name: "through a proxy", from: proxy, lines: []string{helo, rcpt, mail, nobody}},
		{name: "this machine", o: Options{VerifyFrom: true}, from: "127.0.0.1", lines: []string{helo, rcpt, mail, nobody}},
		{name: "trusted", from: "203.0.113.1", lines: []string{helo, rcpt, mail, nobody}},
		{name: "perhaps trusted", o: Options{Unsure: func() bool { return true }}, lines: []string{helo, rcpt, mail, nobody}},
		{name: "perhaps with us for an exchanger", o: Options{LocalMX: true}, naming: smtpd.Uncertain, lines: []string{helo, rcpt, mail, nobody}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var got []int
			o := world(tt.o)
			o.Recipient = testRecipient
			o.Score = func(_ *smtpd.Client, points, _ int) bool {
				got = append(got, points)
				return false
			}
			if tt.from == "" {
				tt.from = "198.51.100.7"
			}
			if tt.naming == smtpd.Unnamed && !tt.o.Paranoid {
				tt.naming = smtpd.Named
			}
			s := smtpd.New(smtpd.Options{Hostname: "us.example", Checker: New(o, nil).Session, Queue: taking{}, Size: 1000,
				Proxy:      func(a netip.Addr) bool { return a == netip.MustParseAddr(proxy) },
				ClientName: func(context.Context, netip.Addr) (string, smtpd.Naming) { return "", tt.naming },
				Trusted: func(a netip.Addr) (local, trusted bool) {
					return a.IsLoopback(), a.IsLoopback() || a == netip.MustParseAddr("203.0.113.1")
				}})
			codes := speak(t, s, tt.from, tt.lines...)
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%s: %v, want %v; the replies were %v", tt.name, got, tt.want, codes)
			}
		})
	}
}

// TestGoodnessEnds: a client with too low a score hears so behind the reply that was
// one too many, and the session ends; the audit has the record of the first postoffice.
// What it gets for its message if it goes on counts.
func TestGoodnessEnds(t *testing.T) {
	const helo, mail, rcpt = "HELO x", "MAIL FROM:<a@far.example>", "RCPT TO:<bob@us.example>"
	const nobody = "RCPT TO:<nobody@us.example>"
	deny := filepath.Join(t.TempDir(), "hosts.deny")
	if err := os.WriteFile(deny, []byte("smtpd: 198.51.100.8\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, from string
		o          Options
		lines      []string
		codes      []int
		record     string // the one before the last
	}{
		{"RCPT", "198.51.100.7", Options{}, []string{helo, mail, nobody, nobody, nobody, "NOOP"}, []int{220, 250, 250, 550, 550, 550, 421}, "RCPT:550:" + nobody},
		{"RCPT beside good ones", "198.51.100.7", Options{}, []string{helo, mail, rcpt, nobody, nobody, nobody, nobody, "NOOP"}, []int{220, 250, 250, 250, 550, 550, 550, 550, 421}, "RCPT:550:" + nobody},
		{"refused and stays", "198.51.100.8", Options{HostsDeny: deny}, []string{"-"}, []int{554, 421}, "CONN:554:forbidden"},
		{"refused and doesn't", "198.51.100.8", Options{HostsDeny: deny, SoftDeny: true}, nil, []int{421}, "CONN:421:forbidden"},
		{"taken", "198.51.100.8", Options{HostsDeny: deny, Forbidden: Forbidden{Take: true}}, []string{"-"}, []int{220, 421}, "CONN:220:forbidden"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var out lines
			log, end := logTo(t, &out)
			o := world(tt.o)
			o.Recipient, o.Log, o.Audit = testRecipient, log, true
			sum := 0
			o.Score = func(c *smtpd.Client, points, pending int) bool {
				if got := c.Addr.Addr().String(); got != tt.from {
					t.Errorf("%s: the points are %s's", tt.name, got)
				}
				sum += points
				return sum+pending < -4
			}
			s := smtpd.New(smtpd.Options{Hostname: "us.example", Checker: New(o, nil).Session, Queue: taking{}, Log: log})
			codes := speak(t, s, tt.from, tt.lines...)
			end()
			records := out.audited()
			if !reflect.DeepEqual(codes, tt.codes) || len(records) < 2 ||
				!strings.HasSuffix(records[len(records)-2], tt.record) || !strings.HasSuffix(records[len(records)-1], ":QUIT:421:Coal") {
				t.Errorf("%s: %v, want %v, and last of the records %q and QUIT:421:Coal, got\n%s", tt.name, codes, tt.codes, tt.record, strings.Join(records, "\n"))
			}
		})
	}
}

// audited are the audit records among the lines.
func (l *lines) audited() (all []string) {
	for _, line := range l.taken() {
		if strings.HasPrefix(line, "AUDIT:") {
			all = append(all, line)
		}
	}
	return all
}
