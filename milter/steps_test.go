package milter

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/internal/testenv/testfilter"
)

// TestTerms: what a filter doesn't want isn't sent, what it doesn't answer isn't waited
// for, and what its version hasn't got doesn't exist.
func TestTerms(t *testing.T) {
	for _, tt := range []struct {
		name     string
		version  uint32
		protocol uint32
		commands string // of a session with one message and one unknown command
	}{
		{"all", 6, 0, "CHMRTLLNBEUQ"},
		{"version 5", 5, 0, "CHMRTLLNBEUQ"},
		{"version 4", 4, 0, "CHMRTLLNBEUQ"},
		{"version 3", 3, 0, "CHMRLLNBEUQ"},
		{"version 2", 2, 0, "CHMRLLNBEQ"},
		{"no connect", 6, noConnect, "HMRTLLNBEUQ"},
		{"no helo", 6, noHelo, "CMRTLLNBEUQ"},
		{"no mail", 6, noMail, "CHRTLLNBEUQ"},
		{"no rcpt", 6, noRcpt, "CHMTLLNBEUQ"},
		{"no data", 6, noData, "CHMRLLNBEUQ"},
		{"no header", 6, noHeader, "CHMRTNBEUQ"},
		{"no end of header", 6, noEndOfHeader, "CHMRTLLBEUQ"},
		{"no body", 6, noBody, "CHMRTLLNEUQ"},
		{"no unknown", 6, noUnknown, "CHMRTLLNBEQ"},
		{"nothing", 6, noConnect | noHelo | noMail | noRcpt | noData | noHeader | noEndOfHeader | noBody | noUnknown, "EQ"},
		{"answers nothing", 6, mumConnect | mumHelo | mumMail | mumRcpt | mumData | mumHeader | mumEOH | mumBody | mumUnknown, "CHMRTLLNBEUQ"},
		{"answers no header", 2, mumHeader, "CHMRLLNBEQ"},
		{"answers no recipients", 6, mumRcpt, "CHMRTLLNBEUQ"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &testfilter.Filter{Version: tt.version, Protocol: tt.protocol}
			run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
				if err != nil {
					t.Fatal(err)
				}
				if s, r, err := wholeMessage(c); s != AtEnd || r.Verdict != (Verdict{}) || err != nil {
					t.Errorf("at %v: %+v, %v", s, r, err)
				}
				if v, err := c.Unknown("XYZZY"); v != (Verdict{}) || err != nil {
					t.Errorf("unknown: %+v, %v", v, err)
				}
				if got := c.Terms(); got.Version != int(tt.version) {
					t.Errorf("version %d", got.Version)
				}
				for s := range AtUnknown + 1 {
					if want := strings.IndexByte(tt.commands, table[s].command) >= 0; c.Wants(s) != want && !s.ofMessage() {
						t.Errorf("Wants(%v) = %v", s, !want)
					}
				}
			})
			if got := f.Commands(""); got != tt.commands {
				t.Errorf("got %s, want %s", got, tt.commands)
			}
		})
	}
}

// TestVerdicts: each verdict at each step where it may be, and what comes behind it.
// commands are those of a session with two messages that are told whatever came
// before, each broken off by Abort if it wasn't over.
func TestVerdicts(t *testing.T) {
	whole := "MRTLLNBE"
	for _, tt := range []struct {
		code     string
		at       byte
		want     Action
		commands string
	}{
		{"a", 'C', Accept, "C"},
		{"a", 'H', Accept, "CH"},
		{"r", 'C', Reject, "C"},
		{"t", 'H', Tempfail, "CH"},
		{"4", 'C', Shutdown, "C"},
		{"f", 'H', ConnFail, "CH"},
		{"4", 'N', Shutdown, "CHMRTLLN"},
		{"f", 'R', ConnFail, "CHMR"},
		{"a", 'M', Accept, "CHMM"},
		{"r", 'M', Reject, "CHMM"},
		{"t", 'M', Tempfail, "CHMM"},
		{"d", 'M', Discard, "CHMM"},
		{"a", 'R', Accept, "CHMRMR"},
		{"d", 'R', Discard, "CHMRMR"},
		{"r", 'R', Reject, "CHMRAMRA"},
		{"t", 'R', Tempfail, "CHMRAMRA"},
		{"a", 'T', Accept, "CHMRTMRT"},
		{"r", 'T', Reject, "CHMRTMRT"},
		{"a", 'L', Accept, "CHMRTLMRTL"},
		{"d", 'N', Discard, "CHMRTLLNMRTLLN"},
		{"t", 'B', Tempfail, "CHMRTLLNBMRTLLNB"},
		{"a", 'E', Accept, "CH" + whole + whole},
		{"r", 'E', Reject, "CH" + whole + whole},
		{"d", 'E', Discard, "CH" + whole + whole},
		{"c", 'E', Continue, "CH" + whole + whole},
		{"s", 'L', Continue, "CHMRTLNBEMRTLNBE"},
		{"s", 'B', Continue, "CH" + whole + whole},
		{"s", 'R', Continue, "CH" + whole + whole},
	} {
		f := &testfilter.Filter{Protocol: canSkip, Answers: map[byte]string{tt.at: reply(tt.code[0], "")}}
		run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
			testenv.Must(t, err)
			_, r, err := wholeMessage(c)
			if r.Verdict.Action != tt.want || err != nil {
				t.Errorf("%s at %c: %v, %v, want %v", tt.code, tt.at, r.Verdict, err, tt.want)
			}
			// One abort is enough.
			if err := errors.Join(c.Abort(), c.Abort()); err != nil {
				t.Error(err)
			}
			want := tt.want
			if strings.IndexByte("CH", tt.at) >= 0 && want == Accept {
				want = Continue // nothing more is asked
			}
			if _, r, err = transaction(c, io.Discard); r.Verdict.Action != want || err != nil {
				t.Errorf("%s at %c, then: %v, %v, want %v", tt.code, tt.at, r.Verdict, err, want)
			}
			c.Abort()
		})
		if got := f.Commands("Q"); got != tt.commands {
			t.Errorf("%s at %c: the filter was told %s, want %s", tt.code, tt.at, got, tt.commands)
		}
	}
}

