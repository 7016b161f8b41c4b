package account

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"postoffice/internal/disk"
	"postoffice/internal/smtp"
)

// maxPasswd is the largest passwd file that is read, in octets.
const maxPasswd = 64 << 20

// Passwd finds accounts in the file at path, which has the form of passwd(5).
// The file is read at the first lookup and again whenever it has changed. A
// file that can't be read, is empty or ends in the middle of a line gives
// errors other than ErrNoUser: its users are unknown now, not gone (A36).
func Passwd(path string) Accounts { return &passwd{path: path} }

type passwd struct {
	path string

	mu    sync.Mutex // guards what follows
	seen  disk.Version
	sum   [sha256.Size]byte // of what users were made of
	users *users
}

// users is one reading of the file; it never changes.
type users struct {
	exact  map[string]Account
	folded map[string]string // name in small letters → first account spelt so
	uids   map[int]Person    // the first with each uid
}

func (p *passwd) Lookup(_ context.Context, name string) (Account, error) {
	u, err := p.current()
	if err != nil {
		return Account{}, err
	}
	if a, ok := u.exact[name]; ok {
		return a, nil
	}
	if a, ok := u.exact[u.folded[smtp.Fold(name)]]; ok {
		return a, nil
	}
	return Account{}, fmt.Errorf("%w: %q is not in %s", ErrNoUser, name, p.path)
}

// person returns who has a uid.
func (p *passwd) person(uid int) (Person, error) {
	u, err := p.current()
	if err != nil {
		return Person{}, err
	}
	who, ok := u.uids[uid]
	if !ok {
		return Person{}, fmt.Errorf("%w: uid %d is not in %s", ErrNoUser, uid, p.path)
	}
	return who, nil
}

// current returns the users of the file as it is now. After a fault, and without
// the file, nobody is known from before: a user who was removed meanwhile would
// go on getting mail.
func (p *passwd) current() (*users, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	info, err := os.Stat(p.path)
	if err != nil {
		p.users = nil
		return nil, fmt.Errorf("look for local users: %w", err)
	}
	if p.users != nil && p.seen.Is(disk.InfoOf(info)) {
		return p.users, nil
	}
	b, seen, err := readPasswd(p.path)
	if sum := sha256.Sum256(b); err == nil && (p.users == nil || sum != p.sum) { // it may have been read in the seconds after a change
		p.sum = sum
		if p.users, err = parsePasswd(b); err != nil {
			err = fmt.Errorf("%s: %w", p.path, err)
		}
	}
	if err != nil {
		p.users = nil
		return nil, fmt.Errorf("look for local users: %w", err)
	}
	p.seen = seen
	return p.users, nil
}

func readPasswd(path string) ([]byte, disk.Version, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, disk.Version{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, disk.Version{}, err
	}
	seen := disk.VersionOf(disk.InfoOf(info))
	b, err := io.ReadAll(io.LimitReader(f, maxPasswd+1))
	if err != nil {
		return nil, disk.Version{}, err
	}
	return b, seen, nil
}

func parsePasswd(b []byte) (*users, error) {
	if len(b) > maxPasswd {
		return nil, fmt.Errorf("larger than %d octets", maxPasswd)
	}
	u := &users{exact: map[string]Account{}, folded: map[string]string{}, uids: map[int]Person{}}
	for line := range bytes.Lines(b) {
		text := strings.TrimSuffix(string(line), "\n")
		a, err := parseEntry(text)
		if err != nil {
			if len(text) == len(line) { // no newline: the file is cut
				return nil, fmt.Errorf("last line: %w", err)
			}
			continue
		}
		if _, twice := u.exact[a.Name]; twice {
			continue // the first counts, as in the C library
		}
		u.exact[a.Name] = a
		if _, twice := u.uids[a.UID]; !twice {
			u.uids[a.UID] = Person{Login: a.Name, Full: fullName(text), Home: a.Home, GID: a.GID}
		}
		if low := smtp.Fold(a.Name); u.folded[low] == "" {
			u.folded[low] = a.Name
		}
	}
	if len(u.exact) == 0 {
		return nil, errors.New("no user in it")
	}
	return u, nil
}

// parseEntry reads one line of passwd(5), without its newline: seven fields
// between colons, of which the password and the comment are not kept.
func parseEntry(line string) (Account, error) {
	f := strings.Split(line, ":")
	if len(f) != 7 {
		return Account{}, fmt.Errorf("%d fields, want 7", len(f))
	}
	if f[0] == "" || f[0][0] == '+' || f[0][0] == '-' || f[0][0] == '#' {
		return Account{}, fmt.Errorf("%q is no user name", f[0])
	}
	uid, err := strconv.ParseUint(f[2], 10, 32)
	if err != nil || uid == 1<<32-1 {
		return Account{}, fmt.Errorf("user %q: bad uid %q", f[0], f[2])
	}
	gid, err := strconv.ParseUint(f[3], 10, 32)
	if err != nil || gid == 1<<32-1 {
		return Account{}, fmt.Errorf("user %q: bad gid %q", f[0], f[3])
	}
	return Account{Name: f[0], UID: int(uid), GID: int(gid), Home: f[5], Shell: f[6]}, nil
}

// fullName is the first part of an entry's comment.
func fullName(line string) string {
	full, _, _ := strings.Cut(strings.Split(line, ":")[4], ",")
	return full
}
