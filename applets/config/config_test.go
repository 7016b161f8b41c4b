package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postoffice/internal/testenv"
)

// read loads text as a -C file of the caller's, with -o settings of root.
func read(t *testing.T, text string, sets ...string) (*Config, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "cf")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Options{File: name, Sets: sets, UID: 0})
	if c == nil {
		t.Fatal("Load returned no Config")
	}
	return c, err
}

// get is an option's value and origin as shown.
func get(t *testing.T, c *Config, name string) (text, origin string) {
	t.Helper()
	for _, s := range c.Settings() {
		if s.Name == name {
			return s.Value, s.Origin
		}
	}
	t.Fatalf("no option %s", name)
	return "", ""
}

func TestDefaults(t *testing.T) {
	c, err := Load(Options{File: "/dev/null"})
	if err != nil {
		t.Fatal(err)
	}
	if c.QReturn != 72*time.Hour || c.Timeout != 5*time.Minute || c.MinFree != 10_240_000 || c.Size != 100_000_000 ||
		c.Clients != 100 || c.ClientsPerAddress != 1 || c.Load != 0 || c.Hops != 100 || c.SMTPPort != 25 || !c.LocalByDNS {
		t.Errorf("defaults: %+v", c)
	}
	for _, s := range c.Settings() {
		if s.Origin != "default" {
			t.Errorf("%s comes from %s", s.Name, s.Origin)
		}
	}
}

// TestEveryOption holds the table together: names, a sentence each, a place of
// its own in Config, a default that prints as it is written.
func TestEveryOption(t *testing.T) {
	names := map[string]bool{}
	for i, o := range options {
		if names[o.name] || o.name != strings.ToLower(o.name) {
			t.Errorf("option %q: twice, or not in lower case", o.name)
		}
		names[o.name] = true
		if strings.Contains(o.doc, ". ") || !strings.HasSuffix(o.doc, ".") || strings.Contains(o.doc, "\n") {
			t.Errorf("%s: want one sentence, got %q", o.name, o.doc)
		}
		before, after := Config{}, Config{}
		v := o.bind(&after)
		for _, text := range []string{"1", "yes", "x.example", "/x", "reject", "192.0.2.1", "stderr", "json", "all", "~/x", "a:b", "=", "accept", "dovecot:/x", "maildir", "on", "1d", "defer", "@x.example"} {
			if v.set(text) == nil && !reflect.DeepEqual(before, after) {
				break
			}
		}
		if reflect.DeepEqual(before, after) {
			t.Errorf("%s: nothing could be set", o.name)
		}
		if o.def != "" && newLoader().conf.Settings()[i].Value != o.def {
			t.Errorf("%s: default %q prints %q", o.name, o.def, newLoader().conf.Settings()[i].Value)
		}
	}
}