// TestAbort: one for each message that has begun and that the filter has not said its
// last word of, whatever ends it.
func TestAbort(t *testing.T) {
	f := &testfilter.Filter{}
	run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
		mail := func() { c.Mail("<a@c.example>", nil, nil) }
		c.Abort() // nothing has begun
		c.Connect(Client{}, nil)
		c.Abort()
		mail()
		c.Abort()
		c.Abort()
		mail()
		c.Rcpt("<b@us.example>", nil, nil)
		mail() // where the caller forgot it
		c.Data(nil)
		c.End(nil, io.Discard)
		c.Abort()
		c.Rcpt("<b@us.example>", nil, nil) // and a message that doesn't exist
		mail()                             // Quit ends it
	})
	if got, want := f.Commands(""), "CMAMRAMTEMAQ"; got != want {
		t.Errorf("the filter was told %s, want %s", got, want)
	}
}

// TestQuitNew: a connection serves the next client where the version has that.
func TestQuitNew(t *testing.T) {
	f := &testfilter.Filter{Answers: map[byte]string{'H': reply('r', "")}}
	run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
		for range 3 {
			c.Connect(Client{Name: "c.example"}, nil)
			if v, err := c.Helo("x", nil); v.Action != Reject || err != nil {
				t.Errorf("%v, %v", v, err)
			}
			if !c.QuitNew() {
				t.Error("no more clients")
			}
		}
		c.Connect(Client{}, nil)
		c.Mail("<>", nil, nil)
		c.QuitNew()
	})
	if got, want := f.Commands(""), "CHKCHKCHKCMAKQ"; got != want {
		t.Errorf("the filter was told %s, want %s", got, want)
	}
	f = &testfilter.Filter{Version: 5}
	run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
		if c.QuitNew() {
			t.Error("version 5 has no QUIT_NC")
		}
		if _, err := c.Helo("x", nil); err == nil || err.Error() != "the conversation is over" {
			t.Error(err)
		}
	})
}

// TestClient: how clients of each kind are told of.
func TestClient(t *testing.T) {
	for _, tt := range []struct {
		client Client
		want   string
	}{
		{Client{Name: "c.example", Addr: netip.MustParseAddrPort("192.0.2.1:1025")}, "c.example\x004\x04\x01192.0.2.1\x00"},
		{Client{Name: "[2001:db8::1]", Addr: netip.MustParseAddrPort("[2001:db8::1%eth0]:25")}, "[2001:db8::1]\x006\x00\x192001:db8::1\x00"},
		{Client{Name: "c.example", Addr: netip.MustParseAddrPort("[::ffff:192.0.2.1]:25")}, "c.example\x004\x00\x19192.0.2.1\x00"},
		{Client{Name: "localhost", Path: "/run/x"}, "localhost\x00L\x00\x00/run/x\x00"},
		{Client{Name: "un\x00known"}, "un?known\x00U"},
	} {
		f := new(testfilter.Filter)
		run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
			if _, err := c.Connect(tt.client, nil); err != nil {
				t.Error(err)
			}
		})
		if got := f.Seen()[0].Data; got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.client, got, tt.want)
		}
	}
}

