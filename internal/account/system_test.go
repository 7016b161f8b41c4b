//go:build linux

package account

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/testenv"
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
	testenv.NeedsRoot(t, "runs getent as another user")
	n := namesIn(t, "hosts: files dns\npasswd: files [NOTFOUND=continue] extrausers # more\n")
	a := NewSystem(n)
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
		} else if errors.Is(err, ErrNoUser) {
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
	testenv.NeedsRoot(t, "runs getent as another user")
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
		t.Errorf("getent has %q, want %q: nobody is what programs of aliases have", b, want)
	}
}

// TestNameOfA76: an account that only getent knows is found by its uid too.
func TestNameOfA76(t *testing.T) {
	testenv.NeedsRoot(t, "runs getent as another user")
	for nsswitch, want := range map[string]string{"passwd: files\n": "", "passwd: files ldap\n": "ldap"} {
		n := namesIn(t, nsswitch)
		for uid, name := range map[int]string{65534: "nobody", 0: "root", 5000: want, 5001: ""} {
			if got := NewSystem(n).NameOf(uid); got != name {
				t.Errorf("%q: uid %d is %q, want %q", nsswitch, uid, got, name)
			}
		}
	}
}

func TestSlowGetent(t *testing.T) {
	testenv.NeedsRoot(t, "runs getent as another user")
	n := namesIn(t, "passwd: files systemd\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	g := newGetent(n)
	done := make(chan error)
	go func() {
		_, err := g.Lookup(ctx, "slow")
		done <- err
	}()
	stopped := errors.New("stopped")
	cancel(stopped)
	if err := <-done; !errors.Is(err, stopped) || errors.Is(err, ErrNoUser) {
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
		a := n.Asking(func(context.Context, string) (Account, error) {
			asked = true
			return Account{}, ErrNoUser
		})
		if _, err := a.Lookup(t.Context(), "nix"); !errors.Is(err, ErrNoUser) || asked != tt.more {
			t.Errorf("%q: asked %v (%v), want %v", tt.nsswitch, asked, err, tt.more)
		}
	}
	n := namesIn(t, "")
	must(t, os.Mkdir(n.NSSwitch, 0o755))
	if _, err := n.Asking(nil).Lookup(t.Context(), "nix"); err == nil || errors.Is(err, ErrNoUser) {
		t.Errorf("nsswitch.conf can't be read: %v, want later", err)
	}
	n = namesIn(t, "passwd: ldap")
	n.Getent = "/nonexistent"
	if _, err := NewSystem(n).Lookup(t.Context(), "nix"); err == nil || errors.Is(err, ErrNoUser) {
		t.Errorf("no getent: %v, want later", err)
	}
}

// TestGroupsA76: groups come from the group file, and from getent where
// nsswitch.conf names more; what is not known is no group that somebody lacks.
func TestGroupsA76(t *testing.T) {
	testenv.NeedsRoot(t, "runs getent as another user")
	n := namesIn(t, "")
	n.Group = filepath.Join(filepath.Dir(n.Passwd), "group")
	must(t, os.WriteFile(n.Group, []byte("staff:x:20901:u9,u0\nx:x:20902:u00\nmail:x:20500:u0,u1\n"), 0o644))
	u0 := Account{Name: "u0", GID: 20500}
	for _, tt := range []struct {
		name, nsswitch, getent string
		want                   []uint32
		fails                  bool
	}{
		{"files", "group: files\n", "", []uint32{20500, 20901, 20500}, false},
		{"no line", "passwd: files ldap\n", "", []uint32{20500, 20901, 20500}, false},
		{"getent", "group: files [NOTFOUND=continue] ldap\n", "echo 'u0      3 20500 7'", []uint32{20500, 3, 20500, 7}, false},
		{"asked", "group: files ldap\n", `test "$*" = "initgroups -- u0" && test $(id -u) = 65533 && echo "u0  5"`, []uint32{20500, 5}, false},
		{"initgroups", "group: files ldap\ninitgroups: files\n", "", []uint32{20500, 20901, 20500}, false},
		{"none", "group: files ldap\n", "echo u0", []uint32{20500}, false},
		{"no answer", "group: files ldap\n", "exit 0", nil, true},
		{"another", "group: files ldap\n", "echo 'u00 4'", nil, true},
		{"no number", "group: files ldap\n", "echo 'u0 4 x'", nil, true},
		{"error", "group: files ldap\n", "exit 3", nil, true},
		{"too long", "group: files ldap\n", "yes 'u0 4' | head -c 100000", nil, true},
	} {
		must(t, os.WriteFile(n.NSSwitch, []byte(tt.nsswitch), 0o644))
		must(t, os.WriteFile(n.Getent, []byte("#!/bin/sh\n"+tt.getent+"\n"), 0o755))
		must(t, os.Chmod(n.Getent, 0o755)) // whatever the umask is
		got, err := NewSystem(n).Groups(t.Context(), u0)
		if (err != nil) != tt.fails || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
}

// TestAlone: a group is the account's own if nobody else can be in it.
func TestAlone(t *testing.T) {
	testenv.NeedsRoot(t, "runs getent as another user")
	a := Account{Name: "u0", UID: 20001, GID: 20500}
	for _, tt := range []struct {
		name, nsswitch, passwd, group string
		want, fails                   bool
	}{
		{"its name", "", "", "u0:x:20500:\n", true, false},
		{"its name, itself a member", "", "", "u0:x:20500:u0\n", true, false},
		{"its name, other members", "", "", "u0:x:20500:u0,u1\n", false, false},
		{"its name, and another of the number", "", "", "u0:x:20500:\nstaff:x:20500:u1\n", false, false},
		{"another name", "", "", "users:x:20500:\n", true, false},
		{"another name, another's group too", "", "u1:x:20002:20500::/:\n", "users:x:20500:\n", false, false},
		{"another name, other members", "", "", "users:x:20500:u1\n", false, false},
		{"no such group", "", "", "x:x:1:u1\n", true, false},
		{"no group file", "", "", "", true, false},
		{"its name, by getent", "group: files ldap\n", "", "echo u0:x:20500:", true, false},
		{"another name, by getent", "group: files ldap\n", "", "echo users:x:20500:", false, false}, // who knows whose it is
		{"other members, by getent", "group: files ldap\n", "", "echo u0:x:20500:u1", false, false},
		{"no such group, by getent", "group: files ldap\n", "", "exit 2", false, false},
		{"no answer of getent", "group: files ldap\n", "", "exit 1", false, true},
	} {
		n := namesIn(t, tt.nsswitch)
		n.Group = filepath.Join(filepath.Dir(n.Passwd), "group")
		write(t, n.Passwd, "root:x:0:0::/:\nu0:x:20001:20500::/:\n"+tt.passwd)
		if tt.nsswitch != "" {
			write(t, n.Getent, "#!/bin/sh\n"+tt.group+"\n")
		} else if tt.group != "" {
			write(t, n.Group, tt.group)
		}
		got, err := NewSystem(n).Alone(a)
		if got != tt.want || (err != nil) != tt.fails {
			t.Errorf("%s: %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
}