func TestValues(t *testing.T) {
	testenv.NeedsRoot(t, "reads files as root, whose they must be")
	for _, tt := range []struct{ name, text, want string }{ // want "": refused
		{"qreturn", "90", "90"}, {"qreturn", "90m", "90m"}, {"qreturn", "120M", "2h"}, {"qreturn", "48h", "2d"}, {"qreturn", "0", "0"},
		{"qreturn", "3x", ""}, {"qreturn", "-1", ""}, {"qreturn", "+1", ""}, {"qreturn", "1.5d", ""}, {"qreturn", "d", ""},
		{"qreturn", "366d", ""}, {"qreturn", "99999999999999999999d", ""}, {"qreturn", "9223372036854775807d", ""},
		{"timeout", "0", ""}, {"timeout", "1", "1"}, {"timeout", "2d", ""}, {"timeout", "300", "5m"},
		{"size", "25m", "25m"}, {"size", "25000k", "25m"}, {"size", "1234", "1234"}, {"size", "1q", ""}, {"size", "9223372036854775807", "9223372036854775807"},
		{"size", "9223372036854775807g", ""}, {"size", "0x10", ""}, {"size", "1_000", ""},
		{"minfree", "10m", "10m"}, {"minfree", "1g", "1g"}, {"minfree", "500", "500"}, {"minfree", "9223372036854775807", ""},
		{"clients", "0", "0"}, {"clients", "1e3", ""}, {"hops", "0", ""}, {"hops", "10001", ""},
		{"load", "4", "4"}, {"load", "4.5", "4.5"}, {"load", "NaN", ""}, {"load", "Inf", ""}, {"load", "-4", ""}, {"load", "0x1p3", ""},
		{"local-by-dns", "0", "no"}, {"local-by-dns", "7", "yes"}, {"local-by-dns", "On", "yes"}, {"local-by-dns", "maybe", ""},
		{"bare-newline", "Reject", "reject"}, {"bare-newline", "fix", ""},
		{"queue-dir", "/q//x/", "/q/x"}, {"queue-dir", "q", ""},
		{"server-user", "_mail-1", "_mail-1"}, {"server-user", "-x", ""}, {"server-user", "a:b", ""}, {"server-user", "a b", ""},
		{"hostname", "MX.example.org.", "MX.example.org"}, {"hostname", "Auto", "auto"}, {"hostname", "192.0.2.1", ""}, {"hostname", "a..b", ""}, {"hostname", "-a", ""},
		{"self", "mx.example.org", "mx.example.org"},
		{"local-domains", "A.example, b.example", "a.example,b.example"}, {"local-domains", "[192.0.2.1]", "[192.0.2.1]"}, {"local-domains", "a@b", ""}, {"local-domains", "b\u00fccher.example.", "xn--bcher-kva.example"},
		{"trusted", "192.0.2.1,[192.0.2.2] 192.0.2.77/24 [IPv6:2001:db8::1] ::ffff:192.0.2.3 mail.example", "192.0.2.1,192.0.2.2,192.0.2.0/24,2001:db8::1,192.0.2.3,mail.example"},
		{"greylist", "On", "on"}, {"greylist", "yes", ""}, {"greylist-network", "yes", "24/64"}, {"greylist-network", "0", "no"}, {"greylist-network", "16/48", "16/48"}, {"greylist-network", "0/64", ""}, {"greylist-network", "24", ""},
		{"greylist-pools", "Shipped big.Example", "shipped,big.example"}, {"greylist-pools", "NONE", "none"}, {"greylist-pools", "[192.0.2.1]", ""}, {"greylist-pools", "com", ""},
		{"greylist-exempt-senders", "Joe@Far.example,@FAR.example", "joe@far.example,@far.example"}, {"greylist-exempt-senders", "joe", ""}, {"greylist-exempt-senders", "@", ""}, {"greylist-exempt-clients", "192.0.2.9/24", "192.0.2.0/24"}, {"greylist-exempt-clients", "far.example", ""},
		{"auth", "dovecot:/run//auth", "dovecot:/run/auth"}, {"auth", "dovecot:auth", ""}, {"auth", "pam", ""}, {"auth-mechanisms", "plain,Scram-SHA-256", "PLAIN,SCRAM-SHA-256"}, {"auth-mechanisms", "PLAIN!", ""},
		{"forbidden", "folder:~junk", ""}, {"forbidden", "folder:~/junk", "folder:~/junk"}, {"forbidden", "folder:junk", "folder:junk"}, {"forbidden", "folder:~", ""},
		{"trusted", "fc00::/7,2001:db8::/32", "fc00::/7,2001:db8::/32"}, {"trusted", "Everybody, mail.example", "mail.example,everybody"}, {"trusted", "0.0.0.0/0", ""}, {"trusted", "0.0.0.0/1", ""},
		{"trusted", "::/0", ""}, {"trusted", "2000::/3", ""}, {"trusted", "::ffff:0:0/96", ""}, {"trusted", "fc00::/6", ""}, {"trusted", "192.168.1.", ""}, {"trusted", "192.168.1", ""}, {"trusted", "10.0.0.256", ""},
		{"trusted", "10.0.0.1-9", ""}, {"trusted", "10.0.0.*", ""}, {"trusted", "7", ""}, {"trusted", "mail.example.25", ""}, {"proxy-from", "everybody", ""}, {"proxy-from", "0.0.0.0/0", ""}, {"xclient-from", "::/0", ""},
		{"relay-host", "192.0.2.7", "[192.0.2.7]"}, {"relay-host", "192.0.2", ""}, {"hostname", "192.0.2", ""}, {"local-domains", "example.1", ""},
		{"trusted", "192.0.2.0/33", ""}, {"trusted", "[::ffff:192.0.2.1],::ffff:192.0.2.0/120,10.0.0.0/8", "192.0.2.1,192.0.2.0/24,10.0.0.0/8"}, {"trusted", "fe80::1%eth0", ""},
		{"relay-host", "smart.example:587", "smart.example:587"}, {"relay-host", "[192.0.2.1]:25", "[192.0.2.1]:25"},
		{"relay-host", "[2001:db8::1]", "[2001:db8::1]"}, {"relay-host", "[mx.example]", "[mx.example]"},
		{"relay-host", "2001:db8::1", "[2001:db8::1]"}, {"relay-host", "[IPv6:2001:db8::1]:587", "[2001:db8::1]:587"}, {"relay-host", "fe80::1%eth0", ""},
		{"local-domains", "[IPv6:2001:db8::1],[2001:DB8::2],[192.0.2.1],A.Example", "[IPv6:2001:db8::1],[IPv6:2001:db8::2],[192.0.2.1],a.example"},
		{"relay-host", "a:0", ""}, {"relay-host", "a:70000", ""}, {"relay-host", "a b", ""},
		{"listen", ":2525", ":2525"}, {"listen", "*:2525", ":2525"}, {"listen", "127.0.0.1", "127.0.0.1:25"}, {"listen", "::1", "[::1]:25"},
		{"listen", "[::1]:2525", "[::1]:2525"}, {"listen", "[127.0.0.1]:2525", "127.0.0.1:2525"}, {"listen", "localhost:2525,:25", "localhost:2525,:25"}, {"listen", ":", ""}, {"listen", "25", ""}, {"listen", "25:25", ""}, {"listen", "25.", ""}, {"listen", "25.:25", ""}, {"listen", "[25]", ""}, {"listen", ":x", ""},
		{"dns-server", "192.0.2.1", "192.0.2.1:53"}, {"dns-server", "[::1]:5353, 192.0.2.1:5353", "[::1]:5353,192.0.2.1:5353"}, {"dns-server", "ns.example", ""},
		{"log", "file:/var/log/mail.log", "file:/var/log/mail.log"}, {"log", "file:mail.log", ""}, {"log", "SYSLOG", "syslog"}, {"log", "paper", ""},
		{"smtp-port", "0", ""}, {"smtp-port", "65535", "65535"}, {"smtp-port", "65536", ""},
	} {
		t.Run(tt.name+"="+tt.text, func(t *testing.T) {
			c, err := read(t, tt.name+"="+tt.text+"\n")
			shown := tt.name
			if shown == "self" {
				shown = "hostname"
			}
			got, origin := get(t, c, shown)
			switch {
			case tt.want == "" && (!errors.Is(err, ErrBad) || !strings.Contains(err.Error(), "cf:1: ")):
				t.Errorf("got %q, %v, want an error with file and line", got, err)
			case tt.want != "" && (err != nil || got != tt.want || !strings.HasSuffix(origin, "cf:1")):
				t.Errorf("got %q from %s, %v, want %q", got, origin, err, tt.want)
			}
		})
	}
}

