package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postoffice/applets/privsep/birth"
	"postoffice/applets/smtpd/login"
	"postoffice/internal/account"
	"postoffice/internal/testenv"
	"postoffice/vhost"
)

// TestMain runs the process where this binary is started as one.
func TestMain(m *testing.M) {
	os.Exit(testenv.Main(m.Run, func(argv0 string) func() int {
		if argv0 != Role {
			return nil
		}
		return func() int {
			if err := Run(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return 0
		}
	}))
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// answering is a store that knows nobody but whom it was made with.
type answering struct {
	users   map[string]string
	aliases map[string]vhost.Alias
	quotas  map[string]int64 // by name
}

var errLater = errors.New("not known now")

func (a answering) User(_ context.Context, domain, name string) (vhost.Box, error) {
	if domain == "later.example" {
		return vhost.Box{}, errLater
	}
	spelt, ok := a.users[name+"@"+domain]
	if !ok {
		return vhost.Box{}, vhost.ErrNoUser
	}
	return vhost.Box{Name: spelt, Quota: a.quotas[spelt]}, nil
}

func (a answering) Used(_ context.Context, domain, name string, enough int64) (int64, error) {
	if domain == "later.example" {
		return 0, errLater
	}
	return int64(len(name)) + enough, nil
}

func (a answering) Alias(_ context.Context, domain, name string) (vhost.Alias, error) {
	if domain == "later.example" {
		return vhost.Alias{}, errLater
	}
	found, ok := a.aliases[name+"@"+domain]
	if !ok {
		return found, vhost.ErrNoAlias
	}
	return found, nil
}

// inProcess is a client of a process that is a goroutine, with what its serve returns.
func inProcess(t *testing.T, s answering) (*Client, <-chan error) {
	t.Helper()
	return inProcessOf(t, s, s)
}

func inProcessOf(t *testing.T, s vhost.Users, boxes vhost.Mailboxes) (*Client, <-chan error) {
	t.Helper()
	ours, theirs, err := birth.Pair()
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- serve(ours, s, boxes) }()
	c, err := NewClient(theirs, askWait, nil, nil)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c, ended
}

// TestAnswers: yes, no and later come over the link as they are, many at a time, up to
// the longest.
func TestAnswers(t *testing.T) {
	long := strings.Repeat("a, ", maxText/3)
	name, domain := strings.Repeat("n", 100), strings.Repeat("d", 140)
	c, ended := inProcess(t, answering{
		users:   map[string]string{"bob@v.example": "Bob", name + "@" + domain: name, "eva@v.example": "eva"},
		quotas:  map[string]int64{"Bob": 1 << 50, "eva": vhost.Unbound},
		aliases: map[string]vhost.Alias{"info@v.example": {Line: 7, Value: "bob"}, "all@v.example": {Line: 1 << 20, Value: long}},
	})
	var work sync.WaitGroup
	for range 4 * maxAsked {
		work.Go(func() {
			for _, tt := range []struct{ domain, name, want string }{
				{"v.example", "bob", fmt.Sprintf("{Bob %d} <nil>", 1<<50)}, {"v.example", "eva", "{eva -1} <nil>"}, {domain, name, "{" + name + " 0} <nil>"},
				{"v.example", "eve", "{ 0} " + vhost.ErrNoUser.Error()}, {"later.example", "bob", "{ 0} " + errLater.Error()},
				{"v.example", strings.Repeat("x", maxWord+1), "{ 0} " + vhost.ErrNoUser.Error()},
			} {
				spelt, err := c.User(t.Context(), tt.domain, tt.name)
				if got := fmt.Sprint(spelt, " ", err); got != tt.want {
					t.Errorf("user %s@%s: %q, want %q", tt.name, tt.domain, got, tt.want)
				}
			}
			for name, want := range map[string]string{
				"info@v.example": "{7 bob} <nil>", "all@v.example": fmt.Sprintf("{%d %s} <nil>", 1<<20, long),
				"x@v.example": "{0 } " + vhost.ErrNoAlias.Error(), "info@later.example": "{0 } " + errLater.Error(),
			} {
				local, domain, _ := strings.Cut(name, "@")
				a, err := c.Alias(t.Context(), domain, local)
				if got := fmt.Sprint(a, " ", err); got != want {
					t.Errorf("alias %s: %.100q, want %.100q", name, got, want)
				}
			}
		})
	}
	work.Wait()
	must(t, c.Close())
	if err := <-ended; err != nil {
		t.Errorf("the process ended with %v", err)
	}
	if _, err := c.User(t.Context(), "v.example", "bob"); !errors.Is(err, ErrGone) {
		t.Errorf("after its end: %v, want ErrGone", err)
	}
}

// slow is a store that answers about one domain when it is told to.
type slow struct {
	answering
	begun chan struct{}
	end   chan struct{}
}

func (s slow) User(ctx context.Context, domain, name string) (vhost.Box, error) {
	if domain == "slow.example" {
		s.begun <- struct{}{}
		<-s.end
	}
	return s.answering.User(ctx, domain, name)
}

// TestSlowDomain: however many ask about a domain whose files take long, it has a share of
// the questions, and others are answered meanwhile.
func TestSlowDomain(t *testing.T) {
	s := slow{answering{users: map[string]string{"bob@v.example": "bob", "bob@slow.example": "bob"}}, make(chan struct{}, 2*maxAsked), make(chan struct{})}
	c, _ := inProcessOf(t, s, s)
	var asking sync.WaitGroup
	for range 2 * maxAsked {
		asking.Go(func() {
			if _, err := c.User(t.Context(), "slow.example", "bob"); err != nil {
				t.Error(err)
			}
		})
	}
	for range maxOne {
		<-s.begun
	}
	for range maxAsked {
		if _, err := c.User(t.Context(), "v.example", "bob"); err != nil {
			t.Error(err)
		}
	}
	if n := len(s.begun); n > 0 {
		t.Errorf("%d questions more than %d about one domain", n, maxOne)
	}
	close(s.end)
	asking.Wait()
	if n := len(c.shares.each); n > 0 {
		t.Errorf("%d domains are remembered", n)
	}
}

// TestHostile: whoever sends what has no form is left, and a name that was not asked
// for is never believed.
func TestHostile(t *testing.T) {
	for _, packet := range [][]byte{{}, []byte("x"), make([]byte, questionSize+1), question{1, 9, 0, "a", "b"}.append(nil), append(question{1, askUser, 0, "a", "b"}.append(nil), 0), question{1, askUser, 1, "a", "b"}.append(nil), question{1, askUsed, -1, "a", "b"}.append(nil)} {
		ours, theirs, err := birth.Pair()
		must(t, err)
		conn, err := birth.Conn(theirs)
		must(t, err)
		ended := make(chan error, 1)
		go func() { ended <- serve(ours, answering{}, answering{}) }()
		if len(packet) > 0 {
			_, err = conn.Write(packet)
			must(t, err)
			if err := <-ended; !errors.Is(err, errForm) {
				t.Errorf("question %q: %v, want that it has no form", packet, err)
			}
		}
		conn.Close()
	}
	for _, reply := range []func(n uint32) []byte{
		func(n uint32) []byte { return answer{n, yes, 0, "root"}.append(nil) },
		func(n uint32) []byte { return answer{n, yes, 0, "../bob"}.append(nil) },
		func(n uint32) []byte { return answer{n, 9, 0, "bob"}.append(nil) },
		func(n uint32) []byte { return answer{n, no, 0, "bob"}.append(nil) },
		func(n uint32) []byte { return answer{n, yes, vhost.Unbound - 1, "bob"}.append(nil) },
		func(n uint32) []byte { return []byte("x") },
	} {
		ours, theirs, err := birth.Pair()
		must(t, err)
		go func() {
			buf := make([]byte, questionSize)
			n, err := ours.Read(buf)
			if q, formErr := decodeQuestion(buf[:n]); err == nil && formErr == nil {
				ours.Write(reply(q.number))
			}
		}()
		c, err := NewClient(theirs, askWait, nil, nil)
		must(t, err)
		if spelt, err := c.User(t.Context(), "v.example", "bob"); err == nil || errors.Is(err, vhost.ErrNoUser) {
			t.Errorf("%v, %v, want an error that means later", spelt, err)
		}
		<-c.Gone()
		ours.Close()
	}
}

// TestProcess: a process that is started answers from the files, ends with its link,
// and is started again where it was killed.
func TestProcess(t *testing.T) {
	dir := t.TempDir()
	v := filepath.Join(dir, "v.example")
	owner, err := account.Machine().InFile(os.Getuid())
	must(t, err)
	must(t, os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755), os.Mkdir(v, 0o755), os.WriteFile(filepath.Join(v, vhost.PasswdFile), []byte("bob:{PLAIN}sesame\n"), 0o644),
		os.WriteFile(filepath.Join(dir, vhost.DomainsFile), []byte(owner.Login+":v.example:1:\n"), 0o644))
	spool := filepath.Join(dir, "spool")
	must(t, os.MkdirAll(filepath.Join(spool, "v.example"), 0o755), os.WriteFile(filepath.Join(spool, "v.example", "bob"), make([]byte, 12345), 0o644))
	if os.Getuid() == 0 {
		must(t, os.Chown(filepath.Join(spool, "v.example"), 65534, 65534))
	}
	var pids []int
	var ends []<-chan error
	d := OnDemand{Start: func(context.Context) (Links, error) {
		p, err := Start(Where{Dir: dir, Spool: spool, Secret: "salty"}, account.Account{Name: "nobody", UID: 65534, GID: 65534}, nil)
		if err != nil {
			return Links{}, err
		}
		pids, ends = append(pids, p.PID()), append(ends, p.Ended)
		return p.Links, nil
	}}
	for range 2 {
		if box, err := d.User(t.Context(), "v.example", "BOB"); box.Name != "bob" || err != nil {
			t.Fatalf("%v, %v", box, err)
		}
	}
	if n, err := d.Used(t.Context(), "v.example", "bob", 0); n != 12345 || err != nil {
		t.Errorf("the mailbox has %d octets, %v; want 12345", n, err)
	}
	for password, want := range map[string]login.Answer{"sesame": login.Yes, "x": login.No} {
		x := d.Logins().Begin(login.Client{}, login.Plain)
		if _, r := x.Step(t.Context(), []byte("\x00bob@v.example\x00"+password)); r.Answer != want || want == login.Yes && r.User != "bob@v.example" {
			t.Errorf("a login with %s: %+v", password, r)
		}
		x.Close()
	}
	if _, r := d.Logins().Begin(login.Client{}, login.Plain).Step(t.Context(), []byte("\x00bob@else.example\x00x")); r.Answer != login.Unknown {
		t.Errorf("a login in another domain: %+v", r)
	}
	if len(pids) != 1 {
		t.Fatalf("processes %v, want one", pids)
	}
	p, err := os.FindProcess(pids[0])
	must(t, err)
	must(t, p.Kill())
	<-d.kept.Running().Client.Gone()
	if box, err := d.User(t.Context(), "v.example", "bob"); box.Name != "bob" || err != nil || len(pids) != 2 {
		t.Errorf("after a kill: %v, %v, processes %v", box, err, pids)
	}
	must(t, d.kept.Running().Close())
	if err := <-ends[1]; err != nil {
		t.Errorf("the process ended with %v", err)
	}
}

