package applets

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postoffice/applets/cmdline"
)

var updateFlags = flag.Bool("update-flags", false, "write docs/sendmail-flags.md")

const flagsPage = "../docs/sendmail-flags.md"

const flagsHead = `# The flags of sendmail, here and elsewhere

What a program may give to /usr/sbin/sendmail, what four servers do with it, and what ours does. "–" is a flag that the
server doesn't have; "ignored" is one that it accepts and that does nothing. The columns of the others follow
sendmail 8.18's, Postfix 3's and Exim 4's manuals, and the sources of Postfix and of OpenSMTPD's enqueuer; where those
are shorter than the truth, so is this.

Values may be glued to their flag or follow it, and flags without values may stand together: ` + "`-tif alice`" + `. The first word
that is no flag is an address, and so is everything behind it. A flag that isn't here is refused with 64.

This page is written by ` + "`go test ./applets -run TestFlagTable -update-flags`" + `, and that test compares it with what the
program makes of each line.

| flag | sendmail 8 | Postfix | Exim | OpenSMTPD | here |
|---|---|---|---|---|---|
`

// flagRow is a line of the page.
type flagRow struct {
	flag                            string // as people write it
	sendmail, postfix, exim, opensm string // what others do; "" has none, "i" ignored
	here                            string // what we do; "" is nothing, in silence
	in, out                         string // an example, and what is left of it for pflag
}

