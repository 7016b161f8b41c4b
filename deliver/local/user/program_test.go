package user

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/deliver/local"
	"postoffice/internal/smtp"
)

// TestProgramsSurroundingsA43: a program gets its user's ids and nothing else
// of ours (B46, B47, R16, R17).
func TestProgramsSurroundingsA43(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	t.Setenv("LD_PRELOAD", "/x")
	t.Setenv("IFS", "/")
	t.Setenv("TZ", "Europe/Berlin")
	inherited, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0) // as from who started us: no close-on-exec
	must(t, err)
	defer syscall.Close(inherited)
	p := newUser(t, nil)
	old := unix.Umask(0)
	defer unix.Umask(old)
	script := `(id -u; id -g; id -G; ulimit -c; umask; pwd; nice; ps -o sid= -p $$ | tr -d ' '; echo $$
		for f in /proc/$$/fd/*; do echo "${f##*/}"; done | tr '\n' ' '; echo; grep -E '^Sig(Blk|Ign)' /proc/self/status) > seen; env -u PWD -u _ | sort > env`
	wants(t, "program", p.program(strings.ReplaceAll(script, "\n\t\t", "; ")), "delivered", "2.0.0", "")
	seen := strings.Split(strings.TrimSpace(p.file("seen")), "\n")
	if len(seen) != 12 {
		t.Fatalf("saw %q", seen)
	}
	if seen[7] != seen[8] {
		t.Errorf("session %s of process %s", seen[7], seen[8])
	}
	if strings.TrimSpace(seen[9]) != "0 1 2" {
		t.Errorf("descriptors %s", seen[9])
	}
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // 20 less the niceness, which nobody but root makes less
	must(t, err)
	want := []string{"20001", "20101", "20101", "0", "0077", p.home, strconv.Itoa(max(20-own, niceness))}
	if !slices.Equal(seen[:7], want) {
		t.Errorf("uid, gid, groups, core, umask, directory, niceness %q, want %q", seen[:7], want)
	}
	for _, line := range seen[10:] {
		// glibc's posix_spawn, and so make, starts programs with its own signal 32 ignored.
		if !strings.HasSuffix(line, "\t0000000000000000") && line != "SigIgn:\t0000000080000000" {
			t.Errorf("signals: %s", line)
		}
	}
	wantEnv := strings.Join([]string{
		"DOMAIN=b.example", "EXTENSION=lists", "HOME=" + p.home, "LANG=C", "LOCAL=alice+lists", "LOGNAME=alice",
		"PATH=/usr/local/bin:/usr/bin:/bin", "QUEUE_ID=3XK9", "RECIPIENT=alice+lists@b.example", "SENDER=sender@a.example",
		"SHELL=/bin/sh", "TZ=Europe/Berlin", "USER=alice", "",
	}, "\n")
	if env := p.file("env"); env != wantEnv {
		t.Errorf("environment\n%s\nwant\n%s", env, wantEnv)
	}
}

// TestNothingFromMailIsRunA20: addresses reach a program as words of harmless
// octets.
func TestNothingFromMailIsRunA20(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newUser(t, func(o *Options) { o.Account.Shell = "/usr/sbin/nologin" })
	evil := "$(touch ran)`id`;-x\n|& \"'\\\xc3\xa4"
	r := p.Run(context.Background(), local.Job{
		User: "alice", Item: p.alias(`"|env > env; echo $SENDER > said"`), Body: strings.NewReader("x"),
		Envelope: local.Envelope{Sender: smtp.Path{Local: evil, Domain: "b.example"}, Recipient: smtp.Path{Local: evil}, Extension: evil, QueueID: evil},
	})
	wants(t, "program", r, "delivered", "2.0.0", "")
	const safe = "__touch_ran__id__-x_________"
	for _, want := range []string{"EXTENSION=" + safe, "LOCAL=" + safe, "DOMAIN=", "QUEUE_ID=" + safe, "SHELL=/bin/sh"} {
		if !slices.Contains(strings.Split(p.file("env"), "\n"), want) {
			t.Errorf("no %s in\n%s", want, p.file("env"))
		}
	}
	if p.file("ran") != "" {
		t.Error("the sender's command ran")
	}
	r = p.Run(context.Background(), local.Job{
		User: "alice", Item: p.alias(`"|echo $SENDER $LOCAL $EXTENSION > said"`), Body: strings.NewReader("x"),
		Envelope: local.Envelope{Sender: smtp.Path{Local: "-oX/x", Domain: "-b"}, Recipient: smtp.Path{Local: "--x"}, Extension: "-e"},
	})
	wants(t, "options", r, "delivered", "2.0.0", "")
	if got := p.file("said"); got != "_oX/x@-b _-x _e\n" {
		t.Errorf("a script would call a program with %q", got)
	}
}

