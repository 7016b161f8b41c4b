package resolver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The names by which this host knows itself, as Debian's servers have them.
func TestIsLocalName(t *testing.T) {
	var blocked strings.Builder
	for i := range 100000 {
		fmt.Fprintf(&blocked, "0.0.0.0 ads%d.example\n", i)
	}
	blocked.WriteString("0.0.0.0 web.corp.example " + strings.Repeat("track.example ", 1000) + "\n")
	for _, tt := range []struct {
		name, node, hosts string
		local, foreign    string
	}{
		{"no file", "web.corp.example", "-", "web.corp.example WEB.Corp.Example. web localhost.localdomain localhost.corp.example", "corp.example other localhost.example x.web"},
		{"Debian's", "web", "127.0.0.1 localhost\n127.0.1.1 Web.corp.example web\n::1 localhost ip6-localhost\n", "web web.corp.example localhost.corp.example", "ip6-localhost corp.example localhost.example"},
		{"further names", "web.corp.example", "192.0.2.1 mail.example web.corp.example shop # other.example\n192.0.2.2 db.example webx.corp.example\n", "mail.example shop web localhost.corp.example", "localhost.example db.example webx.corp.example other.example"},
		{"a block list", "web.corp.example", blocked.String(), "web.corp.example web", "ads1.example ads99999.example track.example localhost.example"},
		{"localhost is its name", "localhost.localdomain", "127.0.0.1 localhost localhost.localdomain web.example\n", "localhost.localdomain localhost", "web.example"},
		{"no name", "", "127.0.0.1 localhost x.example\n", "localhost.localdomain", "x.example a..b [192.0.2.1]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hosts := filepath.Join(t.TempDir(), "none")
			if tt.hosts != "-" {
				hosts = write(t, t.TempDir(), "hosts", tt.hosts)
			}
			r := New(Options{HostsFile: hosts, NodeName: func() (string, error) { return tt.node, nil }})
			for want, names := range map[bool]string{true: tt.local, false: tt.foreign} {
				for name := range strings.FieldsSeq(names) {
					if got, err := r.IsLocalName(name); got != want || err != nil {
						t.Errorf("%s: %v, %v, want %v", name, got, err, want)
					}
				}
			}
		})
	}
}

// A change of the file counts a second later; a file that can't be read leaves
// what was known, and is an error for all else as long as nothing is.
func TestLocalNamesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		hosts := filepath.Join(dir, "hosts")
		if err := os.Symlink(hosts, hosts); err != nil { // a loop: it can't be read, whoever asks
			t.Fatal(err)
		}
		r := New(Options{HostsFile: hosts, NodeName: func() (string, error) { return "web", nil }})
		check := func(name string, want, unknown bool) {
			t.Helper()
			if got, err := r.IsLocalName(name); got != want || (err != nil) != unknown {
				t.Errorf("%s: %v, %v, want %v, unknown %v", name, got, err, want, unknown)
			}
			if !unknown { // what isn't known is looked for again at once
				time.Sleep(localNamesAge + 1)
			}
		}
		check("web", true, false)
		check("mail.example", false, true)
		write(t, dir, "hosts", "192.0.2.1 web mail.example\n")
		check("mail.example", true, false)
		check("other.example", false, false)
		write(t, dir, "hosts", "192.0.2.1 web other.example\n")
		check("mail.example", false, false)
		check("other.example", true, false)
		os.Remove(hosts)
		if err := os.Symlink(hosts, hosts); err != nil {
			t.Fatal(err)
		}
		check("other.example", true, false)
	})
}

// What a block list in /etc/hosts costs: nothing of it is kept.
func TestHostsKeepsWhatIsAsked(t *testing.T) {
	line := "0.0.0.0" + strings.Repeat(" a.example", 1000) + "\n"
	hosts := write(t, t.TempDir(), "hosts", strings.Repeat(line, 100)+"192.0.2.1 relay.example x\n")
	r := New(Options{HostsFile: hosts})
	if got := r.HostsFile("relay.example"); len(got) != 1 {
		t.Errorf("%v, want the one of the last line", got)
	}
	for range 3 * maxHosts {
		r.HostsFile(fmt.Sprintf("h%d.example", len(r.hosts.names)))
	}
	if n := len(r.hosts.names); n > maxHosts {
		t.Errorf("%d names are kept, want %d at most", n, maxHosts)
	}
}