// TestRcptRefused: recipients that others refused go to filters that ask for them.
func TestRcptRefused(t *testing.T) {
	for _, protocol := range []uint32{0, wantsRejected} {
		f := &testfilter.Filter{Protocol: protocol, Answers: map[byte]string{'R': reply('a', "")}}
		run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
			c.Mail("<a@c.example>", nil, nil)
			if err := c.RcptRefused("<nobody@us.example>", nil, []Macro{{"{rcpt_mailer}", "error"}}); err != nil {
				t.Error(err)
			}
			if !c.Wants(AtData) {
				t.Error("the answer to a refused recipient counted")
			}
		})
		if got, want := f.Commands("AMQ"), strings.Repeat("DR", int(protocol/wantsRejected)); got != want {
			t.Errorf("the filter was told %q, want %q", got, want)
		}
	}
}

// TestMacros: the usual ones of each step, or those that the filter asks for, in its
// order, from all that are known.
func TestMacros(t *testing.T) {
	all := []Macro{{"i", "3XK9"}, {"j", "us.example"}, {"{client_addr}", "192.0.2.1"}, {"{mail_addr}", "a@c.example"},
		{"{auth_authen}", ""}, {"{rcpt_addr}", "b@us.example"}, {"{tls_version}", "TLSv1.3"}, {"{odd}", "x\x00y"}}
	tell := func(f *testfilter.Filter) (packets []string) {
		run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
			c.Connect(Client{}, all)
			c.Helo("x", all)
			c.Mail("<a@c.example>", nil, all)
			c.Rcpt("<b@us.example>", nil, all)
			c.Data(all)
			c.EndOfHeader(all)
			c.End(all, io.Discard)
		})
		for _, p := range f.Seen() {
			if p.Command == 'D' {
				packets = append(packets, p.Data)
			}
		}
		return packets
	}
	usual := []string{
		"Cj\x00us.example\x00{client_addr}\x00192.0.2.1\x00", "H{tls_version}\x00TLSv1.3\x00",
		"Mi\x003XK9\x00{auth_authen}\x00\x00{mail_addr}\x00a@c.example\x00",
		"Ri\x003XK9\x00{rcpt_addr}\x00b@us.example\x00", "Ti\x003XK9\x00", "Ni\x003XK9\x00", "Ei\x003XK9\x00",
	}
	if got := tell(&testfilter.Filter{}); !slices.Equal(got, usual) {
		t.Errorf("got %q, want %q", got, usual)
	}
	// Macros go with steps that the filter doesn't want, too: sendmail and Postfix send
	// them. A step that its version hasn't got doesn't exist.
	f := &testfilter.Filter{Protocol: noHelo | noMail | noRcpt | noData | noEndOfHeader}
	if got := tell(f); !slices.Equal(got, usual) || f.Commands("D") != "CEQ" {
		t.Errorf("got %q, %s, want %q", got, f.Commands("D"), usual)
	}
	want := slices.Concat(usual[:4], usual[5:])
	if got := tell(&testfilter.Filter{Version: 3}); !slices.Equal(got, want) {
		t.Errorf("version 3: got %q, want %q", got, want)
	}
	list := func(which uint32, names string) string { return testfilter.Number(which) + names + "\x00" }
	f = &testfilter.Filter{Lists: list(0, "{client_addr}, j") + list(1, "") + list(2, "odd  nothing,{i}") + list(99, "x")}
	want = slices.Concat([]string{"C{client_addr}\x00192.0.2.1\x00j\x00us.example\x00", "M{odd}\x00x?y\x00i\x003XK9\x00"}, usual[3:])
	if got := tell(f); !slices.Equal(got, want) {
		t.Errorf("own lists: got %q, want %q", got, want)
	}
}

// TestBody: a body goes in packets of what was agreed on, with CR LF, octet for octet.
func TestBody(t *testing.T) {
	for _, tt := range []struct {
		protocol uint32
		max      int
	}{{0, 65535}, {data256K, 262143}, {data1M, 1048575}, {data256K | data1M, 1048575}, {mumBody, 65535}} {
		f := &testfilter.Filter{Protocol: tt.protocol}
		var whole strings.Builder
		run(t, f, Options{LargePackets: true}, func(t *testing.T, c *Conn, err error) {
			for n, piece := range []string{"one\n\ntwo", "\n", "three\r", "\nfour\r\nfive\r", "x\n", strings.Repeat("\n", 70000),
				strings.Repeat("x", 65534) + "\nand", strings.Repeat("y", 65535), strings.Repeat("line\n", 300000)} {
				whole.WriteString(piece)
				if v, err := c.Body([]byte(piece)); v != (Verdict{}) || err != nil {
					t.Errorf("piece %d: %v, %v", n, v, err)
				}
			}
			c.End(nil, io.Discard)
		})
		var got strings.Builder
		for _, p := range f.Seen() {
			if p.Command == 'B' {
				if len(p.Data) > tt.max {
					t.Errorf("a packet of %d octets, want %d at most", len(p.Data), tt.max)
				}
				got.WriteString(p.Data)
			}
		}
		want := strings.ReplaceAll(strings.ReplaceAll(whole.String(), "\r\n", "\n"), "\n", "\r\n")
		if got.String() != want {
			t.Errorf("%#x: %d octets, want %d", tt.protocol, got.Len(), len(want))
		}
	}
}