// TestExitsA51B44B45: what becomes of a message whose program ends so.
func TestExitsA51B44B45(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newUser(t, nil)
	write(t, p.path("script"), "echo $1 > script-ran\n") // without #!
	must(t, os.Chmod(p.path("script"), 0o700))
	write(t, p.path("plain"), "x")
	for _, tt := range []struct {
		program string
		want    string
		status  string
		words   string
	}{
		{"exit 0", "delivered", "2.0.0", ""},
		{"true", "delivered", "2.0.0", ""},
		{"head -1", "delivered", "2.0.0", ""},
		{"exec </dev/null; exit 0", "delivered", "2.0.0", ""},
		{"(sleep 20 &) ; exit 0", "delivered", "2.0.0", ""},
		{"exit 75", "deferred", "4.3.0", "tried again"},
		{"exit 71", "deferred", "4.3.0", "exit code 71"},
		{"exit 74", "deferred", "4.3.0", "exit code 74"},
		{"exit 64", "bounced", "5.5.4", "exit code 64"},
		{"exit 67", "bounced", "5.1.1", "no such user"},
		{"exit 69", "bounced", "5.3.0", "not available"},
		{"exit 77", "bounced", "5.7.0", "permission denied"},
		{"exit 78", "bounced", "5.3.5", "configuration"},
		{"exit 1", "bounced", "5.3.0", "exit code 1"},
		{"exit 255", "bounced", "5.3.0", "exit code 255"},
		{"false", "bounced", "5.3.0", "exit code 1"},
		{"echo one; echo two >&2; printf '\\001\\303\\244\\tx'; exit 69", "bounced", "5.3.0", "available\none\ntwo\n??? x"},
		{"kill -9 $$", "deferred", "4.3.0", "signal killed"},
		{"sh -c 'kill -TERM $$'; exit $?", "deferred", "4.3.0", "signal 15"},
		{"sleep 9999", "deferred", "4.3.0", "too long"},
		{"echo so far; sleep 9999", "deferred", "4.3.0", "ended\nso far"},
		{"yes", "deferred", "4.3.0", "too long"},
		{"cat > /dev/null; sleep 9999 & wait", "deferred", "4.3.0", "too long"},
		{"./script alice", "delivered", "2.0.0", ""},
		{p.path("script") + " alice", "delivered", "2.0.0", ""},
		{"/nonexistent/program", "deferred", "4.3.5", "no such file"},
		{"nonexistent-program", "deferred", "4.3.5", "no such command"},
		{p.path("plain"), "deferred", "4.3.5", "permission denied"},
		{"/tmp", "deferred", "4.3.5", "permission denied"},
		{"/bin/sh -c 'nonexistent'", "deferred", "4.3.5", "no such command"},
	} {
		p.o.ProgramTime = time.Minute
		switch {
		case strings.HasPrefix(tt.program, "echo so far"): // it must have come so far
			p.o.ProgramTime = 5 * time.Second
		case strings.Contains(tt.program, "sleep 9999") || tt.program == "yes":
			p.o.ProgramTime = time.Second
		}
		begun := time.Now()
		wants(t, tt.program, p.program(tt.program), tt.want, tt.status, tt.words)
		if took := time.Since(begun); took > 19*time.Second { // sleep 20 would be more
			t.Errorf("%s held us for %v", tt.program, took)
		}
	}
	if p.file("script-ran") != "alice\n" {
		t.Error("a script without #! did not run")
	}
}

