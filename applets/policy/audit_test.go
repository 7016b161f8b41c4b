package policy

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/applets/smtpd"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

// lines are what a log gets, without the time and the program in front.
type lines struct{ strings.Builder }

func (l *lines) taken() []string {
	defer l.Reset()
	var all []string
	for line := range strings.Lines(l.String()) {
		_, line, _ = strings.Cut(strings.TrimSuffix(line, "\n"), " info: ")
		all = append(all, line)
	}
	return all
}

// logTo returns a log as the server's own, and what waits for its lines.
func logTo(t *testing.T, w io.Writer) (log *slog.Logger, end func()) {
	t.Helper()
	log, out, err := maillog.New(maillog.Options{Sink: "stderr", Program: "smtpd", Stderr: w})
	if err != nil {
		t.Fatal(err)
	}
	return log, func() { out.Close() }
}

// TestAuditRecords: each answer is one record of mailaudit(5), and one line with the
// same in fields; what a client says stays on its line and in its field (B94, B95),
// and what may be a password is left out.
func TestAuditRecords(t *testing.T) {
	reply := func(code int, status string) smtp.Reply { return smtp.Reply{Code: code, Status: status, Text: "x"} }
	fields := regexp.MustCompile(`:(.{4}):(\d{3}):`)
	six := with(func(c *smtpd.Client) { c.Addr = netip.MustParseAddrPort("[2001:db8:1:2:3:4:5:6]:4000") })
	for _, tt := range []struct {
		name       string
		o          Options
		client     *smtpd.Client
		ask        func(smtpd.Checker)
		verb, line string
		r          smtp.Reply
		want       string // the record behind the seconds
	}{
		{name: "greeting", verb: "CONN", r: reply(220, ""), want: "   198.51.100.7:CONN:220:"},
		{name: "IPv6 whole", client: six, verb: "CONN", r: reply(220, ""), want: "2001:db8:1:2:3:4:5:6:CONN:220:"},
		{name: "stranger", o: Options{Paranoid: true}, client: with(func(c *smtpd.Client) { c.Name, c.Naming = "", smtpd.Unnamed }),
			ask: func(c smtpd.Checker) { c.Connect(context.Background()) }, verb: "CONN", r: reply(421, "4.7.25"), want: "   198.51.100.7:CONN:421:stranger"},
		{name: "stranger taken", o: Options{Paranoid: true, Forbidden: Forbidden{Take: true}}, client: with(func(c *smtpd.Client) { c.Name, c.Naming = "", smtpd.Unnamed }),
			ask: func(c smtpd.Checker) { c.Connect(context.Background()) }, verb: "CONN", r: reply(220, ""), want: "   198.51.100.7:CONN:220:stranger"},
		{name: "outlawed", verb: "CONN", r: reply(521, "5.7.1"), want: "   198.51.100.7:CONN:521:outlawed"},
		{name: "no greeting", verb: "CONN", r: reply(421, "4.3.2"), want: "   198.51.100.7:CONN:421:Error"},
		{name: "a command like the greeting", verb: "CONN", line: "CONN 220", r: reply(500, "5.5.1"), want: "   198.51.100.7:CONN:500:CONN 220"},
		{name: "HELO", verb: "HELO", line: "HELO mx.far.example", r: reply(250, ""), want: "   198.51.100.7:HELO:250:HELO mx.far.example"},
		{name: "MAIL", verb: "MAIL", line: "MAIL FROM:<a@b.example>", r: reply(250, ""), want: "   198.51.100.7:MAIL:250:MAIL FROM:<a@b.example>"},
		{name: "line breaks", verb: "RCPT", line: "RCPT TO:<a>\r\nAUDIT:", r: reply(500, ""), want: `   198.51.100.7:RCPT:500:RCPT TO:<a>\x0d\x0aAUDIT:`},
		{name: "unknown", verb: "xyzzy", line: "xyzzy now", r: reply(500, ""), want: "   198.51.100.7:XYZZ:500:xyzzy now"},
		{name: "unknown, with the mark between fields", verb: "A:250:", line: "A:250: b", r: reply(500, ""), want: "   198.51.100.7:ERR!:500:A:250: b"},
		{name: "a password", verb: "auth", line: "auth PLAIN AHVzZXIAcGFzcw==", r: reply(500, ""), want: "   198.51.100.7:AUTH:500:"},
		{name: "NOOP", verb: "NOOP", line: "NOOP x", r: reply(250, ""), want: "   198.51.100.7:NOOP:250:"},
		{name: "DATA", verb: "DATA", line: "DATA", r: reply(250, "2.0.0"), want: "   198.51.100.7:DATA:250:"},
		{name: "DATA too early", verb: "DATA", line: "DATA", r: reply(503, "5.5.1"), want: "   198.51.100.7:DATA:503:"},
		{name: "too big", verb: "DATA", line: "DATA", r: reply(552, "5.3.4"), want: "   198.51.100.7:DATA:552:size"},
		{name: "looping", verb: "DATA", line: "DATA", r: reply(554, "5.4.6"), want: "   198.51.100.7:DATA:554:looping"},
		{name: "refused", verb: "DATA", line: "DATA", r: reply(550, "5.5.2"), want: "   198.51.100.7:DATA:550:reject"},
		{name: "prohibited", o: Options{NoDaemon: true}, ask: func(c smtpd.Checker) { c.Data(context.Background(), &smtpd.Transaction{}) },
			verb: "DATA", line: "DATA", r: reply(550, "5.7.1"), want: "   198.51.100.7:DATA:550:prohibited"},
		{name: "QUIT", verb: "QUIT", line: "QUIT", r: reply(221, "2.0.0"), want: "   198.51.100.7:QUIT:221:"},
		{name: "timeout", verb: "QUIT", r: reply(421, "4.4.2"), want: "   198.51.100.7:QUIT:421:timeout"},
		{name: "shutdown", verb: "QUIT", r: reply(421, "4.3.2"), want: "   198.51.100.7:QUIT:421:shutdown"},
		{name: "gone", verb: "QUIT", want: "   198.51.100.7:QUIT:421:EOF"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var out lines
			log, end := logTo(t, &out)
			o := world(tt.o)
			o.Log, o.Audit = log, true
			if tt.client == nil {
				tt.client = stranger()
			}
			tt.client.Session = "S1"
			c := New(o, nil).Session(tt.client)
			if tt.ask != nil {
				tt.ask(c)
			}
			time.Sleep(12*time.Second + 900*time.Millisecond)
			c.Replied(tt.verb, tt.line, tt.r)
			end()
			got := out.taken()
			if len(got) != 3 || got[0] != "auditing on" || got[1] != "AUDIT: 12:"+tt.want {
				t.Fatalf("%s: %q, want that auditing is on, the record %q, and the same in fields", tt.name, got, "AUDIT: 12:"+tt.want)
			}
			m := fields.FindStringSubmatch(tt.want)
			if want := " verb=" + m[1] + " code=" + m[2] + " "; !strings.HasPrefix(got[2], "client audited session=S1 client=") || !strings.Contains(got[2], want) {
				t.Errorf("%s: in fields: %q, want %q", tt.name, got[2], want)
			}
		})
	}
}

