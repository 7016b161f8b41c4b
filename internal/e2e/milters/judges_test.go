//go:build e2e

package milters

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// judged sends a letter with these words to bob and returns the reply to it.
func judged(one *lan.Site, client *lan.Host, from, words string) string {
	one.T.Helper()
	conn, err := client.Dial(one.IP + ":25")
	if err != nil {
		one.T.Fatal(err)
	}
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		one.T.Fatal(err)
	}
	defer d.Quit()
	text := strings.Replace(letter, "Hello", words, 1)
	if err := d.Send(from, "bob@one.test", strings.Replace(text, "joe@one.test", from, 1)); err != nil {
		return err.Error()
	}
	return "250"
}

// outcomes sends letters, and wants each answered so, and in bob's mailbox what is wanted of
// those that are taken.
func outcomes(one *lan.Site, client *lan.Host, letters []outcome) {
	t := one.T
	t.Helper()
	taken := 0
	for _, l := range letters {
		got := judged(one, client, l.from, l.words)
		if !strings.Contains(got, l.reply) {
			t.Errorf("%s from %s: the client heard %q, want %q", l.words, l.from, got, l.reply)
		}
		if l.reply != "250" {
			continue
		}
		taken++
		lan.Until(t, 20*time.Second, "bob has it", func() bool { return len(one.Messages("bob")) == taken })
		if text := one.Messages("bob")[taken-1]; !strings.Contains(text, l.words) || !strings.Contains(text, l.with) {
			t.Errorf("bob hasn't got %q with %q:\n%s", l.words, l.with, text)
		}
	}
	if n := len(one.Messages("bob")); n != taken {
		t.Errorf("bob has %d messages, want %d", n, taken)
	}
	if log, _ := os.ReadFile(one.Log); strings.Contains(string(log), "filter failed") {
		t.Error("a filter has failed")
	}
}

// outcome is a letter, the reply to it, and what is added to it.
type outcome struct{ from, words, reply, with string }

// conf writes a configuration whose DIR is the host's directory.
func conf(one *lan.Site, name, text string) string {
	path := one.Path(name)
	lan.WriteFile(one.T, path, strings.ReplaceAll(text, "DIR", one.Dir))
	return path
}