// TestProgramTime: the whole process group ends, whatever it ignores.
func TestProgramTime(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newUser(t, func(o *Options) { o.ProgramTime = 5 * time.Second }) // it must have begun
	must(t, syscall.Mkfifo(p.path("alive"), 0o600))
	alive, err := os.OpenFile(p.path("alive"), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	must(t, err)
	defer alive.Close()
	wants(t, "deaf program", p.program("trap '' TERM; exec 3> alive; echo begun >&3; sleep 9999 & while :; do wait; done"), "deferred", "4.3.0", "too long")
	must(t, alive.SetReadDeadline(time.Now().Add(time.Minute)))
	if got, err := io.ReadAll(alive); string(got) != "begun\n" || err != nil { // until nobody has it open
		t.Errorf("%q, %v: a process of the program is there", got, err)
	}
}

// TestProgramThatCantBeEnded: one with root's rights holds nobody up.
func TestProgramThatCantBeEnded(t *testing.T) {
	dir, done := asUser(t, func(dir string) {
		b, err := os.ReadFile("/usr/bin/setpriv")
		must(t, err)
		name := filepath.Join(dir, "setpriv")
		must(t, os.WriteFile(name, b, 0o700))
		must(t, os.Chown(name, 0, userGID)) // for nobody else
		must(t, os.Chmod(name, 0o750|os.ModeSetuid))
	})
	if done {
		return
	}
	p := newUser(t, func(o *Options) { o.ProgramTime = 3 * time.Second }) // it must be root by then
	begun := time.Now()
	r := p.runBody(p.alias(`"|`+dir+`/setpriv --reuid 0 sleep 60"`), strings.Repeat("x", 1<<20))
	wants(t, "set-uid program", r, "deferred", "4.3.0", "too long")
	if took := time.Since(begun); took < termWait+killWait || took > 55*time.Second {
		t.Errorf("it held us for %v", took)
	}
}

// TestUserEnds: the end of ctx is the program's.
func TestUserEnds(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newUser(t, nil)
	must(t, syscall.Mkfifo(p.path("started"), 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		os.ReadFile(p.path("started"))
		cancel()
	}()
	r := p.Run(ctx, local.Job{User: "alice", Item: p.alias(`"|echo > started; sleep 9999"`), Body: strings.NewReader("x")})
	wants(t, "program", r, "deferred", "4.3.0", "interrupted")
}

// TestBrokenMessage: no program takes a part of a message for the whole.
func TestBrokenMessage(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newUser(t, nil)
	broken := errors.New("it broke off")
	for name, n := range map[string]int{"small": 100, "large": readFirst + 300_000} {
		body := io.MultiReader(strings.NewReader(strings.Repeat("x", n)), iotest.ErrReader(broken))
		r := p.Run(context.Background(), local.Job{User: "alice", Item: p.alias(`"|echo > begun; cat > message; echo > taken"`), Body: body})
		wants(t, name, r, "deferred", "4.3.0", "not delivered whole")
		if !errors.Is(r.Err, broken) {
			t.Errorf("%s: %v", name, r.Err)
		}
		if begun := p.file("begun") != ""; begun && name == "small" {
			t.Errorf("%s: the program was started", name)
		}
		if p.file("taken") != "" {
			t.Errorf("%s: the program took it for whole", name)
		}
		os.Remove(p.path("begun"))
	}
	size := 5 << 20
	r := p.runBody(p.alias(`"|wc -c > size"`), strings.Repeat("x", size))
	wants(t, "whole", r, "delivered", "2.0.0", "")
	if got := strings.TrimSpace(p.file("size")); got != fmt.Sprint(size) {
		t.Errorf("the program read %s of %d octets", got, size)
	}
}

// TestLeftBehind: a process that outlives its program reads the message to its
// end, and never a part of one.
func TestLeftBehind(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newUser(t, nil)
	must(t, syscall.Mkfifo(p.path("size"), 0o600))
	size := make(chan string, 1)
	go func() {
		b, _ := os.ReadFile(p.path("size"))
		size <- strings.TrimSpace(string(b))
	}()
	long := strings.Repeat("x", 4<<20)
	r := p.runBody(p.alias(`"|exec 3<&0; (wc -c <&3 > size) & exit 0"`), long)
	wants(t, "whole", r, "delivered", "2.0.0", "")
	if got := <-size; got != fmt.Sprint(len(long)) {
		t.Errorf("it read %s of %d octets", got, len(long))
	}
	body := io.MultiReader(strings.NewReader(long), iotest.ErrReader(errors.New("it broke off")))
	i := p.alias(`"|exec 3<&0; (cat <&3 > /dev/null; echo > taken) & exit 0"`)
	wants(t, "part", p.Run(t.Context(), local.Job{User: "alice", Item: i, Body: body}), "deferred", "4.3.0", "not delivered whole")
	if p.file("taken") != "" {
		t.Error("it took a part for the whole")
	}
}

// TestNoMoreProcessesA43: where the user has as many processes as they may.
func TestNoMoreProcessesA43(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newUser(t, nil)
	wants(t, "before", p.program("true"), "delivered", "2.0.0", "")
	i := p.alias(`"|true"`)
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NPROC, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 1, Max: old.Max}))
	r := p.run(i)
	must(t, unix.Setrlimit(unix.RLIMIT_NPROC, &old))
	wants(t, "at the limit", r, "deferred", "4.3.5", "resource temporarily unavailable")
}

