package smtpd

import (
	"context"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
)

// store sends text, lines that end in LF, as a message, and returns what was
// stored.
func store(t *testing.T, o Options, k Kind, addr, from, text string, to ...string) stored {
	t.Helper()
	q := &memQueue{}
	o.Queue = q
	c := dialFrom(t, New(o), k, addr)
	c.envelope(from, to...)
	c.send(strings.ReplaceAll(text, "\n", "\r\n"))
	if r := c.do("."); r.Code != 250 {
		t.Fatalf("%q: %v", text, r)
	}
	return q.messages()[0]
}

// TestReceived has the trace field of each way in.
func TestReceived(t *testing.T) {
	const date = `\w{3}, \d+ \w{3} 2000 \d\d:\d\d:\d\d [+-]\d{4}`
	for _, tt := range []struct {
		name string
		kind Kind
		addr string
		dns  string
		helo string
		to   []string
		want string
	}{
		{"a stranger", Relay, "192.0.2.7:1", "mail.client.example", "EHLO client.example", []string{"alice@us.example"},
			`from client\.example \(mail\.client\.example \[192\.0\.2\.7\]\)\n\tby us\.example \(postoffice\) with ESMTP id Q1\n\tfor <alice@us\.example>; ` + date},
		{"no name, two recipients", Relay, "192.0.2.7:1", "", "HELO client.example", []string{"alice@us.example", "bob@us.example"},
			`from client\.example \(\[192\.0\.2\.7\]\)\n\tby us\.example \(postoffice\) with SMTP id Q1;\n\t` + date},
		{"IPv6", Relay, "[2001:db8::9]:1", "", "EHLO c", []string{"alice@us.example"},
			`from c \(\[IPv6:2001:db8::9\]\)\n\tby us\.example \(postoffice\) with ESMTP id Q1\n\tfor <alice@us\.example>; ` + date},
		{"A17: IPv4-mapped", Relay, "[::ffff:192.0.2.7]:1", "", "EHLO c", []string{"alice@us.example"},
			`from c \(\[192\.0\.2\.7\]\)\n\tby us\.example \(postoffice\) with ESMTP id Q1\n\tfor <alice@us\.example>; ` + date},
		{"A23: a HELO that forges", Relay, "192.0.2.7:1", "", "EHLO a) (evil [1.2.3.4]) by mx", []string{"alice@us.example"},
			`from a\?\?\?evil\?\[1\.2\.3\.4\]\?\?by\?mx \(\[192\.0\.2\.7\]\)\n\tby us\.example \(postoffice\) with ESMTP id Q1\n\tfor <alice@us\.example>; ` + date},
		{"A22: a PTR that forges", Relay, "192.0.2.7:1", "x\ny: (z)\xff.", "EHLO c", []string{"alice@us.example"},
			`from c \(x\?y:\?\?z\?\? \[192\.0\.2\.7\]\)\n\tby us\.example \(postoffice\) with ESMTP id Q1\n\tfor <alice@us\.example>; ` + date},
		{"a program", Local, "127.0.0.1:1", "", "EHLO c", []string{"alice@us.example"},
			`from joe \(uid \d+\)\n\tby us\.example \(postoffice\) with LOCAL id Q1\n\tfor <alice@us\.example>; ` + date},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options(nil)
				o.ClientName = nameOf(tt.dns)
				o.Account = func(int) (string, string, error) { return "joe", "", nil }
				q := &memQueue{}
				o.Queue = q
				c := dialFrom(t, New(o), tt.kind, tt.addr)
				c.do(tt.helo)
				c.do("MAIL FROM:<s@client.example>")
				for _, to := range tt.to {
					c.do("RCPT TO:<" + to + ">")
				}
				c.do("DATA")
				c.do("Date: x\r\nFrom: x@y\r\nMessage-ID: <x@y>\r\n\r\nbody\r\n.")
				if got := q.messages(); len(got) != 1 || !regexp.MustCompile("^Received: "+tt.want+"\nDate: x\nFrom: x@y\nMessage-ID: <x@y>\n\nbody\n$").MatchString(got[0].Data) {
					t.Errorf("got\n%v, want\n%s", got, tt.want)
				}
			})
		})
	}
}

