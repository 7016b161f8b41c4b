package preflight

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postoffice/applets/config"
	"postoffice/deliver/local/mailbox"
	"postoffice/internal/account"
	"postoffice/vhost"
)

// virtual are virtual domains in good order, whose files belong to who runs the test.
func virtual(t *testing.T, list string, domains ...string) Virtual {
	t.Helper()
	dir, spool := t.TempDir(), t.TempDir()
	owner, err := account.Machine().InFile(os.Getuid())
	err = errors.Join(err, os.Chmod(dir, 0o755), os.Chmod(spool, 0o755), os.Chmod(filepath.Dir(dir), 0o755),
		os.WriteFile(filepath.Join(dir, vhost.DomainsFile), []byte(strings.ReplaceAll(list, "ME", owner.Login)), 0o644))
	for _, d := range domains {
		err = errors.Join(err, os.Mkdir(filepath.Join(dir, d), 0o755), os.Mkdir(filepath.Join(spool, d), 0o700), os.WriteFile(filepath.Join(dir, d, vhost.PasswdFile), []byte("bob:x\n"), 0o640))
	}
	if err != nil {
		t.Fatal(err)
	}
	option := func(name, value string) config.Path { return config.Path{Option: name, Where: "cf:1", Name: value} }
	return Virtual{
		Dir: option("vhost-dir", dir), User: option("vhost-user", "mail"), Mailbox: option("vhost-mailbox", config.VHostFile), Quota: option("vhost-quota", ""),
		Domains: vhost.OpenDomains(dir), Store: vhost.New(dir, account.Machine()),
		Boxes:  mailbox.Virtual{Dir: spool, User: account.Account{Name: "mail", UID: os.Getuid(), GID: os.Getgid()}},
		AsUser: func(f func() error) error { return f() },
	}
}

// TestVirtual: each file and directory of virtual domains, in good order and in each way
// that it can be wrong, with what to do.
func TestVirtual(t *testing.T) {
	const list = "ME:v.example:1:\nME:off.example:0:\n"
	for _, tt := range []struct {
		name, list string
		change     func(v *Virtual) error
		want       []string // of the findings, in their order: what each says, with its hint
	}{
		{"good order", list, nil, nil},
		{"no list", "", func(v *Virtual) error { return os.Remove(filepath.Join(v.Dir.Name, vhost.DomainsFile)) }, nil},
		{"no directory", list, func(v *Virtual) error { v.Dir.Name = "/nonexistent/v"; return nil }, nil},
		{"no directory that is named", list, func(v *Virtual) error { v.Dir.Name, v.Dir.Named = "/nonexistent/v", true; return nil }, []string{"vhost-dir: open /nonexistent/v: no such file or directory|mkdir -p /nonexistent/v"}},
		{"a broken line", list + "x\n", nil, nil},
		{"no owner", "no-such-account-here:v.example:1:\n", nil, []string{"no-such-account-here|mail for v.example waits"}},
		{"no account", list, func(v *Virtual) error { v.AsUser, v.Boxes.Missing = nil, "there is no account"; return nil }, []string{"vhost-user: there is no account|waits"}},
		{"no directory of a domain", list, func(v *Virtual) error { return os.RemoveAll(filepath.Join(v.Dir.Name, "v.example")) }, []string{"postoffice vdomain add|mail for v.example waits"}},
		{"others may write there", list, func(v *Virtual) error { return os.Chmod(filepath.Join(v.Dir.Name, "v.example"), 0o777) }, []string{"chmod go-w it|waits"}},
		{"no passwd", list, func(v *Virtual) error { return os.Remove(filepath.Join(v.Dir.Name, "v.example", "passwd")) }, []string{"passwd: no such file|waits"}},
		{"a link for passwd", list, func(v *Virtual) error {
			name := filepath.Join(v.Dir.Name, "v.example", "passwd")
			return errors.Join(os.Remove(name), os.Symlink("/etc/passwd", name))
		}, []string{"is a symbolic link|waits"}},
		{"others' aliases", list, func(v *Virtual) error {
			return errors.Join(os.WriteFile(filepath.Join(v.Dir.Name, "v.example", "aliases"), nil, 0o600), os.Chmod(filepath.Join(v.Dir.Name, "v.example", "aliases"), 0o666))
		}, []string{"chmod go-w it|waits"}},
		{"no mailboxes", list, func(v *Virtual) error { return os.RemoveAll(filepath.Join(v.Boxes.Dir, "v.example")) }, []string{"mkdir |waits"}},
		{"others may write mailboxes", list, func(v *Virtual) error { return os.Chmod(filepath.Join(v.Boxes.Dir, "v.example"), 0o777) }, []string{"chmod go-w it|waits"}},
		{"passwd and mailboxes", list, func(v *Virtual) error {
			return errors.Join(os.RemoveAll(filepath.Join(v.Boxes.Dir, "v.example")), os.Remove(filepath.Join(v.Dir.Name, "v.example", "passwd")))
		}, []string{"passwd: no such file|waits", "mkdir |waits"}},
		{"no LMTP server", list, func(v *Virtual) error { v.Mailbox.Name = "lmtp:" + v.Boxes.Dir + "/s"; return nil }, []string{"vhost-mailbox: connect |start the server"}},
		{"an LMTP server and a bound", list, func(v *Virtual) error {
			v.Mailbox.Name, v.Bounded = "lmtp:"+v.Boxes.Dir+"/s", true
			l, err := net.Listen("unix", v.Boxes.Dir+"/s")
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return errors.Join(err, os.RemoveAll(filepath.Join(v.Boxes.Dir, "v.example")))
		}, []string{"vhost-quota: nobody looks at it|bound of its own"}},
	} {
		v := virtual(t, tt.list, "v.example")
		if tt.change != nil {
			if err := tt.change(&v); err != nil {
				t.Fatal(err)
			}
		}
		all := v.Findings(t.Context(), who(true))
		if len(all) != len(tt.want) {
			t.Errorf("%s: %d findings %v, want %d", tt.name, len(all), all, len(tt.want))
			continue
		}
		for i, f := range all {
			said, hint, _ := strings.Cut(tt.want[i], "|")
			if !strings.Contains(f.Err.Error(), said) || !strings.Contains(f.Hint(), hint) {
				t.Errorf("%s: %v, hint %q; want %q", tt.name, f.Err, f.Hint(), tt.want[i])
			}
		}
	}
}

// TestVirtualMany: of many domains so many are looked at, and so many told of.
func TestVirtualMany(t *testing.T) {
	var list strings.Builder
	for i := range 2 * maxDomains {
		fmt.Fprintf(&list, "ME:d%d.example:1:\n", i)
	}
	v := virtual(t, list.String())
	all := v.Findings(t.Context(), who(true))
	if len(all) != maxTold+1 || !strings.Contains(all[maxTold].Err.Error(), fmt.Sprintf("%d more files or directories", 2*maxDomains-maxTold)) {
		t.Errorf("%d findings, the last %v", len(all), all[len(all)-1].Err)
	}
	names, err := v.Domains.Active()
	if err != nil || len(names) != 2*maxDomains || !slices.IsSorted(names) {
		t.Errorf("%d domains, %v", len(names), err)
	}
}