// TestStopped: a process that is stopped answers nobody, and another one is started in its
// place; one whose files can't be read now stays.
func TestStopped(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, vhost.DomainsFile), nil, 0o644))
	var started []*Process
	d := OnDemand{wait: time.Second, lives: time.Second / 2, Start: func(context.Context) (Links, error) {
		p, err := Start(Where{Dir: dir, Spool: dir}, account.Account{Name: "nobody", UID: 65534, GID: 65534}, nil)
		if err != nil {
			return Links{}, err
		}
		started = append(started, p)
		return p.Links, nil
	}}
	answers := func() bool { // there is no such domain
		_, err := d.User(t.Context(), "v.example", "bob")
		return err != nil && !errors.Is(err, ErrGone) && err != errMute
	}
	if !testenv.Eventually(answers) || len(started) != 1 {
		t.Fatalf("%d processes", len(started))
	}
	first := started[0]
	must(t, testenv.Stop(first.child.Pid))
	if _, err := d.User(t.Context(), "v.example", "bob"); err != errMute {
		t.Errorf("it is stopped: %v", err)
	}
	if !testenv.Eventually(answers) || len(started) < 2 {
		t.Errorf("behind it: %d processes", len(started))
	}
	for _, p := range started {
		p.Kill() // as the master does
		<-p.Ended
	}
}

