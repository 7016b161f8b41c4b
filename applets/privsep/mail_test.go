//go:build linux

package privsep

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/testenv"
)

// TestMailProcess: a process that writes a user's mailbox has the group of the mail
// directory beside the user's own, gains nothing by what it starts, and is the user's:
// what it sends beside the point ends it.
func TestMailProcess(t *testing.T) {
	h := start(t, byUsers)
	k := h.dial()
	k.want("delivered 2.0.0 <nil>", "deliver t1 u0 From-a")
	pid := ""
	if !testenv.Eventually(func() bool { pid = processOf(t, UserRole+"u0"); return pid != "" }) {
		t.Fatal("there is no process of u0")
	}
	status, err := os.ReadFile("/proc/" + pid + "/status")
	testenv.Must(t, err)
	gid := firstUID + 100
	for _, want := range []string{
		fmt.Sprintf("\nUid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", firstUID), fmt.Sprintf("\nGid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", mailGID),
		fmt.Sprintf("\nGroups:\t%d \n", gid), "\nNoNewPrivs:\t1\n", "\nCapEff:\t0000000000000000\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	testenv.Must(t, os.Chmod(h.mail, 0o755)) // nobody but root may make files there any more
	k.want("deferred 4.2.0", "deliver t2 u1 From-b")
}

// heldFS hangs in home directories below one that is called hung, as long as a test holds a
// lock.
type heldFS struct {
	disk.FS
	hold string
}

func (h heldFS) OpenDir(path string) (disk.Dir, error) {
	if filepath.Base(filepath.Dir(path)) == "hung" {
		f, err := os.Open(h.hold)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH); err != nil {
			return nil, err
		}
	}
	return h.FS.OpenDir(path)
}

// hungHomes gives users homes below a directory, which is one file system or in which each
// is one, and returns what that directory is in.
func hungHomes(t *testing.T, o *MasterOptions, systems, users int) string {
	t.Helper()
	dir := filepath.Dir(o.Names.Passwd)
	mounts := "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
	testenv.Must(t, os.Mkdir(filepath.Join(dir, "hung"), 0o755))
	testenv.Must(t, os.Chmod(filepath.Join(dir, "hung"), 0o755)) // whatever the umask is
	for i := range systems {
		at := filepath.Join(dir, "hung")
		if systems > 1 {
			at = filepath.Join(at, fmt.Sprint("p", i))
		}
		mounts += fmt.Sprintf("%d 1 0:%[1]d / %s rw - nfs4 a:/ rw\n", 100+i, at)
	}
	o.Mailboxes.Mounts = func() string { return mounts }
	addUsers(t, o, users)
	passwd, err := os.ReadFile(o.Names.Passwd)
	testenv.Must(t, err)
	lines := strings.Split(string(passwd), "\n")
	for i, line := range lines {
		if f := strings.Split(line, ":"); strings.HasPrefix(line, "p") {
			f[5] = filepath.Join(dir, "hung", f[0])
			testenv.Must(t, os.Mkdir(f[5], 0o755))
			testenv.Must(t, os.Chmod(f[5], 0o755))
			lines[i] = strings.Join(f, ":")
		}
	}
	testenv.Must(t, os.WriteFile(o.Names.Passwd, []byte(strings.Join(lines, "\n")), 0o644))
	return dir
}

