package hosts

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// noFiles is the read of a file that names no other.
func noFiles(string) (string, error) { return "", fs.ErrNotExist }

// files is the read of files that lie in a map.
func files(m map[string]string) func(string) (string, error) {
	return func(path string) (string, error) {
		text, ok := m[path]
		if !ok {
			return "", &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		return text, nil
	}
}

func parse(t *testing.T, text string) *Table {
	t.Helper()
	table, problems := Parse(text, noFiles)
	for _, p := range problems {
		t.Errorf("line %d: %v", p.Line, p.Err)
	}
	return table
}

// A word that is read as a name, and looks as if something else were meant, is told once
// with its line, and what stands beside it counts.
func TestDoubts(t *testing.T) {
	lists := files(map[string]string{"/list": "192.0.2 .example.net"})
	for _, tt := range []struct{ text, says string }{
		{"smptd: ALL", "2: smptd is another service: is smtpd meant?"},
		{"smtpds: ALL", "2: smtpds is another service: is smtpd meant?"},
		{"AL: ALL", "2: AL is another service: is all meant?"},
		{"ALL EXCPET sshd: .x.example", "2: EXCPET is another service: is except meant?"},
		{"sendmail: ALL", "2: sendmail is another service: rules for this server are for smtpd"},
		{"Exim4, sshd: ALL", "2: Exim4 is another service"},
		{"smtpd: UNKOWN", "2: UNKOWN is a host's name: is unknown meant?"},
		{"smtpd: local, Paranoyd", "2: Paranoyd is a host's name: is paranoid meant?"},
		{"smtpd: ALL EXCPET .ok.example", "2: EXCPET is a host's name: is except meant?"},
		{"smtpd: EVERYONE", "2: EVERYONE is a host's name: the words are ALL, "},
		{"smtpd: 192.168.1", "2: 192.168.1 is no address"},
		{"smtpd: 10.0.0.256 .x.example", "2: 10.0.0.256 is no address"},
		{"smtpd: /list", "2: 192.0.2 is no address"},
		{"sshd, vsftpd, in.ftpd, imapd: UNKOWN", ""},
		{"smtpd: gate, mail.example.org, 192.168.1., 10.0.0.1, *.example, LOCAL", ""},
	} {
		table, problems := Parse("# a file\n"+tt.text+"\n", lists)
		var says []string
		for _, p := range problems {
			says = append(says, fmt.Sprintf("%d: %v", p.Line, p.Err))
			if p.Fatal {
				t.Errorf("%q: %v doesn't count", tt.text, p.Err)
			}
		}
		if got := strings.Join(says, "|"); !strings.HasPrefix(got, tt.says) || tt.says == "" && got != "" || len(says) > 1 {
			t.Errorf("%q: told %q, want %q", tt.text, got, tt.says)
		}
		if strings.HasSuffix(tt.text, ".x.example") && !Judge(nil, table, client("192.0.2.9", "a.x.example")).Denied {
			t.Errorf("%q: what stands beside it doesn't count", tt.text)
		}
	}
}

func client(addr, name string) Client {
	return Client{Addr: netip.MustParseAddr(addr), Name: name, Server: netip.MustParseAddr("192.0.2.25")}
}

// TestPatterns: each pattern of hosts_access(5), in a hosts.deny.
func TestPatterns(t *testing.T) {
	four, six := client("198.51.100.7", "mx.Example.ORG"), client("2001:db8::7", "mx.example.org.")
	nameless, short := client("198.51.100.8", ""), client("10.0.0.1", "gate")
	forged := nameless
	forged.Forged = true
	for _, tt := range []struct {
		pattern string
		matches []Client
		not     []Client
	}{
		{"ALL", []Client{four, six, nameless, short, forged}, nil},
		{"all", []Client{four}, nil},
		{"LOCAL", []Client{short}, []Client{four, nameless, forged}},
		{"KNOWN", []Client{four, six, short}, []Client{nameless, forged}},
		{"UNKNOWN", []Client{nameless}, []Client{four, short, forged}},
		{"PARANOID", []Client{forged}, []Client{four, nameless}},
		{".example.org", []Client{four, six}, []Client{nameless, short}},
		{".b\u00fccher.example", []Client{client("192.0.2.1", "mx.xn--bcher-kva.example")}, []Client{four}},
		{"b\u00fccher.example", []Client{client("192.0.2.1", "xn--bcher-kva.example")}, []Client{four}},
		{".org", []Client{four}, []Client{short}},
		{".mple.org", nil, []Client{four}},
		{"example.org", nil, []Client{four}},
		{"MX.example.org", []Client{four, six}, []Client{nameless}},
		{"198.51.100.7", []Client{four}, []Client{nameless, six}},
		{"198.51.100.", []Client{four, nameless}, []Client{short}},
		{"198.51.", []Client{four}, []Client{short}},
		{"10.", []Client{short}, []Client{four}},
		{"198.51.100.0/24", []Client{four, nameless}, []Client{short}},
		{"198.51.100.0/255.255.255.248", []Client{four}, []Client{nameless, short}},
		{"198.51.100.77/24", []Client{four}, []Client{short}},
		{"0.0.0.0/0", []Client{four}, []Client{six}},
		{"[2001:db8::]/32", []Client{six}, []Client{four}},
		{"[2001:db8::7]", []Client{six}, []Client{four}},
		{"[::ffff:198.51.100.0]/120", []Client{four}, []Client{six}},
		{"*.example.org", []Client{four}, []Client{nameless}},
		{"mx?example.*", []Client{four}, []Client{short}},
		{"198.51.100.?", []Client{four, forged}, []Client{short}},
		{"2001:db8:*", nil, []Client{six}}, // the colon ends the list, as it does for tcpd(8)
		{"ALL EXCEPT .example.org", []Client{nameless, short}, []Client{four, six}},
		{"ALL EXCEPT .example.org EXCEPT mx.example.org", []Client{nameless, four}, []Client{client("192.0.2.1", "x.example.org")}},
		{"10., 198.51.100.7,.example.net", []Client{four, short}, []Client{six}},
	} {
		table, _ := Parse("smtpd: "+tt.pattern+"\n", noFiles)
		for _, c := range tt.matches {
			if !Judge(nil, table, c).Denied {
				t.Errorf("%q does not match %+v", tt.pattern, c)
			}
		}
		for _, c := range tt.not {
			if Judge(nil, table, c).Denied {
				t.Errorf("%q matches %+v", tt.pattern, c)
			}
		}
	}
}

// TestServices: who the rule is for.
func TestServices(t *testing.T) {
	c := client("198.51.100.7", "")
	for services, want := range map[string]bool{
		"smtpd": true, "SMTP": true, "ALL": true, "sshd": false, "sshd, smtp": true, "ALL EXCEPT sshd": true,
		"ALL EXCEPT smtpd": false, "smtp*": true, "smtpd@192.0.2.25": true, "smtpd@192.0.2.26": false, "ALL@192.0.2.": true,
		"sshd@192.0.2.25 smtpd": true, "smtpd@[2001:db8::1]": false,
	} {
		if got := Judge(nil, parse(t, services+" : ALL"), c).Denied; got != want {
			t.Errorf("%q: %v, want %v", services, got, want)
		}
	}
}

// TestJudge: the order of the two files, and what options make of a rule.
func TestJudge(t *testing.T) {
	c := client("198.51.100.7", "mx.example.org")
	for _, tt := range []struct {
		allow, deny string
		want        Verdict
	}{
		{"", "", Verdict{}},
		{"", "ALL: ALL", Verdict{Denied: true, Deny: true, Line: 1}},
		{"smtpd: .example.org", "ALL: ALL", Verdict{Line: 1}},
		{"smtpd: .example.net", "\n# all others\nALL: ALL", Verdict{Denied: true, Deny: true, Line: 3}},
		{"smtpd: .example.org : deny", "", Verdict{Denied: true, Line: 1}},
		{"", "smtpd: 198.51.100. : ALLOW\nALL: ALL", Verdict{Deny: true, Line: 1}},
		{"", "smtpd: ALL: setenv WHY no mail from %h at %a\\: see %%x", Verdict{Denied: true, Deny: true, Line: 1, Reason: "no mail from mx.example.org at 198.51.100.7: see %x"}},
		{"", "smtpd: ALL: setenv = DENY go away, %n", Verdict{Denied: true, Cut: true, Deny: true, Line: 1, Reason: "go away, mx.example.org"}},
		{"sshd: ALL: spawn (x)", "smtpd: \\\n 198.51.100.7 \\\n : setenv WHY \\\nlong\nsmtpd: ALL", Verdict{Denied: true, Deny: true, Line: 1, Reason: "long"}},
	} {
		if got := Judge(parse(t, tt.allow), parse(t, tt.deny), c); got != tt.want {
			t.Errorf("%q, %q:\n%s", tt.allow, tt.deny, cmp.Diff(tt.want, got))
		}
	}
}

// TestUnsure: who is denied for want of what is not known now, the name or a file of
// patterns, is told apart from who is denied whatever that is (B38).
func TestUnsure(t *testing.T) {
	silent := client("198.51.100.7", "")
	silent.Unsure = true
	known := client("198.51.100.7", "mx.example.org")
	for _, tt := range []struct {
		allow, deny string
		silent      string // of the client whose name is not known now: "", denied, unsure
		known       string
	}{
		{"", "smtpd: UNKNOWN", "", ""},
		{"", "smtpd: .example.org", "", "denied"},
		{"", "smtpd: ALL", "denied", "denied"},
		{"", "smtpd: ALL EXCEPT KNOWN", "unsure", ""},
		{"", "smtpd: 198.51.100.0/24 EXCEPT *.org", "unsure", ""},
		{"", "smtpd: .example.net: allow\nALL: ALL", "unsure", "denied"},
		{"", "smtpd: 10.: allow\nALL: ALL", "denied", "denied"},
		{"", "ALL: ALL\nsmtpd: .example.net: allow", "denied", "denied"},
		{"smtpd: .example.org", "ALL: ALL", "unsure", ""},
		{"smtpd: .example.org", "", "", ""},
		{"smtpd: .example.org: deny", "ALL: ALL", "denied", "denied"},
		{"smtpd: 10.", "ALL: ALL", "denied", "denied"},
		{"smtpd: 198.51.100.7: deny\nsmtpd: .example.org", "", "denied", "denied"},
		{"smtpd: /none", "ALL: ALL", "unsure", "unsure"},
		{"smtpd: /none: deny", "ALL: ALL", "denied", "denied"},
		{"", "smtpd: /none", "", ""},
		{"", "smtpd: /none: allow\nALL: ALL", "unsure", "unsure"},
		{"", "ALL: ALL\nsmtpd: /none: allow", "denied", "denied"},
		{"sshd: /none", "ALL: ALL", "denied", "denied"},
	} {
		allow, _ := Parse(tt.allow, noFiles)
		deny, _ := Parse(tt.deny, noFiles)
		for _, who := range []struct {
			client Client
			want   string
		}{{silent, tt.silent}, {known, tt.known}} {
			v, got := Judge(allow, deny, who.client), ""
			switch {
			case v.Unsure:
				got = "unsure"
			case v.Denied:
				got = "denied"
			}
			if got != who.want || v.Unsure && !v.Denied {
				t.Errorf("%q, %q: %q for %q, want %q", tt.allow, tt.deny, got, who.client.Name, who.want)
			}
		}
	}
	if v := Judge(Unread(), parse(t, "ALL: ALL"), known); !v.Unsure {
		t.Errorf("hosts.allow is not known: %+v", v)
	}
	if v := Judge(nil, Unread(), known); v.Denied {
		t.Errorf("hosts.deny is not known: %+v", v)
	}
}

// TestProblems: a line that is wrong is told with its number, and the others count.
func TestProblems(t *testing.T) {
	read := files(map[string]string{"/etc/bad-hosts": "203.0.113.0/24\n.spam.example\n", "/etc/nested": "/etc/bad-hosts", "/etc/odd": "a@b"})
	for _, tt := range []struct {
		line, want string
		counts     bool
	}{
		{"smtpd", "want SERVICES : CLIENTS, with a colon", false},
		{"smtpd:", "clients: a list is empty", false},
		{":ALL", "services: a list is empty", false},
		{"smtpd: EXCEPT a", "clients: EXCEPT has nothing in front of it", false},
		{"smtpd: a EXCEPT", "clients: EXCEPT has nothing behind it", false},
		{"smtpd: @trusted", "clients: netgroups are not looked up", false},
		{"smtpd: root@host", "clients: clients are not asked for users' names", false},
		{"smtpd: 1.2.3.4/33", `clients: "33" is no length of a network of 1.2.3.4`, false},
		{"smtpd: 1.2.3.4/255.0.255.0", `clients: the mask "255.0.255.0" has gaps`, false},
		{"smtpd: 1.2.3.4.5.", `clients: "1.2.3.4.5." is no beginning of an address`, false},
		{"smtpd: [::1", `clients: "[::1" has no closing bracket`, false},
		{"smtpd: ALL: twist /bin/echo no", "no command is run from here: the client is refused; setenv WHY gives it a reason", true},
		{"smtpd: ALL: spawn (mail root) &", "no command is run from here: take spawn away, or watch the log", true},
		{"smtpd: ALL: (echo x) &", "what stands behind the clients is no option; commands are not run from here, and an address of IPv6 stands in [ and ]", true},
		{"smtpd: ALL: severity mail.info", "severity means nothing here", true},
		{"smtpd: ALL: setenv FOO bar", "setenv FOO means nothing here: the reasons are WHY and DENY", true},
		{"smtpd: /etc/none", "clients: open /etc/none: file does not exist", false},
		{"smtpd: /etc/nested", "clients: /etc/nested: a file of patterns names another one", false},
		{"smtpd: /etc/odd", "clients: /etc/odd: clients are not asked for users' names", false},
	} {
		table, problems := Parse("# first\n"+tt.line+"\nsmtpd: .spam.example", read)
		if len(problems) != 1 || problems[0].Line != 2 || problems[0].Err.Error() != tt.want {
			t.Errorf("%q: %v, want line 2: %s", tt.line, problems, tt.want)
		}
		if got := len(table.rules) == 2; got != tt.counts {
			t.Errorf("%q: counts is %v, want %v", tt.line, got, tt.counts)
		}
		if !Judge(nil, table, client("192.0.2.1", "x.spam.example")).Denied {
			t.Errorf("%q: the line behind it does not count", tt.line)
		}
	}
	table, problems := Parse("smtpd: /etc/bad-hosts", read)
	if len(problems) > 0 || !Judge(nil, table, client("203.0.113.9", "")).Denied || !slices.Equal(table.Files, []string{"/etc/bad-hosts"}) {
		t.Errorf("a file of patterns: %v, %v", problems, table.Files)
	}
}

// TestCombinations: whatever stands in the files, the index finds the rule that
// a look at each finds.
func TestCombinations(t *testing.T) {
	patterns := []string{"ALL", "LOCAL", "KNOWN", "UNKNOWN", "PARANOID", ".a.example", "x.a.example", "10.0.0.0/8", "10.1.", "10.1.2.3", "[2001:db8::]/32", "*.example", "10.?.*"}
	clients := []Client{client("10.1.2.3", "x.a.example"), client("10.2.2.2", ""), client("2001:db8::1", "y.a.example"), client("192.0.2.1", "gate"), client("::1", "")}
	clients[4].Forged = true
	for i, a := range patterns {
		for j, b := range patterns {
			text := fmt.Sprintf("smtpd: %s EXCEPT %s\nsmtpd: %s\nALL: %s\n", a, b, b, a)
			table := parse(t, text)
			for _, c := range clients {
				want := 0
				for k := range table.rules {
					if r := &table.rules[k]; r.clients.has(func(p *pattern) bool { return p.matches(&c) }) {
						want = r.line
						break
					}
				}
				if got := Judge(nil, table, c).Line; got != want {
					t.Errorf("%d, %d: %q: line %d for %+v, want %d", i, j, text, got, c, want)
				}
			}
		}
	}
}

// FuzzParse: no text panics or makes problems without a line, and a rule that the
// index finds matches.
func FuzzParse(f *testing.F) {
	f.Add("smtpd, smtp: ALL EXCEPT .a.example [::1]/64 : setenv WHY %h : deny\n", "10.0.0.1", "x.a.example")
	f.Add("ALL@10.: /f \\\n, LOCAL: spawn (x)", "::1", "")
	f.Fuzz(func(t *testing.T, text, addr, name string) {
		a, err := netip.ParseAddr(addr)
		if err != nil {
			return
		}
		table, problems := Parse(text, func(path string) (string, error) {
			if path == "/f" {
				return "a.example 10.", nil
			}
			return "", errors.New("no such file")
		})
		lines := strings.Count(text, "\n") + 1
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines || p.Err == nil {
				t.Errorf("%q: problem %+v", text, p)
			}
		}
		v := Judge(table, table, Client{Addr: a.Unmap(), Name: name})
		if v.Line < 0 || v.Line > lines {
			t.Errorf("%q: %+v", text, v)
		}
	})
}

// BenchmarkJudge: 10,000 lines of hosts.deny, of which none matches.
func BenchmarkJudge(b *testing.B) {
	var text strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&text, "smtpd: 10.%d.%d.0/24\nsmtpd: .spam%d.example\n", i/256, i%256, i)
	}
	table, _ := Parse(text.String(), noFiles)
	c := client("198.51.100.7", "mx.example.org")
	for b.Loop() {
		if Judge(nil, table, c).Denied {
			b.Fatal("denied")
		}
	}
}