// TestUnits: numbers take at most one letter behind them, in either case, and each
// means what it meant to the first postoffice.
func TestUnits(t *testing.T) {
	c := &Config{}
	seconds := func(d *time.Duration) func() int64 { return func() int64 { return int64(*d / time.Second) } }
	for _, tt := range []struct {
		name string
		tags map[string]int64 // what 2 with the letter is
		got  func() int64     // in seconds or octets
	}{
		{"timeout", map[string]int64{"": 2, "m": 120, "M": 120, "h": 7200, "H": 7200}, seconds(&c.Timeout)},
		{"qreturn", map[string]int64{"": 2, "m": 120, "M": 120, "h": 7200, "H": 7200, "d": 172800, "D": 172800}, seconds(&c.QReturn)},
		{"delay", map[string]int64{"": 2, "m": 120, "M": 120, "h": 7200, "H": 7200, "d": 172800, "D": 172800}, seconds(&c.Delay)},
		{"size", map[string]int64{"": 2, "k": 2000, "K": 2000, "m": 2_000_000, "M": 2_000_000}, func() int64 { return c.Size }},
		{"minfree", map[string]int64{"": 2 << 10, "m": 2000 << 10, "M": 2000 << 10, "g": 2_000_000 << 10, "G": 2_000_000 << 10}, func() int64 { return c.MinFree }},
		{"clients", map[string]int64{"": 2}, func() int64 { return int64(c.Clients) }},
		{"hops", map[string]int64{"": 2}, func() int64 { return int64(c.Hops) }},
		{"load", map[string]int64{"": 2}, func() int64 { return int64(c.Load) }},
		{"msp", map[string]int64{"": 2}, func() int64 { return int64(c.MSP) }},
		{"coal", map[string]int64{"": 2, "m": 120, "M": 120, "h": 7200, "H": 7200}, seconds(&c.Coal)},
	} {
		v := options[lookup(tt.name)].bind(c)
		for letter, want := range tt.tags {
			if err := v.set("2" + letter); err != nil || tt.got() != want {
				t.Errorf("%s=2%s: %d, %v, want %d", tt.name, letter, tt.got(), err, want)
			}
		}
		for _, bad := range []string{"2x", "2mm", "-2", "2 m", "m2", "0x2"} {
			if err := v.set(bad); err == nil {
				t.Errorf("%s=%s is taken", tt.name, bad)
			}
		}
	}
}

