//go:build linux

package privsep

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"postoffice/deliver/local"
)

// fakeGetent knows ldap, answers root for 0, and tells who runs it.
const fakeGetent = `#!/bin/sh
echo "$# $1 $2 $3 $(id -u) $(env | sort | tr '\n' ' ') $(ls /proc/self/fd | wc -l)" >> %s/asked
case $3 in
ldap | 5000) echo 'ldap:*:5000:5000:L D:/home/ldap:/bin/sh' ;;
0) echo 'root:x:0:0:root:/root:/bin/sh' ;;
slow) sleep 60 ;;
broken) exit 1 ;;
odd) echo nonsense ;;
long) head -c 1000000 /dev/zero ;;
*) exit 2 ;;
esac
`

func namesIn(t *testing.T, nsswitch string) Names {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755)) // an uid without an account runs the script
	must(t, os.Chmod(dir, 0o777))
	n := Names{Passwd: filepath.Join(dir, "passwd"), NSSwitch: filepath.Join(dir, "nsswitch.conf"), Getent: filepath.Join(dir, "getent")}
	must(t, os.WriteFile(n.Passwd, []byte("root:x:0:0::/:\nnobody:x:65534:65534::/:\n"), 0o644))
	must(t, os.WriteFile(n.Getent, fmt.Appendf(nil, fakeGetent, dir), 0o755))
	must(t, os.Chmod(n.Getent, 0o755))
	if nsswitch != "" {
		must(t, os.WriteFile(n.NSSwitch, []byte(nsswitch), 0o644))
	}
	return n
}

func TestNamesA76(t *testing.T) {
	requireRoot(t)
	n := namesIn(t, "hosts: files dns\npasswd: files [NOTFOUND=continue] extrausers # more\n")
	a := n.accounts(newGetent(n).Lookup)
	for _, tt := range []struct{ name, want string }{
		{"root", "root"}, // by the file: getent is not asked
		{"ldap", "ldap"},
		{"LDAP", "ldap"}, // R14
		{"ldap", "ldap"}, // from the cache
		{"0", "none"},
		{"nix", "none"},
		{"nix", "none"},
		{"-x", "none"}, // never an argument
		{"a/b", "none"},
		{"broken", "later"},
		{"odd", "later"},
		{"long", "later"},
	} {
		got := "later"
		found, err := a.Lookup(t.Context(), tt.name)
		if err == nil {
			got = found.Name
		} else if errors.Is(err, local.ErrNoUser) {
			got = "none"
		}
		if got != tt.want {
			t.Errorf("%q: %s (%v), want %s", tt.name, got, err, tt.want)
		}
	}
	b, err := os.ReadFile(filepath.Join(filepath.Dir(n.Getent), "asked"))
	must(t, err)
	asked := string(b)
	if !strings.HasPrefix(asked, "3 passwd -- ldap 65533 PATH=/usr/bin:/bin PWD=/ ") {
		t.Errorf("getent ran as %q", asked)
	}
	for name, times := range map[string]int{"ldap": 1, "LDAP": 1, "nix": 1, "0": 1, "-x": 0, "root": 0, "broken": 1} {
		if got := strings.Count(asked, " -- "+name+" "); got != times {
			t.Errorf("getent was asked for %q %d times, want %d", name, got, times)
		}
	}
}

// TestTraceGetentA76: no program of an alias can trace getent, and so answer in
// its place that it has the groups of root.
func TestTraceGetentA76(t *testing.T) {
	requireRoot(t)
	n := namesIn(t, "group: files ldap\n")
	seen := filepath.Join(filepath.Dir(n.Getent), "seen")
	script := "#!/bin/sh\nawk '/^(Uid|Gid|Groups)/ { $1 = $1; print }' /proc/$$/status >" + seen + "\necho daemon 1\n"
	must(t, os.WriteFile(n.Getent, []byte(script), 0o755))
	_, err := newGetent(n).groups(t.Context(), "daemon")
	must(t, err)
	b, err := os.ReadFile(seen)
	must(t, err)
	want := "Uid: 65533 65533 65533 65533\nGid: 65533 65533 65533 65533\nGroups:\n"
	if string(b) != want {
		t.Errorf("getent has %q, want %q: %d is what programs of aliases have", b, want, nobodyID)
	}
}

