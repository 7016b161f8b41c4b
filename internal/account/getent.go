package account

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"postoffice/internal/smtp"
)

// What getent is asked is bounded here for all of a process: its accounts, uids
// and groups.
const (
	getentWait   = 10 * time.Second // for one answer
	maxGetents   = 4                // programs getent at one time
	getentOutput = 64 << 10         // octets of one answer
	placeWait    = 30 * time.Second // for getent, a place before it included, where nobody else bounds it
	answersKept  = time.Minute
	maxAnswers   = 10_000  // answers of getent that are kept
	maxKept      = 1 << 20 // octets of those answers
)

// Unused is a uid and gid that is no account's: no system gives this number
// away. Whoever runs with the same uid as getent can trace it, and so say which uid
// and groups anybody has: the programs of aliases may be nobody's.
const Unused = 65533

// Keys is another one, of the process that has the private keys: nobody who runs with
// the uid of getent may send it a signal.
const Keys = 65531

// Shadow is the same for the process that reads the hashes of the machine's accounts.
const Shadow = 65530

// getent asks the C library for accounts, by running getent(1) without rights: a
// static binary knows neither LDAP nor sssd nor systemd's users (A76). Answers
// are kept for a minute, failures are not.
type getent struct {
	names Names
	run   func(ctx context.Context, database, key string) ([]byte, error)
	slots chan struct{}

	mu     sync.Mutex // guards what follows
	known  map[question]answer
	octets int // of known
}

// question is a key of one of getent's databases.
type question struct{ database, key string }

// answer is what getent printed.
type answer struct {
	text  string
	err   error // errNotThere or nil
	until time.Time
}

func (a answer) size(q question) int { return len(q.database) + len(q.key) + len(a.text) }

// errNotThere says that the database certainly has no such key.
var errNotThere = errors.New("getent does not know it")

func newGetent(n Names) *getent {
	g := &getent{names: n, slots: make(chan struct{}, maxGetents), known: map[question]answer{}}
	g.run = g.command
	return g
}

// ask returns what getent prints. It is the one place where getent is run: 4 at a
// time, and once a minute for one question.
func (g *getent) ask(ctx context.Context, database, key string) (string, error) {
	q := question{database, key}
	if a, ok := g.cached(q); ok {
		return a.text, a.err
	}
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if a, ok := g.cached(q); ok { // somebody asked while we waited
		return a.text, a.err
	}
	out, err := g.run(ctx, database, key)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 2 {
		err = errNotThere
	}
	if err == nil || err == errNotThere {
		g.keep(q, answer{string(out), err, time.Now().Add(answersKept)})
	}
	return string(out), err
}

func (g *getent) cached(q question) (answer, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a, ok := g.known[q]
	return a, ok && time.Now().Before(a.until)
}

func (g *getent) keep(q question, a answer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if before, ok := g.known[q]; ok {
		g.octets -= before.size(q)
	}
	if len(g.known) >= maxAnswers || g.octets+a.size(q) > maxKept {
		clear(g.known) // asked for again: cheaper than keeping them in order
		g.octets = 0
	}
	g.known[q] = a
	g.octets += a.size(q)
}

// Lookup returns the account called name, or called so in small letters.
func (g *getent) Lookup(ctx context.Context, name string) (Account, error) {
	a, err := g.exact(ctx, name)
	if low := smtp.Fold(name); low != name && errors.Is(err, ErrNoUser) {
		return g.exact(ctx, low)
	}
	return a, err
}

func (g *getent) exact(ctx context.Context, name string) (Account, error) {
	if err := CheckName(name); err != nil {
		return Account{}, fmt.Errorf("%w: %w", ErrNoUser, err)
	}
	a, err := g.account(ctx, name)
	if err == nil && a.Name != name { // "getent passwd 0" finds root
		return Account{}, fmt.Errorf("%w: getent passwd %q found %q", ErrNoUser, name, a.Name)
	}
	return a, err
}

// account returns the account that getent finds by a name or a uid.
func (g *getent) account(ctx context.Context, key string) (Account, error) {
	out, err := g.ask(ctx, "passwd", key)
	switch {
	case err == errNotThere:
		return Account{}, fmt.Errorf("%w: getent passwd does not know %q", ErrNoUser, key)
	case err != nil:
		return Account{}, err
	}
	line, _, _ := strings.Cut(out, "\n")
	a, err := parseEntry(line)
	if err != nil {
		return Account{}, fmt.Errorf("getent passwd %q: %w", key, err)
	}
	return a, nil
}

// command runs getent as Unused, for up to 10 seconds and 64 KiB of output.
func (g *getent) command(ctx context.Context, database, name string) ([]byte, error) {
	path, err := g.path()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, getentWait)
	defer cancel()
	out := limited{left: getentOutput}
	cmd := exec.CommandContext(ctx, path, database, "--", name)
	cmd.Args[0] = "getent"
	cmd.Env, cmd.Dir, cmd.Stdout = []string{"PATH=/usr/bin:/bin"}, "/", &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: Unused, Gid: Unused}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("getent %s %q: %w", database, name, errors.Join(context.Cause(ctx), err))
	}
	if out.left == 0 {
		return nil, fmt.Errorf("getent %s %q: an answer of more than %d octets", database, name, getentOutput)
	}
	return out.b, nil
}

func (g *getent) path() (string, error) {
	if g.names.Getent != "" {
		return g.names.Getent, nil
	}
	for _, p := range []string{"/usr/bin/getent", "/bin/getent"} {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", errors.New("nsswitch.conf names more than files, and there is no getent in /usr/bin or /bin to ask them")
}

// limited keeps the first octets written to it and drops the rest.
type limited struct {
	b    []byte
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.b = append(l.b, p[:n]...)
	l.left -= n
	return len(p), nil
}