// TestA39HungMailProcesses: homes of more users hang than there are processes, on one file
// system or each on its own. Others get their mail meanwhile; those that hang are
// deferred as soon as half of what a server asks for is under way, and written once when
// their homes answer.
func TestA39HungMailProcesses(t *testing.T) {
	const hung = maxUsers + 4
	for _, systems := range []int{1, hung} {
		t.Run(fmt.Sprint(systems, " file systems"), func(t *testing.T) {
			var dir string
			h := start(t, func(o *MasterOptions) {
				byUsers(o)
				dir = hungHomes(t, o, systems, hung)
			})
			hold, err := os.OpenFile(filepath.Join(dir, "hold"), os.O_CREATE|os.O_RDONLY, 0o644)
			testenv.Must(t, err)
			defer hold.Close()
			testenv.Must(t, hold.Chmod(0o644))
			testenv.Must(t, syscall.Flock(int(hold.Fd()), syscall.LOCK_EX))
			user := func(i int) int { // the first messages are to one user each
				if i < hung {
					return i
				}
				return i % 2
			}
			var answers int
			first := make(chan string, hung+maxQuietMail)
			ask := func(from, n int) {
				for i := from; i < from+n; i++ {
					answer := h.dial().begin("deliver t%d p%d From-%d-", i, user(i), i)
					go func() { first <- <-answer }()
					answers++
				}
			}
			ask(0, hung)
			if !testenv.Eventually(func() bool { return len(userProcesses(t)) >= maxUsers }) {
				t.Fatal("not all places are held")
			}
			k := h.dial()
			k.want("delivered", "deliver other u1 From-other")
			select {
			case got := <-first:
				t.Errorf("others waited for %q", got)
			default:
			}
			ask(hung, maxQuietMail)
			k.want("delivered", "deliver another u2 From-another")
			if got := <-first; !strings.HasPrefix(got, "deferred 4.2.0") || !strings.Contains(got, "does not answer") {
				t.Errorf("of those that hang one is answered %q", got)
			}
			k.want("delivered", "deliver third u3 From-third")
			testenv.Must(t, hold.Close())
			for i := 0; i < answers; {
				if got := k.say("deliver t%d p%d From-%d-", i, user(i), i); strings.Contains(got, errStillRuns.Error()) || strings.Contains(got, "is under way") {
					continue // until it has gone on
				} else if !strings.HasPrefix(got, "delivered") {
					t.Fatalf("%d, asked again: %q", i, got)
				}
				k.want("ok", "recorded t%d", i)
				i++
			}
			for i := range answers {
				if n := strings.Count(h.mailbox(fmt.Sprint("p", user(i))), fmt.Sprintf("From-%d-", i)); n != 1 {
					t.Errorf("message %d is there %d times", i, n)
				}
			}
		})
	}
}

// TestForwardsByUsers: whether there is a .forward is asked of a process of the user's.
func TestForwardsByUsers(t *testing.T) {
	testenv.NeedsRoot(t, "starts processes as other users")
	h := prepare(t)
	home := h.path("home")
	testenv.Must(t, os.Mkdir(home, 0o700))
	testenv.Must(t, os.Chown(home, firstUID, firstUID))
	file := filepath.Join(home, ".forward")
	testenv.Must(t, os.WriteFile(h.path("passwd"), fmt.Appendf(nil, "root:x:0:0::/root:/bin/sh\nu0:x:%d:%[1]d::%s:/bin/sh\nu1:x:%d:%[3]d::%[2]s:/bin/sh\n", firstUID, home, firstUID+1), 0o644))
	o := optionsIn(h.dir, h.log)
	o.ByUsers = true
	m := newMaster(t.Context(), o)
	defer m.wait()
	look := func(user string, want bool, words string) {
		t.Helper()
		yes, err := m.forwards(t.Context(), user, "")
		if yes != want || (err == nil) != (words == "") || err != nil && !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, %v, want %v, %q", user, yes, err, want, words)
		}
	}
	look("u0", false, "")
	look("u1", false, "permission denied") // it is u0's, and closed
	testenv.Must(t, os.WriteFile(file, nil, 0o600))
	look("u0", true, "")
	look("root", false, "")
	look("u9", false, account.ErrNoUser.Error())
}

// processOf is the number of the child with that title; "": there is none.
func processOf(t *testing.T, title string) string {
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	testenv.Must(t, err)
	for _, name := range all {
		b, err := os.ReadFile(name)
		if err != nil || strings.TrimRight(string(b), "\x00") != title {
			continue
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(name), "status"))
		if err == nil && strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())) {
			return filepath.Base(filepath.Dir(name))
		}
	}
	return ""
}