// TestNotStarted: a process that can't be started is not asked for again at once.
func TestNotStarted(t *testing.T) {
	n := 0
	d := OnDemand{Start: func(context.Context) (Links, error) { n++; return Links{}, errLater }}
	for range 3 {
		if _, err := d.User(t.Context(), "v.example", "bob"); !errors.Is(err, errLater) {
			t.Errorf("%v, want why it isn't there", err)
		}
	}
	if n != 1 {
		t.Errorf("started %d times, want once", n)
	}
	if _, err := Start(Where{Dir: "/x"}, account.Account{Name: "root"}, nil); os.Geteuid() == 0 && err == nil {
		t.Error("started as root")
	}
}

// FuzzQuestion: a question that is understood is written as it was read.
func FuzzQuestion(f *testing.F) {
	f.Add(question{1, askAlias, 0, "v.example", "bob"}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := decodeQuestion(b); err == nil && string(q.append(nil)) != string(b) {
			t.Errorf("%q was read as %+v", b, q)
		}
	})
}

// FuzzAnswer is the same of an answer.
func FuzzAnswer(f *testing.F) {
	f.Add(answer{1, yes, 2, "bob"}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, a, err := decodeAnswer(b); err == nil && string(a.append(nil)) != string(b) {
			t.Errorf("%q was read as %+v", b, a)
		}
	})
}