// eicar is the text that every scanner finds, in two parts, so that none finds it here.
const eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-` + `STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`

// TestClamAV: clamav-milter has a letter refused in which clamd finds the only signature
// that it has, and marks another one.
func TestClamAV(t *testing.T) {
	one, client, socket := site(t)
	one.Lay("clamav-milter")
	one.Lay("clamav-daemon")
	lan.WriteFile(t, one.Path("signatures", "test.ndb"), fmt.Sprintf("Test.Eicar:0:*:%x\n", eicar))
	clamd := conf(one, "clamd.conf", "LocalSocket DIR/clamd.sock\nDatabaseDirectory DIR/signatures\nForeground yes\nUser root\n")
	filter(one, one.Path("clamd.sock"), "/usr/sbin/clamd", "-c", clamd)
	milter := conf(one, "clamav-milter.conf", "MilterSocket DIR/filter.sock\nClamdSocket unix:DIR/clamd.sock\nForeground yes\nUser root\n"+
		"OnInfected Reject\nRejectMsg this has %v in it\nAddHeader Replace\n")
	filter(one, socket, "/usr/sbin/clamav-milter", "-c", milter)
	one.Serve()
	outcomes(one, client, []outcome{
		{"joe@one.test", "nothing", "250", "X-Virus-Status: Clean"},
		{"joe@one.test", eicar, "550 5.7.1 this has Test.Eicar", ""},
		{"joe@one.test", "nothing else", "250", "X-Virus-Status: Clean"},
	})
}

// TestOpenDMARC: opendmarc has a letter refused whose domain wants that of what no SPF and
// no DKIM speaks for, and writes down what it found of the others.
func TestOpenDMARC(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", `good.test. IN TXT "v=spf1 ip4:10.77.0.3 -all"`, `_dmarc.good.test. IN TXT "v=DMARC1; p=reject"`,
		`bad.test. IN TXT "v=spf1 ip4:10.77.0.77 -all"`, `_dmarc.bad.test. IN TXT "v=DMARC1; p=reject"`)
	host, client := l.Host("one.test"), l.Host("client.test")
	socket := host.Path("filter.sock")
	one := host.Install("filter=" + socket + " name=dmarc fail=tempfail")
	one.Lay("opendmarc")
	lan.WriteFile(t, one.Path("suffixes"), "test\n")
	file := conf(one, "opendmarc.conf", "Socket local:DIR/filter.sock\nBackground no\nRejectFailures true\nSPFSelfValidate true\nSPFIgnoreResults true\n"+
		"Syslog false\nPublicSuffixList DIR/suffixes\nAuthservID one.test\n")
	filter(one, socket, "/usr/sbin/opendmarc", "-c", file, "-f")
	one.Serve()
	outcomes(one, client, []outcome{
		{"joe@good.test", "nothing", "250", "dmarc=pass (p=reject"},
		{"joe@bad.test", "nothing good", "550 5.7.1 rejected by DMARC policy for bad.test", ""},
		{"joe@none.test", "nothing more", "250", "dmarc=none"},
	})
}

// TestSpamassMilter: spamass-milter has a letter refused of which SpamAssassin's only rules
// say enough, and marks the others.
func TestSpamassMilter(t *testing.T) {
	one, client, socket := site(t)
	one.Lay("spamass-milter")
	one.Lay("spamd")
	lan.WriteFile(t, one.Path("sa", "init.pre"), "loadplugin Mail::SpamAssassin::Plugin::Check\n")
	lan.WriteFile(t, one.Path("sa", "local.cf"), "util_rb_tld test\nrequired_score 5\nreport_safe 0\nadd_header all Status \"_YESNO_, score=_SCORE_\"\n"+
		"body BAD /buyme/\nscore BAD 20\nbody ODD /lookatme/\nscore ODD 6\n")
	spamd := one.Path("spamd.sock")
	filter(one, spamd, "/usr/bin/perl", "-T", "/usr/sbin/spamd", "--local", "--nouser-config", "--username=nobody", "--max-children=1", "--min-children=1",
		"--socketpath="+spamd, "--configpath="+one.Path("sa"), "--siteconfigpath="+one.Path("sa"), "-s", "stderr")
	filter(one, socket, "/usr/sbin/spamass-milter", "-p", socket, "-r", "15", "--", "-U", spamd)
	one.Serve()
	outcomes(one, client, []outcome{
		{"joe@one.test", "nothing", "250", "X-Spam-Status: No, score=0"},
		{"joe@one.test", "buyme", "550 5.7.1 Blocked by SpamAssassin", ""},
		{"joe@one.test", "lookatme", "250", "X-Spam-Status: Yes, score=6"},
	})
}

// rspamdConf is an rspamd that knows its own test patterns and nothing else.
const rspamdConf = `
options {
	pidfile = "DIR/rspamd/pid";
	filters = "regexp";
	cache_file = "DIR/rspamd/cache";
	tempdir = "DIR/rspamd";
	url_tld = "DIR/suffixes";
	control_socket = "DIR/rspamd/control mode=0600";
	hs_cache_dir = "DIR/rspamd/";
	enable_test_patterns = true;
	dns { nameserver = ["10.77.0.1"]; timeout = 1s; retransmits = 1; }
}
logging { type = "console"; level = "warning"; }
lua = "DIR/rspamd/local.lua";
actions { reject = 15; add_header = 6; }
worker "rspamd_proxy" {
	bind_socket = "DIR/filter.sock mode=0666";
	milter = yes;
	count = 1;
	spam_header = "X-Spam";
	reject_message = "this is spam";
	upstream "local" { default = yes; self_scan = yes; }
}
`

// TestRspamd: rspamd's proxy, in front of nothing but itself, refuses one of its test
// patterns, marks another one, and leaves a letter as it is.
func TestRspamd(t *testing.T) {
	one, client, socket := site(t)
	one.Lay("rspamd")
	lan.WriteFile(t, one.Path("suffixes"), "test\n")
	lan.WriteFile(t, one.Path("rspamd", "local.lua"), "")
	file := conf(one, "rspamd.conf", rspamdConf)
	one.Start(one.Command(context.Background(), "/usr/bin/rspamd", "-f", "-u", "root", "-g", "root", "-i", "-c", file))
	lan.Until(t, 20*time.Second, "rspamd listens", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	one.Serve()
	const pattern = "JS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
	outcomes(one, client, []outcome{
		{"joe@one.test", "nothing", "250", "Subject: Greetings\n folded\n"},
		{"joe@one.test", "X" + pattern, "554 5.7.1", ""},
		{"joe@one.test", "Y" + pattern, "250", "X-Spam: Yes"},
	})
}

// greylistConf is that rspamd with its greylist, for letters that look odd.
const greylistConf = `
actions { greylist = 4; }
modules { path = "/usr/share/rspamd/plugins/greylist.lua"; }
redis { servers = "DIR/redis.sock"; }
greylist { timeout = 2s; expire = 1h; }
`

const oddLua = `
rspamd_config.ODD = {
	callback = function(task) return string.find(tostring(task:get_content()), "comeagain", 1, true) ~= nil end,
	score = 5.0,
}
`

// TestRspamdGreylist: rspamd's greylist has an odd letter wait, which passes at a later try,
// and none other: a filter's refusal for now is one for the client, and the filter's own
// memory of it outlives the session.
func TestRspamdGreylist(t *testing.T) {
	one, client, socket := site(t)
	one.Lay("rspamd")
	one.Lay("redis-server")
	redis := one.Path("redis.sock")
	filter(one, redis, "/usr/bin/redis-server", "--port", "0", "--unixsocket", redis, "--save", "", "--dir", one.Dir)
	lan.WriteFile(t, one.Path("suffixes"), "test\n")
	lan.WriteFile(t, one.Path("rspamd", "local.lua"), oddLua)
	file := conf(one, "rspamd.conf", rspamdConf+greylistConf)
	filter(one, socket, "/usr/bin/rspamd", "-f", "-u", "root", "-g", "root", "-i", "-c", file)
	one.Serve()
	if got := judged(one, client, "joe@far.test", "nothing odd"); got != "250" {
		t.Errorf("a plain letter: %s", got)
	}
	if got := judged(one, client, "joe@far.test", "comeagain"); !strings.Contains(got, "451 4.7.1 Try again later") { // in its words
		t.Errorf("an odd letter: %s, want it to wait", got)
	}
	lan.Until(t, time.Minute, "the odd letter is taken", func() bool { return judged(one, client, "joe@far.test", "comeagain") == "250" })
	lan.Until(t, 20*time.Second, "bob has both", func() bool { return len(one.Messages("bob")) == 2 })
	if log, _ := os.ReadFile(one.Log); strings.Contains(string(log), "filter failed") {
		t.Error("a filter has failed")
	}
}
