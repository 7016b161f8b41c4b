//go:build e2e

package installs

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv/roots"
)

// eximRoot is a Debian whose mail server is exim, with a user alice and the binary in /root.
func eximRoot(t *testing.T) roots.Root {
	t.Helper()
	r := roots.Debian(t, "bsd-mailx", "cron", "exim4-daemon-light")
	bring(t, r)
	r.Run(t, "useradd -m alice; echo mail.example.org >/etc/mailname")
	return r
}

// bring copies the binary into a root.
func bring(t *testing.T, r roots.Root) {
	t.Helper()
	if out, err := exec.Command("cp", lan.Binary, r.Path("root/postoffice")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// snapshot is what is in some directories of a root: kinds, modes, owners, links and
// octets. What accounts are made in is left out.
func snapshot(t *testing.T, r roots.Root, dirs ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, dir := range dirs {
		err := filepath.WalkDir(r.Path(dir), func(name string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			at, _ := filepath.Rel(string(r), name)
			if base := strings.TrimSuffix(filepath.Base(at), "-"); filepath.Dir(at) == "etc" && slices.Contains([]string{"passwd", "group", "shadow", "gshadow", "subuid", "subgid", ".pwd.lock"}, base) {
				return nil
			}
			st := info.Sys().(*syscall.Stat_t)
			what := fmt.Sprintf("%v %d:%d", info.Mode(), st.Uid, st.Gid)
			switch {
			case info.Mode().IsRegular():
				text, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				what += fmt.Sprintf(" %x", sha256.Sum256(text))
			case info.Mode()&fs.ModeSymlink != 0:
				to, err := os.Readlink(name)
				if err != nil {
					return err
				}
				what += " " + to
			}
			all[at] = what
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// arrived is a piece of a script: it waits until a mailbox has n messages.
const arrived = `arrived() { i=0; until [ "$(grep -c '^From ' "/var/mail/$1" 2>/dev/null)" = "$2" ]; do i=$((i+1)); [ $i -lt 600 ] || { echo "no message $2 for $1"; exit 1; }; sleep 0.1; done; }
`

// TestInEximsPlace: install on a Debian with exim diverts exim's names, the server runs and
// takes mail from every place where programs look; init script and programs have LSB's exit
// codes; refusals and --dry-run change nothing; uninstall gives every octet back, and exim delivers again.
func TestInEximsPlace(t *testing.T) {
	r := eximRoot(t)
	r.Run(t, arrived+"echo one | /usr/sbin/sendmail alice; arrived alice 1")
	before := snapshot(t, r, "usr", "etc", "var/lib/dpkg")
	refuses(t, r)
	dry := r.Run(t, "/root/postoffice install --dry-run")
	if diff := differ(before, snapshot(t, r, "usr", "etc", "var/lib/dpkg")); diff != "" {
		t.Fatalf("a refusal, or --dry-run, changed something:\n%s", diff)
	}
	said := r.Run(t, arrived+lsb+`
/root/postoffice install
postoffice status
echo two | mail -s two alice
echo three | /usr/lib/sendmail alice
echo four | /usr/local/sbin/send-mail -t <<END
To: alice
Subject: four

END
arrived alice 4
mailq; newaliases; rm /etc/aliases.db
lsb 0 /etc/init.d/postoffice status
lsb 0 /etc/init.d/postoffice start
lsb 0 /etc/init.d/postoffice reload
lsb 0 /etc/init.d/postoffice restart
lsb 0 /etc/init.d/postoffice condrestart
lsb 2 /etc/init.d/postoffice nothing
lsb 0 /etc/init.d/postoffice stop
lsb 0 /etc/init.d/postoffice stop
lsb 3 /etc/init.d/postoffice status
lsb 7 /etc/init.d/postoffice reload
lsb 0 /etc/init.d/postoffice condrestart
lsb 3 /etc/init.d/postoffice status
echo nonsense >>/etc/postoffice.cf
lsb 6 /etc/init.d/postoffice start
sed -i '$d' /etc/postoffice.cf
lsb 0 /etc/init.d/postoffice start
lsb 0 /root/postoffice install
echo five | mail -s five alice; arrived alice 5
setpriv --reuid=alice --regid=alice --clear-groups sh -c 'postoffice status && ! postoffice stop'
`)
	for _, want := range []string{"postoffice runs, and takes mail of this machine", "relay-host =", "who alone may do this"} {
		if !strings.Contains(said, want) {
			t.Errorf("install did not say %q:\n%s", want, said)
		}
	}
	for line := range strings.Lines(dry) {
		if !strings.Contains(said, line) {
			t.Errorf("--dry-run said %q, which was not done", line)
		}
	}
	box, err := os.ReadFile(r.Path("var/mail/alice"))
	if err != nil || strings.Count(string(box), "\nReturn-Path: <root@mail.example.org>\n") != 4 {
		t.Errorf("the name in /etc/mailname is not root's domain: %v\n%s", err, box)
	}
	back := r.Run(t, arrived+`
code=0; postoffice status || code=$?; [ $code = 1 ] # it was killed with the script above
postoffice uninstall
echo six | /usr/sbin/sendmail alice; arrived alice 6
`)
	if diff := differ(before, snapshot(t, r, "usr", "etc", "var/lib/dpkg")); diff != "" {
		t.Errorf("uninstall left, and said\n%s\n%s", back, diff)
	}
	r.Run(t, later)
}

// later: where no mail server is, a package that brings one later doesn't take the place.
const later = `
dpkg --force-depends --purge exim4-daemon-light exim4-base exim4-config 2>/dev/null
/root/postoffice install
mkdir -p /tmp/other/DEBIAN /tmp/other/usr/sbin
printf 'Package: other\nVersion: 1\nArchitecture: all\nMaintainer: o <o@example.org>\nDescription: other\n' >/tmp/other/DEBIAN/control
echo other >/tmp/other/usr/sbin/sendmail
dpkg-deb --build /tmp/other /tmp/other.deb
dpkg --install /tmp/other.deb
[ "$(readlink -f /usr/sbin/sendmail)" = /usr/local/sbin/postoffice ]
postoffice uninstall
[ "$(cat /usr/sbin/sendmail)" = other ]
[ ! -e /usr/lib/sendmail ]
`

// differ is where two snapshots part. dpkg keeps the list of diversions of before.
func differ(a, b map[string]string) string {
	var all []string
	for name := range maps.Keys(a) {
		if b[name] != a[name] && name != diversionsOld {
			all = append(all, fmt.Sprintf("%s: was %q, is %q", name, a[name], b[name]))
		}
	}
	for name := range maps.Keys(b) {
		if _, ok := a[name]; !ok && name != diversionsOld {
			all = append(all, fmt.Sprintf("%s is new: %q", name, b[name]))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

const diversionsOld = "var/lib/dpkg/diversions-old"

// refuses: while somebody else has port 25 nothing is installed, and whoever isn't root is
// told.
func refuses(t *testing.T, r roots.Root) {
	t.Helper()
	out, err := r.Try(t, `perl -MIO::Socket::INET -e 'IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1:25") && system("touch /tmp/ready") == 0 && sleep 600' &
until [ -e /tmp/ready ]; do sleep 0.1; done
code=0; /root/postoffice install || code=$?; [ $code = 69 ]`)
	if err != nil || !strings.Contains(out, "another mail server answers at port 25") || !strings.Contains(out, "disable --now exim4") {
		t.Errorf("beside a server that runs: %v\n%s", err, out)
	}
	out, err = r.Try(t, `cp /root/postoffice /tmp/postoffice
code=0; setpriv --reuid=alice --regid=alice --clear-groups /tmp/postoffice install || code=$?; [ $code = 77 ]
setpriv --reuid=alice --regid=alice --clear-groups /tmp/postoffice install --dry-run`)
	if err != nil || !strings.Contains(out, "only root may install here") || !strings.Contains(out, "have dpkg keep /usr/sbin/sendmail") {
		t.Errorf("as alice: %v\n%s", err, out)
	}
}