// TestSwitches: the name alone is yes, and so is every number but 0.
func TestSwitches(t *testing.T) {
	testenv.NeedsRoot(t, "reads files as root, whose they must be")
	for _, o := range options {
		if _, ok := o.bind(&Config{}).(flagValue); !ok {
			continue
		}
		for text, want := range map[string]string{"": "yes", "=1": "yes", "=7": "yes", "=0": "no", "=": o.def, "=no": "no"} {
			c, err := read(t, o.name+text+"\n")
			if got, _ := get(t, c, o.name); got != want || err != nil {
				t.Errorf("%s%s: %q, %v, want %q", o.name, text, got, err, want)
			}
		}
	}
	for text, want := range map[string]string{"": "1h", "=1": "1h", "=yes": "1h", "=0": "no", "=no": "no", "=": "no", "=2": "2", "=90m": "90m", "=24h": "1d", "=25h": "", "=x": "", "=1s": "", "=-1": ""} {
		if c, err := read(t, "coal"+text+"\n"); (err != nil) != (want == "") || err == nil && (flagSpan{p: &c.Coal}).String() != want {
			t.Errorf("coal%s: %v, %v, want %s", text, c.Coal, err, want)
		}
	}
	for text, want := range map[string]int{"": 587, "=1": 587, "=yes": 587, "=0": 0, "=no": 0, "=": 0, "=2525": 2525, "=65536": -1, "=x": -1} {
		if c, err := read(t, "msp"+text+"\n"); (err != nil) != (want < 0) || err == nil && c.MSP != want {
			t.Errorf("msp%s: %d, %v, want %d", text, c.MSP, err, want)
		}
	}
}

// TestOldNames: an option that an old file gives by both of its names has the value of
// the last line, which is told; by one name it may be there once.
func TestOldNames(t *testing.T) {
	testenv.NeedsRoot(t, "reads files as root, whose they must be")
	c, err := read(t, "hostname=a.example\nself=b.example\nforbidden=accept\nBlackList=bounce:why\n")
	if err != nil || c.Hostname != "b.example" || c.Forbidden.String() != "bounce:why" || len(c.Odd()) != 2 {
		t.Errorf("%s, %s, %v, told %q", c.Hostname, c.Forbidden, err, c.Odd())
	}
	for _, twice := range []string{"self=a.example\nself=b.example\n", "self=a.example\nhostname=b.example\nhostname=c.example\n"} {
		if _, err := read(t, twice); err == nil || !strings.Contains(err.Error(), "hostname: it is set already") {
			t.Errorf("%q: %v", twice, err)
		}
	}
}

// TestMailName: hostname may be a file's first line, and is auto, which is told, where
// there is none.
func TestMailName(t *testing.T) {
	testenv.NeedsRoot(t, "reads files as root, whose they must be")
	name := filepath.Join(t.TempDir(), "mailname")
	for text, want := range map[string]string{"Example.org\n": "Example.org", "  mx.example.org. \nmore\n": "mx.example.org", "": "auto", "\n": "auto", "a b\n": "auto", "192.0.2.1\n": "auto"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := read(t, "hostname="+name+"\n")
		if told := len(c.Odd()) > 0; err != nil || c.Hostname != want || told != (want == "auto") {
			t.Errorf("%q: %s, %v, told %q, want %s", text, c.Hostname, err, c.Odd(), want)
		}
	}
	if c, err := read(t, "hostname=/nowhere/at/all\n"); err != nil || c.Hostname != "auto" || len(c.Odd()) != 1 {
		t.Errorf("no file: %s, %v, told %q", c.Hostname, err, c.Odd())
	}
}