var flagRows = []flagRow{
	{"-A c, -A m", "configuration for submission or for the server", "i", "i", "i", "", "-Ac -A m", ""},
	{"-B TYPE", "7BIT or 8BITMIME", "the same", "i", "i", "", "-B8BITMIME -B 7BIT", ""},
	{"-bm", "send", "send", "send", "i", "send; what happens without -b", "-bm", "-b m"},
	{"-bs", "SMTP on standard input", "the same, without relay control", "the same; an IP socket is a remote client", "i", "the same; an IP socket is a client of port 25", "-bs", "-b s"},
	{"-ba", "send, as the ARPANET did", "", "", "i", "send", "-ba", "-b a"},
	{"-bX, other letters", "test modes", "", "test modes, SMTP without replies", "i", "refused with 64: no message may be lost in them", "-bS", "-b S"},
	{"-bh, -bH", "show the state of hosts; forget it", "i", "-bh: try a client's address", "i", "nothing: no file has it", "-bh -bH", "-b h -b H"},
	{"-bp, -bP", "list the queue; count it", "-bp: the same", "-bp: the same; -bP: options", "i", "list the queue", "-bp -bP", "-b p -b P"},
	{"-bd, -bD", "daemon, in the foreground with D", "-bd: start Postfix", "-bd; -bdf in the foreground", "i", "daemon, in the foreground with D", "-bd -bD", "-b d -b D"},
	{"-bi, -I", "build the alias database", "the same", "-bi ignored", "-bi: the same", "build the alias database", "-bi -I", "-b i -I"},
	{"-bv, -bt", "verify addresses; test rules", "-bv: a report by mail", "verify; show the route", "i", "show where the addresses lead; --json for programs", "-bv -bt", "-b v -b t"},
	{"-C FILE", "configuration file", "configuration directory", "configuration file", "", "configuration file, read with the caller's rights", "-C/x -C /y", "-C /x -C /y"},
	{"-c", "old: no expensive mailers now", "i", "", "", "", "-c", ""},
	{"-D FILE", "where debugging goes", "", "a macro", "", "", "-D/tmp/x -D x", ""},
	{"-d0, -d0.1", "show the version block", "", "debugging, for administrators", "", "show the version block", "-d0 -d0.1", "-d=0 -d=0.1"},
	{"-dX", "debugging", "", "debugging, for administrators", "", "", "-d7.3 -d-1.9999999999", "-d=7.3 -d=-1.9999999999"},
	{"-E", "", "", "internal: a report", "i", "", "-E", ""},
	{"-e X", "as -oeX", "i", "as -oeX", "i", "", "-em -e q", ""},
	{"-F NAME", "full name", "for a From field that is missing", "full name", "for a From field that is missing", "for a From field that is missing", "-Fjoe -F x", "-F joe -F x"},
	{"-f ADDRESS, -r ADDRESS", "sender, with a trace field unless trusted", "sender", "sender, for trusted users or where allowed", "sender", "sender, with a trace field unless trusted or one's own", "-fjoe -r joe", "-f joe -r joe"},
	{"-G", "relay submission: nothing is completed", "the same", "suppress local fixups", "", "", "-G", ""},
	{"-h N", "hop count", "i", "i", "", "", "-h999 -h 99999999999", ""},
	{"-i, -oi", "a dot is no end", "the same", "the same", "always so", "a dot is no end", "-i -oi", "-i -i"},
	{"-J, -x", "", "-x ignored", "", "-x ignored", "", "-J -x", ""},
	{"-L TAG", "name in the log", "i", "name in the log", "i", "", "-Lx -L x", ""},
	{"-M XVALUE", "set a macro", "", "deliver these messages", "", "", "-Mx -M x", ""},
	{"-m, -om", "me too", "i", "i", "i", "", "-m -om", ""},
	{"-N WHEN", "NOTIFY of RFC 3461", "the same", "try without delivering", "NOTIFY", "NOTIFY of RFC 3461; a wrong word is 64", "-Nnever -N failure,delay", "-N never -N failure,delay"},
	{"-n", "no aliases", "ignored by the manual, refused by the source", "i", "", "", "-n", ""},
	{"-O NAME=VALUE", "set an option of sendmail's", "i", "i", "", "ignored but for DeliveryMode, see -od", "-OQueueDirectory=/x -O DeliveryMode=queue", "--delivery-mode=q"},
	{"-odb, -odi", "deliver in the background; before returning", "i", "the same", "i", "deliveries begin at once; nobody waits", "-odb -odi", "--delivery-mode=b --delivery-mode=i"},
	{"-odq, -odd", "leave it to the queue run; d without DNS", "i", "-odq: the same", "i", "leave it to the next run of the queue", "-odq -odd", "--delivery-mode=q --delivery-mode=d"},
	{"-oeX", "how errors are told: m, q, p, w, e", "i", "by mail or on standard error", "i", "ignored: standard error and the exit code", "-oem -oeq", ""},
	{"-oMr PROTOCOL, -oMs HOST", "set a macro", "i", "what Received says, for trusted users", "i", "", "-oMrSMTP -oMsx", ""},
	{"-oX, other letters", "an option of sendmail's", "-oA: alias database; others ignored", "some", "i", "", "-oQ/var/spool/mqueue -o7 -oA/etc/aliases", ""},
	{"-o NAME=VALUE", "", "", "", "", "an option of postoffice.cf(5); a misspelt name is an error", "-orelay-host=h -o qreturn=2d", "-o relay-host=h -o qreturn=2d"},
	{"-p PROTOCOL:HOST", "where it came from", "i", "the same, for trusted users", "i", "", "-pSMTP:h -p x", ""},
	{"-Q REASON", "quarantine", "", "", "", "", "-Qx -Q x", ""},
	{"-q", "run the queue", "the same", "the same", "fails", "run the queue", "-q", "-q"},
	{"-q[!]RTEXT, -q[!]STEXT, -q[!]ITEXT", "run what has it in a recipient, the sender or the ID; not with !", "-qIID, -qRSITE", "-R, -S", "fails", "as sendmail 8, what is not held", "-qRone.example -q!Sa@b -qI7X", "-q=Rone.example -q=!Sa@b -q=I7X"},
	{"-q[!]QTEXT", "run what is in quarantine", "", "", "fails", "nothing: queue release does it", "-qQx", "-q=Qx"},
	{"-qf, -qF, -qGNAME, -ql, -qL", "run it in the foreground; a group of queues; what is lost", "", "other ways to run it", "fails", "run the queue", "-qf -qGx", "-q=f -q=Gx"},
	{"-qTIME, -qpTIME", "run it at intervals", "i", "the same", "fails", "run it at intervals", "-q15m -qp1h30m", "-q=15m -q=p1h30m"},
	{"-R MUCH", "RET of RFC 3461", "the same", "deliver to matching recipients", "RET", "RET of RFC 3461; a wrong word is 64", "-Rhdrs -R full", "-R hdrs -R full"},
	{"-S", "", "", "deliver from matching senders", "login name by uid alone", "", "-S", ""},
	{"-s", "old: keep From lines", "", "", "", "", "-s", ""},
	{"-T", "old: timeout", "", "", "", "", "-T", ""},
	{"-t", "recipients from the header", "the same, beside those given", "the same, without those given", "the same, beside those given", "recipients from the header; those given are ignored", "-t", "-t"},
	{"-U", "first submission", "i", "i", "", "", "-U", ""},
	{"-V ID", "ENVID of RFC 3461", "the same", "", "ENVID", "ENVID of RFC 3461", "-Vabc -V abc", "--envelope-id=abc --envelope-id=abc"},
	{"-V, last or before a flag", "", "", "", "", "show the version", "-V -V", "-V -V"},
	{"-v", "show what is delivered how", "a report by mail", "show what is delivered how", "show the session with the server", "show what is delivered how, on standard error", "-v", "-v"},
	{"--wait=TIME", "", "", "", "", "wait for the outcome of each recipient, and exit with it", "--wait=30s --wait 5m", "--wait=30s --wait 5m"},
	{"-X FILE", "log of all traffic", "-XV: VERP", "i", "", "", "-X/tmp/x -X x", ""},
}