// TestHeaderOfStrangers has what becomes of a stranger's header: our trace
// fields stay ours (A24), all else stays as it is.
func TestHeaderOfStrangers(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, tt := range []struct{ name, in, want string }{
		{"as it was", "Subject: x\nBcc: bob\nFrom: bob\n\nbody\n", ""},
		{"header alone", "Subject: x\n", ""},
		{"header and empty line", "Subject: x\n\n", ""},
		{"nothing", "", ""},
		{"no header", "\nbody\n", ""},
		{"A24: blank first", " X-Injected: yes\nSubject: x\n\nbody\n", "\n X-Injected: yes\nSubject: x\n\nbody\n"},
		{"A24: tab first", "\tX: y\n", "\n\tX: y\n"},
		{"A24: colon first", ": x\n", "\n: x\n"},
		{"A24: no colon", "hello world\nfoo\n", "\nhello world\nfoo\n"},
		{"A24: octet outside ASCII in the name", "S\xc3\xbcbject: x\n", "\nS\xc3\xbcbject: x\n"},
		{"A24: a line of 300 octets without colon", long + "\n", "\n" + long + "\n"},
		{"A24: a name of 300 octets", long + ": y\n", "\n" + long + ": y\n"},
		{"A24: From_ line", "From joe Mon Jan\nSubject: x\n\n", "\nFrom joe Mon Jan\nSubject: x\n\n"},
		{"blank before the colon", "Subject : x\nTo\t: y\n\nbody\n", ""},
		{"two words before the colon", "Not a field: x\n", "\nNot a field: x\n"},
		{"junk further down", "Subject: x\njunk\n\nReturn-Path: y\n", ""},
		{"A24: Return-Path", "Return-Path: <a@b>\nSubject: x\nRETURN-PATH :\n <c@d>\n\tmore\nTo: y\n\nReturn-Path: stays\n", "Subject: x\nTo: y\n\nReturn-Path: stays\n"},
		{"A24: Return-Path alone", "Return-Path: <a@b>\n", " "},
		{"names that begin alike", "Return-Path-X: a\nReturn-Pat: b\nReceive: c\n\n", ""},
		{"folded lines", "Subject: x\n y\n\tz\n\n", ""},
		{"others' Authentication-Results", "Authentication-Results: mx.example; spf=pass\nSubject: x\n\n", ""},
		{"forged Authentication-Results", "Authentication-Results: us.example; spf=pass\nAUTHENTICATION-RESULTS:\n\t(x) \"US.example\" 1;\n spf=pass\nSubject: x\n\nAuthentication-Results: us.example; none\n",
			"Subject: x\n\nAuthentication-Results: us.example; none\n"},
		{"Authentication-Results of nobody", "Authentication-Results: (us.example; spf=pass\nSubject: x\n\n", "Subject: x\n\n"},
		{"Authentication-Results without end", "Authentication-Results:" + strings.Repeat(" \n\t", maxField/3) + "us.example; spf=pass\nSubject: x\n\n", "Subject: x\n\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				want := tt.want
				switch want {
				case "":
					want = tt.in
				case " ":
					want = ""
				}
				m := store(t, options(nil), Relay, strangerAddr, "s@client.example", tt.in, "alice@us.example")
				trace, ok := strings.CutSuffix(m.Data, want)
				if !ok || !regexp.MustCompile(`^Received: [^\n]*\n\t[^\n]*\n\t[^\n]*\n$`).MatchString(trace) {
					t.Errorf("sent %q, stored\n%q, want a trace field and\n%q", tt.in, m.Data, want)
				}
			})
		})
	}
}