// TestNotesOfConfig: what an old option was is told where it is set otherwise than by default,
// and what is shown of a configuration, read again, has nothing to tell.
func TestNotesOfConfig(t *testing.T) {
	testenv.NeedsRoot(t, "reads files as root, whose they must be")
	c, err := read(t, "dnscheck\nsoft-deny=0\nfilter=/f,[::1]:1,localhost:2\ndelay=30m\n")
	if err != nil || len(c.Changed()) != 1 || c.Changed()[0].Option != "dnscheck" || len(c.Missed()) != 1 {
		t.Errorf("%v, %v, %v", c.Changed(), c.Missed(), err)
	}
	var all strings.Builder
	for _, s := range newLoader().conf.Shown() {
		if s.Value != "" {
			fmt.Fprintf(&all, "%s=%s\n", s.Name, s.Value)
		}
	}
	if c, err = read(t, all.String()); err != nil || len(c.Changed())+len(c.Missed())+len(c.Odd()) > 0 {
		t.Errorf("%v, %v, %v, %v", c.Changed(), c.Missed(), c.Odd(), err)
	}
	for _, bad := range []string{"relative", "host", "host:0", ":1", "host:x"} {
		if _, err := read(t, "filter="+bad+"\n"); err == nil {
			t.Errorf("filter=%s is taken", bad)
		}
	}
}

// TestDebugLines: settings under the names that the verb DEBUG had for them; what names
// programs, files and who is trusted is for this machine alone (B93).
func TestDebugLines(t *testing.T) {
	testenv.NeedsRoot(t, "reads files as root, whose they must be")
	c, err := read(t, "usermap=*-~:~\ntrusted=192.0.2.0/24\nforbidden=folder:~/spam\nsize=1k\nminfree=1m\nparanoid\nload=0\ncoal\n")
	if err != nil {
		t.Fatal(err)
	}
	inside, outside := strings.Join(c.DebugLines(true), "\n"), strings.Join(c.DebugLines(false), "\n")
	for _, secret := range []string{"User map: (*-~) to (~)", "Trusted IP: 192.0.2.0/24", "~/spam"} {
		if !strings.Contains(inside, secret) || strings.Contains(outside, secret) {
			t.Errorf("%s in\n%s\nand not in\n%s", secret, inside, outside)
		}
	}
	for _, want := range []string{
		"Immediate: T", "Tcp-Wrappers: T", "size: 1000", "minfree: 1024000", "forbidden: folder", "Timeout: 300", "Max clients: 100", "Qreturn: 259200",
		"Verify-from: T", "CheckHELO: NIL", "NoDaemon: NIL", "LocalMX: NIL", "Paranoid: T", "MXpool: NIL", "Escape-from: T", "Coal: T",
	} {
		if !strings.Contains(outside, want) {
			t.Errorf("no %s in\n%s", want, outside)
		}
	}
}

func TestLinesOfTheFile(t *testing.T) {
	testenv.NeedsRoot(t, "reads files as root, whose they must be")
	c, err := read(t, "\ufeff# a comment\n\n  escape-from  # on\r\n\tqreturn = 1d\nSELF=mx.example\ntrusted=192.0.2.1\ntrusted=192.0.2.2 # adds\nsize=\nclients=7")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"escape-from": "yes", "qreturn": "1d", "hostname": "mx.example", "trusted": "192.0.2.1,192.0.2.2", "size": "100m", "clients": "7",
	} {
		if got, _ := get(t, c, name); got != want {
			t.Errorf("%s=%q, want %q", name, got, want)
		}
	}
}

// TestLastSourceWins: -o comes after the file, and a list given there replaces
// the file's.
func TestLastSourceWins(t *testing.T) {
	testenv.NeedsRoot(t, "reads files as root, whose they must be")
	c, err := read(t, "trusted=192.0.2.1\nlisten=:2525\nqreturn=1d\nclients=5\n",
		"trusted=198.51.100.1", "trusted=198.51.100.2", "qreturn=2d", "qreturn=4d", "clients=", "escape-from")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]string{
		"trusted": {"198.51.100.1,198.51.100.2", "-o"}, "qreturn": {"4d", "-o"}, "clients": {"100", "-o"}, "escape-from": {"yes", "-o"},
		"listen": {":2525", "cf:2"}, "hops": {"100", "default"},
	} {
		got, origin := get(t, c, name)
		if got != want[0] || !strings.HasSuffix(origin, want[1]) {
			t.Errorf("%s=%q from %q, want %q", name, got, origin, want)
		}
	}
}

