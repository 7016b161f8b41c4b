package privsep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"postoffice/deliver/local"
)

const (
	getentWait   = 10 * time.Second
	getentAtOnce = 4
	getentOutput = 64 << 10
	namesKept    = time.Minute
	maxNames     = 10_000

	// getentID is the uid and gid of getent: no account's. Whoever runs with
	// the same uid can trace it, and so say which uid and groups anybody has:
	// the programs of aliases are nobody's. No system gives this number away.
	getentID = 65533
)

// getent asks the C library for accounts, by running getent(1) without rights: a
// static binary knows neither LDAP nor sssd nor systemd's users (A76). Answers
// are kept for a minute, failures are not.
type getent struct {
	names Names
	slots chan struct{}

	mu    sync.Mutex // guards what follows
	known map[string]knownName
}

type knownName struct {
	account local.Account
	err     error // ErrNoUser or nil
	until   time.Time
}

func newGetent(n Names) *getent {
	return &getent{names: n, slots: make(chan struct{}, getentAtOnce), known: map[string]knownName{}}
}

// Lookup returns the account called name, or called so in small letters.
func (g *getent) Lookup(ctx context.Context, name string) (local.Account, error) {
	a, err := g.exact(ctx, name)
	if low := asciiLower(name); low != name && errors.Is(err, local.ErrNoUser) {
		return g.exact(ctx, low)
	}
	return a, err
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

func (g *getent) exact(ctx context.Context, name string) (local.Account, error) {
	if err := local.CheckName(name); err != nil {
		return local.Account{}, fmt.Errorf("%w: %w", local.ErrNoUser, err)
	}
	if k, ok := g.cached(name); ok {
		return k.account, k.err
	}
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-ctx.Done():
		return local.Account{}, context.Cause(ctx)
	}
	if k, ok := g.cached(name); ok { // somebody asked while we waited
		return k.account, k.err
	}
	a, err := g.run(ctx, name)
	if err == nil || errors.Is(err, local.ErrNoUser) {
		g.keep(name, knownName{a, err, time.Now().Add(namesKept)})
	}
	return a, err
}

func (g *getent) cached(name string) (knownName, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	k, ok := g.known[name]
	return k, ok && time.Now().Before(k.until)
}

func (g *getent) keep(name string, k knownName) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.known) >= maxNames {
		clear(g.known) // asked for again: cheaper than keeping them in order
	}
	g.known[name] = k
}

func (g *getent) run(ctx context.Context, name string) (local.Account, error) {
	out, err := g.command(ctx, "passwd", name)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 2 {
		return local.Account{}, fmt.Errorf("%w: getent passwd does not know %q", local.ErrNoUser, name)
	}
	if err != nil {
		return local.Account{}, err
	}
	line, _, _ := bytes.Cut(out, []byte{'\n'})
	a, err := local.ParseEntry(string(line))
	if err != nil {
		return local.Account{}, fmt.Errorf("getent passwd %q: %w", name, err)
	}
	if a.Name != name { // "getent passwd 0" finds root
		return local.Account{}, fmt.Errorf("%w: getent passwd %q found %q", local.ErrNoUser, name, a.Name)
	}
	return a, nil
}

// command runs getent as getentID, for up to 10 seconds and 64 KiB of output.
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
	cmd.Env, cmd.Dir, cmd.Stdout = childEnv(), "/", &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: getentID, Gid: getentID}
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

// childEnv is the environment of every process that we start.
func childEnv() []string { return []string{"PATH=/usr/bin:/bin"} }