// TestHeaderPieces cuts a message at each octet: no edge of a piece shows (A4).
func TestHeaderPieces(t *testing.T) {
	const in = "Received: a\nReturn-Path: <x@y>\n\tz\nFrom: bob, \"a b\" <joe>\n (c)\nMessage-Id : <m@i.d>\n\nbody\nTo: x\n"
	const want = "Received: a\nFrom: bob@us.example, \"a b\" <joe@us.example>\n (c)\nMessage-Id : <m@i.d>\nDate: Mon, 1 Jan 0001 00:00:00 +0000\n\nbody\nTo: x\n"
	for cut := range len(in) {
		q := &memQueue{}
		s := &session{o: options(q).withDefaults(), client: Client{Local: true}}
		s.tx = Transaction{Client: &s.client}
		s.incoming, _ = q.Begin(context.Background(), &s.tx)
		h := newHeader(s)
		for _, piece := range []string{in[:cut], in[cut:]} {
			if n, err := h.Write([]byte(piece)); n != len(piece) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := h.finish(); err != nil {
			t.Fatal(err)
		}
		if id := string(h.msgid); id != "<m@i.d>" {
			t.Errorf("cut at %d: Message-ID %q", cut, id)
		}
		h.free()
		s.incoming.Commit(context.Background())
		if got := content(t, q.messages()[0]); !strings.HasSuffix(got, want) {
			t.Fatalf("cut at %d: got\n%q, want\n%q", cut, got, want)
		}
	}
}

// TestMissingFields has what is added to a program's message, and to nobody
// else's.
func TestMissingFields(t *testing.T) {
	const date = `Date: \w{3}, \d+ \w{3} 2000 \d\d:\d\d:\d\d [+-]\d{4}\n`
	const id = `Message-ID: <2000\d{10}\.Q1@us\.example>\n`
	for _, tt := range []struct {
		name           string
		from, full, in string
		want           string
	}{
		{"all", "joe", "Joe Doe", "Subject: x\n\nbody\n", `Subject: x\nFrom: "Joe Doe" <joe@us\.example>\n` + date + id + `\nbody\n`},
		{"no full name", "joe", "", "Subject: x\n\nbody\n", `Subject: x\nFrom: joe@us\.example\n` + date + id + `\nbody\n`},
		{"another sender", "list@far.example", "Joe Doe", "Subject: x\n\n", `Subject: x\nFrom: list@far\.example\n` + date + id + `\n`},
		{"another user", "bob", "Joe Doe", "Subject: x\n\n", `Subject: x\nFrom: bob@us\.example\n` + date + id + `\n`},
		{"null sender", "", "Joe Doe", "Subject: x\n\n", `Subject: x\nFrom: MAILER-DAEMON@us\.example\n` + date + id + `\n`},
		{"quotes in the name", "joe", `J. "\" Doe`, "\n", `From: "J\. \\"\\\\\\" Doe" <joe@us\.example>\n` + date + id + `\n`},
		{"a name outside ASCII", "joe", "J\u00f6e", "\n", `From: =\?utf-8\?q\?J=C3=B6e\?= <joe@us\.example>\n` + date + id + `\n`},
		{"a name that is an address too", "joe", "J\u00f6 <y@z.example>", "\n", `From: =\?utf-8\?q\?J=C3=B6_=3Cy=40z=2Eexample=3E\?= <joe@us\.example>\n` + date + id + `\n`},
		{"the same in ASCII", "joe", "J <y@z.example>", "\n", `From: "J <y@z\.example>" <joe@us\.example>\n` + date + id + `\n`},
		{"a long name outside ASCII", "joe", strings.Repeat("\u00f6", 11), "\n", `From: =\?utf-8\?q\?(=C3=B6){10}\?=\n =\?utf-8\?q\?=C3=B6\?= <joe@us\.example>\n` + date + id + `\n`},
		{"a name with controls", "joe", "J\r\nX: y", "\n", `From: "J  X: y" <joe@us\.example>\n` + date + id + `\n`},
		{"nothing missing", "joe", "", "from: bob@b.example\ndate: d\nmessage-id: m\n\nbody\n", `from: bob@b\.example\ndate: d\nmessage-id: m\n\nbody\n`},
		{"header alone", "joe", "", "From: a@b\nDate: d\n", `From: a@b\nDate: d\n` + id},
		{"nothing at all", "joe", "", "", `From: joe@us\.example\n` + date + id},
		{"no header", "joe", "", "hello\n", `From: joe@us\.example\n` + date + id + `\nhello\n`},
		{"junk in the header", "joe", "", "From: a@b\njunk\nDate: x\n", `From: a@b\n` + date + id + `\njunk\nDate: x\n`},
		{"the body is no header", "joe", "", "From: a@b\nDate: d\n\nMessage-ID: x\n", `From: a@b\nDate: d\n` + id + `\nMessage-ID: x\n`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options(nil)
				o.Account = func(int) (string, string, error) { return "joe", tt.full, nil }
				m := store(t, o, Local, "127.0.0.1:1", tt.from, tt.in, "alice")
				if !regexp.MustCompile(`^Received: [^\n]*\n\t[^\n]*\n\t[^\n]*\n` + tt.want + "$").MatchString(m.Data) {
					t.Errorf("sent %q, stored\n%s, want\n%s", tt.in, m.Data, tt.want)
				}
				if m.To[0].String() != "alice@us.example" {
					t.Errorf("recipient %v", m.To[0])
				}
			})
		})
	}
}