// TestEverythingWrongAtOnce is A80 and B73: each error names file, line and,
// where there is one, the nearest option.
func TestEverythingWrongAtOnce(t *testing.T) {
	testenv.NeedsRoot(t, "reads files as root, whose they must be")
	text := strings.Join([]string{
		"qretrun=3d",      // 1
		"hops=200",        // 2
		"clients=many",    // 3
		"hops=300",        // 4: twice
		"zzz=1",           // 5
		"hostname=a\x00b", // 6
		"trusted=" + strings.Repeat("192.0.2.1,", 100_000), // 7: 1 MB
		"clients-per-addres=1",                             // 8
		"timeout",                                          // 9
		"=5",                                               // 10
		"size=1k",                                          // 11: good
	}, "\n")
	c, err := read(t, text, "lissten=:25")
	want := []string{
		`cf:1: no option "qretrun"; did you mean qreturn?`,
		`cf:3: clients: want a number from 0 to 1000000, got "many"`,
		`cf:4: hops: it is set already, see `,
		`cf:5: no option "zzz"`,
		`cf:6: the line holds a control character`,
		`cf:7: the line is longer than 8192 octets`,
		`cf:8: no option "clients-per-addres"; did you mean clients-per-address?`,
		`cf:9: timeout: it needs a value, timeout=VALUE: a number of seconds, or with m, h or d`,
		`cf:10: no option ""`,
		`-o lissten=:25: no option "lissten"; did you mean listen?`,
	}
	all := Errors(nil)
	if !errors.As(err, &all) || len(all) != len(want) {
		t.Fatalf("got %d errors, want %d:\n%v", len(all), len(want), err)
	}
	for i, w := range want {
		if !strings.Contains(all[i].Error(), w) || !errors.Is(all[i], ErrBad) {
			t.Errorf("error %d: %s, want %s", i, all[i], w)
		}
	}
	if c.Size != 1000 {
		t.Errorf("size %d: what is right should be there, for finding a running server", c.Size)
	}
}

func TestFileTooLong(t *testing.T) {
	testenv.NeedsRoot(t, "reads files as root, whose they must be")
	_, err := read(t, strings.Repeat("#\n", maxFile/2+1))
	if !errors.Is(err, ErrBad) || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("got %v", err)
	}
}

// TestWhoMaySetWhat is B71 and S30: the table is safe by default.
func TestWhoMaySetWhat(t *testing.T) {
	free := []string{"audit", "immediate", "log", "log-format", "queue-interval"}
	for _, o := range options {
		set := o.name + "=" + o.def
		_, err := Load(Options{File: "/dev/null", Sets: []string{set}, UID: 1000})
		switch {
		case slices.Contains(free, o.name):
			if err != nil {
				t.Errorf("-o %s: %v", set, err)
			}
		case !errors.Is(err, ErrNotAllowed) || errors.Is(err, ErrBad):
			t.Errorf("-o %s as uid 1000: %v, want %v", set, err, ErrNotAllowed)
		}
		if _, err := Load(Options{File: "/dev/null", Sets: []string{set}, UID: 0}); err != nil {
			t.Errorf("-o %s as root: %v", set, err)
		}
	}
	if _, err := Load(Options{File: "/dev/null", Sets: []string{"Self=x"}, UID: 1000}); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("-o Self=x: %v", err)
	}
}

func TestNearest(t *testing.T) {
	for word, want := range map[string]string{
		"qretrun": "qreturn", "relayhost": "relay-host", "RELAY-HOTS": "relay-host", "queuedir": "queue-dir", "sise": "size",
		"selv": "self", "x": "", "": "", "mxpol": "mxpool", "graylist": "greylist", "smtp_port": "smtp-port", strings.Repeat("a", 5000): "",
	} {
		if got := Nearest(word); got != want {
			t.Errorf("Nearest(%.20q) = %q, want %q", word, got, want)
		}
	}
}

