//go:build e2e

package installs

import (
	"os"
	"strings"
	"testing"
)

// sink is a smarthost in a root: it takes one message, writes it to /tmp/smart, and ends.
const sink = `echo '127.0.0.2 smart.example' >>/etc/hosts
perl -MIO::Socket::INET -e '
	my $l = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.2:25", ReuseAddr => 1) or die;
	open my $up, ">", "/tmp/listens"; close $up;
	my $c = $l->accept; print $c "220 smart.example\r\n"; open my $f, ">", "/tmp/smart.new";
	while (<$c>) {
		if (/^DATA/) { print $c "354 go\r\n"; while (<$c>) { last if /^\.\r/; print $f $_ } close $f; rename "/tmp/smart.new", "/tmp/smart" }
		print $c "250 fine\r\n"; last if /^QUIT/
	}' &
until [ -e /tmp/listens ]; do sleep 0.1; done
`

// startPage is what docs/start.md says, a piece of a script for each of its sections: the
// commands as they stand there, and what shows that they have done it.
func startPage(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/start.md")
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for section := range strings.SplitSeq(string(page), "\n## ") {
		var b strings.Builder
		for line := range strings.Lines(section) {
			if text, ok := strings.CutPrefix(line, "    "); ok {
				b.WriteString(text)
			}
		}
		parts = append(parts, b.String())
	}
	if len(parts) != 4 {
		t.Fatalf("%d sections, want four", len(parts))
	}
	return []string{
		parts[1] + "arrived alice 2",
		sink + parts[2] + "until [ -e /tmp/smart ]; do sleep 0.1; done; wait",
		parts[3] + "echo 'for the domain' | sendmail alice@example.org; arrived alice 3",
	}
}

// TestStartPage does what docs/start.md says, as it stands there.
func TestStartPage(t *testing.T) {
	r := eximRoot(t)
	out := r.Run(t, arrived+"hostname host.example\n/root/postoffice install >/dev/null; . /etc/profile\n"+
		strings.Join(startPage(t), "\n")+"\nss -lnt 2>/dev/null || cat /proc/net/tcp")
	box, err := os.ReadFile(r.Path("var/mail/alice"))
	if err != nil || !strings.Contains(string(box), "it works") || !strings.Contains(string(box), "for root") || !strings.Contains(string(box), "for the domain") {
		t.Errorf("alice's mailbox: %v\n%s", err, box)
	}
	if sent, err := os.ReadFile(r.Path("tmp/smart")); err != nil || !strings.Contains(string(sent), "through the smarthost") {
		t.Errorf("the smarthost: %v\n%s", err, sent)
	}
	if !strings.Contains(out, "00000000:0019") && !strings.Contains(out, "0.0.0.0:25") {
		t.Errorf("the server does not listen everywhere:\n%s", out)
	}
}