// TestNameOfA76: an account that only getent knows is found by its uid too.
func TestNameOfA76(t *testing.T) {
	requireRoot(t)
	for nsswitch, want := range map[string]string{"passwd: files\n": "", "passwd: files ldap\n": "ldap"} {
		n := namesIn(t, nsswitch)
		for uid, name := range map[int]string{65534: "nobody", 0: "root", 5000: want, 5001: ""} {
			if got := n.NameOf(uid); got != name {
				t.Errorf("%q: uid %d is %q, want %q", nsswitch, uid, got, name)
			}
		}
	}
}

func TestSlowGetent(t *testing.T) {
	requireRoot(t)
	n := namesIn(t, "passwd: files systemd\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	g := newGetent(n)
	done := make(chan error)
	go func() {
		_, err := g.Lookup(ctx, "slow")
		done <- err
	}()
	cancel(errStopped)
	if err := <-done; !errors.Is(err, errStopped) || errors.Is(err, local.ErrNoUser) {
		t.Errorf("%v, want the cause", err)
	}
}

func TestWhoIsAskedA76(t *testing.T) {
	for _, tt := range []struct {
		nsswitch string
		more     bool
	}{
		{"", false}, // no file: busybox
		{"passwd: files\n", false},
		{"passwd:files", false},
		{"hosts: dns\n", false},
		{"# passwd: ldap\n", false},
		{"passwd: files # ldap\n", false},
		{"passwd: files [!UNAVAIL=return]\n", false},
		{"passwd:\tfiles sss\n", true},
		{"passwd: compat\n", true},
		{"  passwd: files [SUCCESS=merge] ldap\n", true},
	} {
		n := namesIn(t, tt.nsswitch)
		asked := false
		a := n.accounts(func(context.Context, string) (local.Account, error) {
			asked = true
			return local.Account{}, local.ErrNoUser
		})
		if _, err := a.Lookup(t.Context(), "nix"); !errors.Is(err, local.ErrNoUser) || asked != tt.more {
			t.Errorf("%q: asked %v (%v), want %v", tt.nsswitch, asked, err, tt.more)
		}
	}
	n := namesIn(t, "")
	must(t, os.Mkdir(n.NSSwitch, 0o755))
	if _, err := n.accounts(nil).Lookup(t.Context(), "nix"); err == nil || errors.Is(err, local.ErrNoUser) {
		t.Errorf("nsswitch.conf can't be read: %v, want later", err)
	}
	n = namesIn(t, "passwd: ldap")
	n.Getent = "/nonexistent"
	if _, err := n.accounts(newGetent(n).Lookup).Lookup(t.Context(), "nix"); err == nil || errors.Is(err, local.ErrNoUser) {
		t.Errorf("no getent: %v, want later", err)
	}
}

// TestLookupThroughLink: the server asks the master, which asks getent.
func TestLookupThroughLink(t *testing.T) {
	n := namesIn(t, "passwd: files ldap\n")
	h := start(t, func(o *MasterOptions) { o.Names = n })
	k := h.dial()
	k.want("ldap 5000 false <nil>", "lookup ldap")
	k.want("root 0 false <nil>", "lookup root")
	k.want(" 0 true no such user", "lookup nix")
	k.want(" 0 false getent", "lookup broken")
	var wg sync.WaitGroup
	for i := range 100 { // more than may be under way at once
		wg.Go(func() { h.dial().want(" 0 true", "lookup nix%d", i) })
	}
	wg.Wait()
}