// TestEscapeFrom: a switch with a third position, which is the default.
func TestEscapeFrom(t *testing.T) {
	testenv.NeedsRoot(t, "reads files as root, whose they must be")
	for line, want := range map[string]string{
		"": "mbox", "escape-from": "yes", "escape-from=": "mbox", "escape-from=MBOX": "mbox", "escape-from=on": "yes", "escape-from=1": "yes",
		"escape-from=no": "no", "escape-from=0": "no", "escape-from=all": "",
	} {
		c, err := read(t, line+"\n")
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "want mbox, yes or no") {
				t.Errorf("%q: %v", line, err)
			}
			continue
		}
		if err != nil || c.EscapeFrom != want {
			t.Errorf("%q: %q, %v, want %q", line, c.EscapeFrom, err, want)
		}
	}
}

func TestEncodeDecode(t *testing.T) {
	testenv.NeedsRoot(t, "reads files as root, whose they must be")
	c, err := read(t, "trusted=192.0.2.1,mail.example\nload=4.5\nsize=25m\nescape-from\nrelay-host=[192.0.2.1]:25\n")
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(c.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, again, cmp.AllowUnexported(Config{})); diff != "" {
		t.Errorf("Decode(Encode) (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "{}", "[]", strings.Replace(string(c.Encode()), "25m", "25x", 1), strings.Replace(string(c.Encode()), "qreturn", "qretrun", 1)} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("Decode(%.60q) succeeded", bad)
		}
	}
}

// FuzzFile: a file is either refused, each error with a line that it has, or
// its settings printed and read again are the same.
func FuzzFile(f *testing.F) {
	f.Add("listen=:25\ntrusted=192.0.2.1 [::1] # x\nsize=3k\nescape-from\n")
	f.Add("qretrun=3d\nrelay-host=[mx.example]:25\n=\n")
	f.Add("usermap=*-~:~ \"a b:|\\\"x y\\\"\"\nmailbox=~/Maildir/\nmailer=/bin/x -d ${user}\n")
	f.Add("listen=0.\n")
	f.Add("hostname=192.0.2.1.\n")
	f.Add("load=4.50\nlog=file:/x/../y\nself=Mx.Example.\nlocal-domains=[IPv6:::1]\n")
	parse := func(text string) *loader {
		l := newLoader()
		l.begin()
		l.parse("cf", []byte(text))
		return l
	}
	f.Fuzz(func(t *testing.T, text string) {
		l := parse(text)
		lines := strings.Count(text, "\n") + 1
		for _, e := range l.errs {
			n, err := strconv.Atoi(strings.TrimPrefix(e.Where, "cf:"))
			if len(text) <= maxFile && (err != nil || n < 1 || n > lines) {
				t.Errorf("%q: error at %q", text, e.Where)
			}
		}
		if len(l.errs) > 0 {
			return
		}
		var again strings.Builder
		for _, s := range l.conf.Settings() {
			if s.Value != "" {
				fmt.Fprintf(&again, "%s=%s\n", s.Name, s.Value)
			}
		}
		second := parse(again.String())
		if len(second.errs) > 0 {
			if len(again.String()) > maxLine {
				return // several lines of a list became one that is too long
			}
			t.Fatalf("%q: printed as %q: %v", text, again.String(), second.errs)
		}
		for i, s := range second.conf.Settings() {
			if s.Value != l.conf.Settings()[i].Value {
				t.Errorf("%q: %s is %q, read again %q", text, s.Name, l.conf.Settings()[i].Value, s.Value)
			}
		}
	})
}

// TestReloaded is A80: what a running server can't change stays whole, and is
// named.
func TestReloaded(t *testing.T) {
	load := func(sets ...string) *Config {
		t.Helper()
		c, err := Load(Options{File: "/dev/null", Sets: sets})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := load("queue-dir=/one", "listen=:26,:27", "qreturn=2d")
	now, changed := load("queue-dir=/two", "listen=:28", "qreturn=4d", "minfree=1").Reloaded(old)
	if got := strings.Join(changed, " "); got != "listen queue-dir minfree" {
		t.Errorf("changed %q", got)
	}
	if now.QueueDir != "/one" || len(now.Listen) != 2 || now.MinFree != old.MinFree || now.QReturn != 4*day {
		t.Errorf("%+v", now)
	}
}
