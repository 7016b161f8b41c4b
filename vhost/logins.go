package vhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"postoffice/internal/disk"
)

// A Login is what a user's line has for logins.
type Login struct {
	Name   string // the address
	Closed bool   // nobody may log in
	Secret
}

// Login returns that of a user. ErrNoUser is a definite answer.
func (s *Store) Login(ctx context.Context, domain, name string) (Login, error) {
	switch _, ok, err := s.domains.Find(domain); {
	case err != nil:
		return Login{}, err
	case !ok:
		return Login{}, ErrNoUser
	}
	u, err := s.user(ctx, domain, name)
	if err != nil {
		return Login{}, err
	}
	l := Login{Name: u.Name + "@" + domain}
	l.Secret, l.Closed = u.Secret()
	return l, nil
}

// Verified counts the users of all active domains who can't log in by SCRAM, those of
// closed accounts left out. A file is read again only when it has changed; the zero
// Verified has read none.
type Verified struct {
	mu    sync.Mutex // guards what follows
	files map[string]counted
}

type counted struct {
	seen    disk.Version
	without int
}

// Without returns how many there are. The error is that of the first domain whose users
// aren't known now.
func (v *Verified) Without(ctx context.Context, s *Store) (n int, err error) {
	list, err := s.domains.current()
	if err != nil {
		return 0, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	files := map[string]counted{}
	for domain, d := range list.byName {
		if !d.Active {
			continue
		}
		c, err := v.count(ctx, s, domain)
		if err != nil {
			return 0, err
		}
		files[domain] = c
		n += c.without
	}
	v.files = files
	return n, nil
}

func (v *Verified) count(ctx context.Context, s *Store, domain string) (c counted, err error) {
	dir, owner, err := s.open(ctx, domain)
	if err != nil {
		return c, err
	}
	defer dir.Close()
	path := filepath.Join(s.dir, domain, PasswdFile)
	f, info, err := openFile(dir, path, owner)
	if err != nil {
		return c, fmt.Errorf("virtual domain %s: %w", domain, err)
	}
	defer f.Close()
	if c = v.files[domain]; c.seen.Is(info) {
		return c, nil
	}
	c.seen = disk.VersionOf(info)
	if c.without, err = withoutVerifier(f); err != nil {
		return c, fmt.Errorf("virtual domain %s: %s: %w", domain, path, err)
	}
	return c, nil
}

// isVerified reports whether a line is as vpasswd writes it, with a verifier: whose it is
// need not be known to count it.
func isVerified(line []byte) bool {
	_, line, _ = bytes.Cut(line, []byte(":")) // the name
	_, line, _ = bytes.Cut(line, []byte(":")) // the hash
	return bytes.HasPrefix(line, []byte(":::::"+scramWord)) && len(line) < maxLine/2
}

func withoutVerifier(f *os.File) (n int, err error) {
	lines := lineReader{r: f, whole: true, buf: make([]byte, readSize)}
	for {
		line, _, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case errors.Is(err, errLong): // nobody's
			continue
		case err != nil:
			return n, err
		}
		if isVerified(line) || isComment(string(line[:min(len(line), 64)])) {
			continue
		}
		u, err := parseUser(string(line))
		if err != nil {
			continue
		}
		if s, closed := u.Secret(); !closed && s.Hash != "" && s.Verifier == "" {
			n++
		}
	}
}