// TestR55LongHeader: a field of any length goes as far as a packet does (S115).
func TestR55LongHeader(t *testing.T) {
	f := &testfilter.Filter{}
	run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
		for _, n := range []int{65535 - 3, 65535 - 2, 200_000, 10 << 20} {
			if _, err := c.Header("X", strings.Repeat("y", n)); err != nil {
				t.Error(n, err)
			}
		}
		if _, err := c.Header(strings.Repeat("n", 100_000), ""); err == nil {
			t.Error("a name of 100 KB was sent")
		}
	})
	for _, p := range f.Seen() {
		if n := len(p.Data); p.Command == 'L' && n != 65535 && n != 65534 {
			t.Errorf("%d octets", n)
		}
	}
}

// TestLeadingBlank: one blank behind the colon is sendmail's, unless the filter wants
// it; a tab never is.
func TestLeadingBlank(t *testing.T) {
	for _, tt := range []struct {
		protocol    uint32
		value, want string
	}{
		{0, " x", "x"}, {0, "x", "x"}, {0, "  x", " x"}, {0, "\tx", "\tx"}, {0, " x\r\n\ty\n z", "x\n\ty\n z"},
		{leadingBlank, " x", " x"}, {leadingBlank, "x", "x"},
	} {
		f := &testfilter.Filter{Protocol: tt.protocol}
		run(t, f, Options{}, func(t *testing.T, c *Conn, err error) { c.Header("X", tt.value) })
		if got := f.Seen()[0].Data; got != "X\x00"+tt.want+"\x00" {
			t.Errorf("%q: %q, want %q", tt.value, got, tt.want)
		}
	}
}

// TestReply: what a filter wants said is text, for the client alone.
func TestReplyB4(t *testing.T) {
	for _, tt := range []struct {
		text string
		want smtp.Reply
		act  Action
	}{
		{"550 5.7.1 no\x00", smtp.Reply{Code: 550, Status: "5.7.1", Text: "no"}, ReplyCode},
		{"550 5.7.1 no", smtp.Reply{Code: 550, Status: "5.7.1", Text: "no"}, ReplyCode},
		{"450 later\x00", smtp.Reply{Code: 450, Text: "later"}, ReplyCode},
		{"550\x00", smtp.Reply{Code: 550}, ReplyCode},
		{"550-5.7.1 one\r\n550 5.7.1 two\r\n\x00", smtp.Reply{Code: 550, Status: "5.7.1", Text: "one\ntwo"}, ReplyCode},
		{"550 5.7.1 %s%n%d 100%% %\x00", smtp.Reply{Code: 550, Status: "5.7.1", Text: "%s%n%d 100% %"}, ReplyCode},
		{"550 5.7.1 \xff\xc3\xa4\t\x1b[2J\x00", smtp.Reply{Code: 550, Status: "5.7.1", Text: "?????[2J"}, ReplyCode},
		{"421 4.3.2 stop\x00", smtp.Reply{Code: 421, Status: "4.3.2", Text: "stop"}, Shutdown},
	} {
		f := &testfilter.Filter{Answers: map[byte]string{'M': reply('y', tt.text)}}
		run(t, f, Options{}, func(t *testing.T, c *Conn, err error) {
			testenv.Must(t, err)
			v, err := c.Mail("<>", nil, nil)
			if v != (Verdict{tt.act, tt.want}) || err != nil {
				t.Errorf("%q: %+v, %v, want %+v", tt.text, v, err, tt.want)
			}
		})
	}
}

// TestOffer: what a filter may choose from is everything, but for packets that are
// larger than Postfix's.
func TestOffer(t *testing.T) {
	for _, large := range []bool{false, true} {
		want := testfilter.Number(6) + testfilter.Number(0x1ff) + testfilter.Number(0x1fffff)
		if large {
			want = want[:8] + testfilter.Number(0x301fffff)
		}
		f := &testfilter.Filter{Answer: func(p testfilter.Packet) (string, bool) {
			if p.Command == 'O' && p.Data != want {
				t.Errorf("offered %q, want %q", p.Data, want)
			}
			return "", false
		}}
		run(t, f, Options{LargePackets: large}, func(t *testing.T, c *Conn, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
}