// TestHomeThatCantBeEntered: then the program works in /.
func TestHomeThatCantBeEntered(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	for _, home := range []string{"/nonexistent", "/etc/passwd", "/root", ""} {
		p := newUser(t, func(o *Options) { o.Account.Home = home })
		wants(t, home, p.program("pwd; exit 1"), "bounced", "5.3.0", "code 1\n/")
	}
}

func TestShells(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	list := filepath.Join(t.TempDir(), "shells")
	for _, tt := range []struct {
		shells, shell string
		want          string
	}{
		{"/bin/bash\n/bin/zsh # mine\n", "/bin/zsh", "delivered"},
		{"/bin/bash\n# /bin/zsh\n", "/bin/zsh", "deferred"},
		{"/bin/bash\n", "/usr/sbin/nologin", "deferred"},
		{"/bin/bash\n/SENDMAIL/ANY/SHELL/\n", "/usr/sbin/nologin", "delivered"},
		{"/bin/sh\n", "", "delivered"},
		{"", "/bin/sh", "deferred"},
		{"missing", "/bin/sh", "delivered"},
		{"missing", "/bin/zsh", "deferred"},
	} {
		write(t, list, tt.shells)
		if tt.shells == "missing" {
			must(t, os.Remove(list))
		}
		p := newUser(t, func(o *Options) { o.Shells, o.Account.Shell = list, tt.shell })
		r := p.run(p.forwardText(`"|true"`))
		if r.String() != tt.want || tt.want == "deferred" && !strings.Contains(fmt.Sprint(r.Err), "can't log in") {
			t.Errorf("%q with %q: %v %v %v", tt.shell, tt.shells, r.String(), r.Reply, r.Err)
		}
		wants(t, "an alias's", p.run(p.alias(`"|true"`)), "delivered", "2.0.0", "")
		wants(t, "a file", p.run(p.forwardText(p.path("copy"))), "delivered", "2.0.0", "")
	}
}

func TestProgramDir(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	dir := t.TempDir()
	must(t, os.Symlink("/usr/bin/touch", filepath.Join(dir, "touch")))
	write(t, filepath.Join(dir, "plain"), "x")
	p := newUser(t, func(o *Options) { o.ProgramDir = dir })
	for _, tt := range []struct {
		program string
		want    string
		status  string
		words   string
	}{
		{"touch ran", "delivered", "2.0.0", ""},
		{"/usr/local/bin/touch ran", "delivered", "2.0.0", ""},
		{"exec /usr/local/bin/touch ran", "delivered", "2.0.0", ""},
		{"../touch ran", "delivered", "2.0.0", ""},
		{"cat", "deferred", "4.7.0", "cat is not in " + dir},
		{"..", "deferred", "4.7.0", ".. is not in"},
		{"/", "deferred", "4.7.0", "/ is not in"},
		{"touch ran; id", "deferred", "4.7.0", "no shell"},
		{"touch $(id)", "deferred", "4.7.0", "no shell"},
		{"X=1 touch ran", "deferred", "4.7.0", "no shell"},
		{"plain", "deferred", "4.3.5", "permission denied"},
	} {
		os.Remove(p.path("ran"))
		wants(t, tt.program, p.program(tt.program), tt.want, tt.status, tt.words)
		if _, err := os.Stat(p.path("ran")); (err == nil) != (tt.want == "delivered") {
			t.Errorf("%s: %v", tt.program, err)
		}
	}
}