// TestOwnAddress has the header rules of programs for this machine's TCP
// sessions too; the trace field shows the connection.
func TestOwnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(nil)
		o.Trusted = func(a netip.Addr) (local, trusted bool) {
			return a == netip.MustParseAddr("192.0.2.1"), true
		}
		m := store(t, o, Relay, "192.0.2.1:9", "joe", "To: bob\n\n", "alice")
		if !regexp.MustCompile(`^Received: from client\.example \(us\.example \[192\.0\.2\.1\]\)\n(.|\n)*To: bob@us\.example\nFrom: joe@us\.example\n`).MatchString(m.Data) {
			t.Errorf("stored\n%s", m.Data)
		}
	})
}

// TestCompleteAddresses has address fields of this machine's mail.
func TestCompleteAddresses(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"To: bob\n", "To: bob@h\n"},
		{"To: bob, alice\n", "To: bob@h, alice@h\n"},
		{"To:bob,joe@x.example,alice\n", "To:bob@h,joe@x.example,alice@h\n"},
		{"To: <bob>\n", "To: <bob@h>\n"},
		{"To: Bob Doe <bob>, <joe@x>\n", "To: Bob Doe <bob@h>, <joe@x>\n"},
		{"To: \"Doe, Bob\" <bob>\n", "To: \"Doe, Bob\" <bob@h>\n"},
		{"To: \"b o b\", joe\n", "To: \"b o b\"@h, joe@h\n"},
		{"To: bob (Bob, the (real) one)\n", "To: bob@h (Bob, the (real) one)\n"},
		{"To: (x) bob\n", "To: (x) bob@h\n"},
		{"To: bob,\n joe,\n\talice\n", "To: bob@h,\n joe@h,\n\talice@h\n"},
		{"To: friends: bob, joe@x, alice;, al\n", "To: friends: bob@h, joe@x, alice@h;, al@h\n"},
		{"To: undisclosed-recipients:;\n", ""},
		{"To: Bob Doe\n", ""},
		{"To: <>\n", ""},
		{"To: , ,\n", ""},
		{"To:\n", ""},
		{"To: <@a,@b:joe@x>, <@a:joe>\n", "To: <@a,@b:joe@x>, <@a:joe@h>\n"},
		{"To: joe@[IPv6:2001:db8::9], joe@[192.0.2.9]\n", ""},
		{"To: joe @ x . example, bob\n", "To: joe @ x . example, bob@h\n"},
		{"To: bob.doe\n", "To: bob.doe@h\n"},
		{"To: \"unended, bob\n", ""},
		{"To: (unended, bob\n", ""},
		{"To: Bob <bob> trailing, joe\n", "To: Bob <bob@h> trailing, joe@h\n"},
		{"To: a@b@c, <bob\n", "To: a@b@c, <bob@h\n"},
		{"To: \\\"x, y\n", ""},
	} {
		want := tt.want
		if want == "" {
			want = tt.in
		}
		if got := complete(t, tt.in, "h"); got != want {
			t.Errorf("%q:\n got %q\nwant %q", tt.in, got, want)
		}
	}
}

// TestAuthenticationResults: in our name they stay where a machine says it that we trust,
// as a filter that gives mail back, and a program of this machine; they go where somebody
// has logged in.
func TestAuthenticationResults(t *testing.T) {
	const in = "Authentication-Results: us.example; dkim=pass\nSubject: x\nFrom: a@us.example\nDate: Thu, 1 Jan 1970 00:00:00 +0000\nMessage-ID: <x@us.example>\n\nbody\n"
	for name, tt := range map[string]struct {
		client Client
		stays  bool
	}{
		"trusted": {Client{Trusted: true}, true}, "this machine": {Client{Local: true}, true},
		"a stranger": {Client{}, false}, "logged in": {Client{Trusted: true, Account: "joe"}, false},
	} {
		if got := filterOf(t, tt.client, in); strings.Contains(got, "dkim=pass") != tt.stays || !strings.HasSuffix(got, "\nbody\n") {
			t.Errorf("%s: %q", name, got)
		}
	}
}