// shown is one of the others' cells.
func shown(text string) string {
	switch text {
	case "":
		return "–"
	case "i":
		return "ignored"
	}
	return text
}

// TestFlagTable holds docs/sendmail-flags.md to what the program does: a flag
// that the page says does nothing is left out before pflag sees it, and every
// letter that is taken has a line.
func TestFlagTable(t *testing.T) {
	env := &cmdline.Env{Program: "sendmail", Stdout: new(strings.Builder)}
	env.Prepare(sendmail, []string{"--help"})
	if err := runSendmail(context.Background(), env); err != cmdline.ErrAnswered {
		t.Fatal(err)
	}
	page, letters := flagsHead, ""
	for _, r := range flagRows {
		got, err := env.Normalise(strings.Fields(r.in))
		if text := strings.Join(got, " "); err != nil || text != r.out {
			t.Errorf("%s: %q became %q, %v, want %q", r.flag, r.in, text, err, r.out)
		}
		debugging := strings.HasPrefix(r.in, "-d7") // pflag gets it, Parse prints nothing
		if r.here == "" && r.out != "" && !debugging {
			t.Errorf("%s: said to be ignored, but pflag gets %q", r.flag, r.out)
		}
		here := r.here
		if here == "" {
			here = "ignored"
		}
		for _, word := range strings.Fields(r.in) {
			if word[0] == '-' {
				letters += word[1:2]
			}
		}
		page += fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |\n", r.flag, shown(r.sendmail), shown(r.postfix), shown(r.exim), shown(r.opensm), here)
	}
	for c := byte('A'); c <= 'z'; c++ {
		_, err := env.Normalise([]string{"-" + string(c), "x"})
		if known := err == nil; known != strings.Contains(letters, string(c)) {
			t.Errorf("-%c: taken %v, on the page %v", c, known, !known)
		}
	}
	if *updateFlags {
		if err := os.WriteFile(flagsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(flagsPage)
	if diff := cmp.Diff(string(have), page); err != nil || diff != "" {
		t.Errorf("%s is old, renew it with -update-flags: %v (-have +want):\n%s", flagsPage, err, diff)
	}
}