// TestAuditToggle: SIGUSR1's call turns records on and off in sessions that have
// begun, reading the configuration again does what the option says, and this
// machine's programs are never audited.
func TestAuditToggle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lines
		log, end := logTo(t, &out)
		o := world(Options{})
		o.Log = log
		p := New(o, nil)
		c := p.Session(stranger())
		program := p.Session(&smtpd.Client{Kind: smtpd.Local, Local: true, Trusted: true})
		say := func() {
			c.Replied("NOOP", "NOOP", smtp.Reply{Code: 250})
			program.Replied("NOOP", "NOOP", smtp.Reply{Code: 250})
		}
		say()
		p.ToggleAudit()
		say()
		p.ToggleAudit()
		say()
		p.ToggleAudit()
		p = New(o, p) // the option says no
		say()
		o.Audit = true
		New(o, p)
		say()
		end()
		const record, same = "AUDIT:  0:   198.51.100.7:NOOP:250:", `client audited session="" client=mx.far.example[198.51.100.7]:4000 verb=NOOP code=250 dsn=""`
		want := []string{"auditing on", record, same, "auditing off", "auditing on", "auditing off", "auditing on", record, same}
		if got := strings.Join(out.taken(), "\n"); got != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	})
}

// TestAuditOffCostsNothing: while auditing is off an answer makes no garbage.
func TestAuditOffCostsNothing(t *testing.T) {
	c := New(world(Options{HostsDeny: filepath.Join(t.TempDir(), "none")}), nil).Session(stranger())
	if n := testing.AllocsPerRun(100, func() { c.Replied("MAIL", "MAIL FROM:<a@b.example>", smtp.Reply{Code: 250}) }); n != 0 {
		t.Errorf("%v pieces of memory an answer, want none", n)
	}
}
